/* host_states.h - an object in each state that a lent one can be in.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "host.h"

enum host_state {
    HOST_READY,
    HOST_STEP_END,
    HOST_TURN_END,
    HOST_INBOX,
    HOST_TIMER_FAR,
    HOST_TIMER_NEVER,
    HOST_TIMER_DUE,
    HOST_READER_IDLE,
    HOST_READER_FOUND,
    HOST_OP_PENDING,
    HOST_OP_ENDED,
    HOST_JOB_BACK,   /* in the inbox */
    HOST_JOB_BEGUN,  /* until host_states_release() */
    HOST_JOB_QUEUED, /* behind that one */
    HOST_STATES,
};

/* Opens a loop, and runs it until its first callback; there every object is in
 * its state, and `fn` is called with that callback's object. The rest of the
 * turn is still to come; what `fn` returns is the callback's result. Returns
 * what the run does. */
int host_states_run(host_fn *fn);

extern host_loop *host_states_loop;

/* The objects, which nobody but the loop holds. */
extern host_object *host_states[HOST_STATES];

/* Takes a reference to each. */
void host_states_ref(void);

/* Lets the jobs go on. */
void host_states_release(void);

/* Gives up the references of host_states_ref(), and the loop. */
void host_states_end(void);
