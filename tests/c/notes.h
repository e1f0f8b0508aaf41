/* notes.h - calls that note that they ran, for tests.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "kit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct note {
    kolk_call call;
    kolk_loop *loop;
    char name;
    int drops;
    int result;

    /* what it does when it runs, in this order */
    struct note *then_soon, *then_step_end, *then_turn_end, *then_cancel;
    bool then_stop, then_break;
};

/* The names of the calls that ran, in this order. */
static char notes[64];

static inline void
note_add(char letter)
{
    size_t length = strlen(notes);

    if (length < sizeof notes - 1) {
        notes[length] = letter;
    }
}

static inline void
note_run(kolk_call *call)
{
    struct note *self = KOLK_CONTAINER_OF(call, struct note, call);

    note_add(self->name);
    if (self->then_soon != NULL) {
        CHECK_OK(kolk_call_soon(self->loop, &self->then_soon->call));
    }
    if (self->then_step_end != NULL) {
        CHECK_OK(kolk_step_end(self->loop, &self->then_step_end->call));
    }
    if (self->then_turn_end != NULL) {
        CHECK_OK(kolk_turn_end(self->loop, &self->then_turn_end->call));
    }
    if (self->then_cancel != NULL) {
        kolk_call_cancel(self->loop, &self->then_cancel->call);
    }
    if (self->then_stop) {
        kolk_loop_stop(self->loop);
    }
    if (self->then_break) {
        kolk_loop_break(self->loop);
    }
}

static inline void
note_drop(kolk_call *call)
{
    KOLK_CONTAINER_OF(call, struct note, call)->drops++;
}

static inline void
note_init(struct note *self, kolk_loop *loop, char name)
{
    *self = (struct note){.loop = loop, .name = name};
    kolk_call_init(&self->call, note_run, note_drop);
}

static inline void
note_soon(struct note *self, kolk_loop *loop, char name)
{
    note_init(self, loop, name);
    CHECK_OK(kolk_call_soon(loop, &self->call));
}
