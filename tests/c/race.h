/* race.h - what happens to one wait in one turn, in every order.
 *
 * SPDX-License-Identifier: MIT
 *
 * Two tasks wait for the same thing. Then, in one step, in every order and
 * with some of them left out: the thing comes (w), the first task is cancelled
 * (c), its timeout passes (t). Whatever is first decides what the wait
 * returns. The second task always gets what it waits for in the end: nothing
 * that came may be lost with the first one.
 */
#pragma once

#include "tasks.h"

enum { RACE_FIRST, RACE_SECOND };

struct race;

struct race_kind {
    bool has_scope; /* `wait` has a timeout of its own */

    /* All but `wait` run in the driving task. */
    void (*begin)(struct race *race); /* nobody waits yet */
    /* The wait of one of the tasks, and giving back what it got: returns
     * >= 0 or the wait's error. */
    int (*wait)(struct race *race, int who);
    void (*before)(struct race *race); /* both wait; may be NULL */
    void (*wake)(struct race *race);
    void (*after)(struct race *race); /* all has come; may be NULL */
    void (*end)(struct race *race); /* the first has ended: let the second go */
    void (*check)(struct race *race); /* both have ended; may be NULL */
};

struct race {
    const struct race_kind *kind;
    const char *order;
    kolk_task *tasks[2];
    int inner;       /* what the first wait returned */
    int outer;       /* ... and what its timeout made of it */
    int second;      /* what the second wait returned */
    bool is_pending; /* a request to cancel is left after that */
    bool is_woken;   /* `wake` has run */
    bool has_won;    /* the wake-up was first */
};

/* Runs `self` in every order; to be called in a task. */
void race_run(struct race *self);
