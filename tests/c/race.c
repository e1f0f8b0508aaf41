/* race.c - one wait in one turn, in every order. See race.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "race.h"

#include "task/task.h" /* a timeout that passes now */

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const race_orders[] = {
    "w",  "c",   "t",   "wc",  "cw",  "wt",  "tw",  "ct",
    "tc", "wct", "wtc", "cwt", "ctw", "twc", "tcw",
};

static int
race_first(void *arg)
{
    struct race *self = arg;
    kolk_timeout timeout;

    if (self->kind->has_scope) {
        self->inner = self->outer = self->kind->wait(self, RACE_FIRST);
    } else {
        if (!CHECK_OK(kolk_timeout_begin(&timeout, KOLK_NEVER))) {
            return 0;
        }
        self->inner = self->kind->wait(self, RACE_FIRST);
        self->outer = kolk_timeout_end(&timeout, self->inner);
    }
    self->is_pending = kolk_is_cancelled();
    return 0;
}

static int
race_second(void *arg)
{
    struct race *self = arg;

    self->second = self->kind->wait(self, RACE_SECOND);
    return 0;
}

static void
race_event(struct race *self, char event)
{
    kolk_task *first = self->tasks[RACE_FIRST];

    if (event == 'w') {
        self->kind->wake(self);
        self->is_woken = true;
    } else if (event == 'c') {
        CHECK_INT(kolk_task_cancel(first), 1);
    } else {
        kolk__scope_request(first->coro->scope);
    }
}

static void
race_check(struct race *self)
{
    bool is_cancelled = strchr(self->order, 'c') != NULL;
    int lost = is_cancelled ? -ECANCELED : -ETIMEDOUT;
    int failures = kit_failures();

    CHECK_INT(self->is_pending, is_cancelled);
    if (self->has_won) {
        CHECK_OK(self->inner);
        CHECK_INT(self->outer, self->inner);
    } else {
        CHECK_ERR(self->outer, lost);
        CHECK_ERR(self->inner, self->kind->has_scope ? lost : -ECANCELED);
    }
    CHECK_OK(self->second);
    if (self->kind->check != NULL) {
        self->kind->check(self);
    }
    if (kit_failures() > failures) {
        (void)fprintf(stderr, "in the order %s\n", self->order);
    }
}

static void
race_run_order(struct race *self, const char *order)
{
    self->order = order;
    self->inner = self->outer = self->second = -EAGAIN;
    self->is_pending = self->is_woken = false;
    self->has_won = order[0] == 'w';
    self->kind->begin(self);
    if (kolk_is_cancelled()) {
        return; /* for want of memory */
    }
    self->tasks[RACE_FIRST] = tasks_spawn(race_first, self);
    self->tasks[RACE_SECOND] = tasks_spawn(race_second, self);
    if (self->tasks[RACE_FIRST] == NULL || self->tasks[RACE_SECOND] == NULL) {
        return;
    }
    tasks_pass(2);
    if (!CHECK(!kolk_future_is_done(self->tasks[RACE_FIRST]))) {
        return; /* it could not even wait */
    }
    if (self->kind->before != NULL) {
        self->kind->before(self);
    }
    for (const char *event = order; *event != '\0'; event++) {
        race_event(self, *event);
    }
    if (self->kind->after != NULL) {
        self->kind->after(self);
    }
    CHECK_OK(kolk_join(self->tasks[RACE_FIRST]));
    self->kind->end(self);
    CHECK_OK(kolk_join(self->tasks[RACE_SECOND]));
    if (!kolk_is_cancelled()) {
        race_check(self);
    }
}

void
race_run(struct race *self)
{
    size_t count = sizeof race_orders / sizeof *race_orders;

    for (size_t i = 0; i < count && !kolk_is_cancelled(); i++) {
        race_run_order(self, race_orders[i]);
    }
}
