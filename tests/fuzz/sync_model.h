/* sync_model.h - what locks, queues and their like should do, in plain arrays.
 *
 * SPDX-License-Identifier: MIT
 *
 * The model is told of each call at the moment of the call, and then knows who
 * has been granted what: who waits stands in a line, and whatever becomes free
 * goes to the first in the line, at once.
 */
#pragma once

#include <kolk.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_TASKS = 12, MODEL_ITEMS = 512, MODEL_PARTIES = 3 };

struct model_line {
    int who[MODEL_TASKS];
    int count;
};

struct model_task {
    struct model_line *line; /* where it waits, or NULL */
    bool is_granted;         /* its wait has come to `result` */
    bool is_firm;            /* not to be cancelled */
    int result;
    int item; /* what it puts, or gets with the grant */
};

static struct model {
    struct model_task tasks[MODEL_TASKS];

    int owner; /* of the lock, or -1 */
    int value; /* of the semaphore */
    bool is_set;
    bool is_broken;
    struct model_line lockers, takers, watchers, sleepers, parties;

    kolk_queue_order order;
    int items[MODEL_ITEMS]; /* as put */
    int count, maxsize, unfinished;
    bool is_shutdown;
    struct model_line getters, putters, joiners;
} model;

static void
model_check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* ---- lines ---- */

static void
model_grant(int who, int result)
{
    model.tasks[who].line = NULL;
    model.tasks[who].is_granted = true;
    model.tasks[who].result = result;
}

static void
model_enter(struct model_line *line, int who)
{
    line->who[line->count++] = who;
    model.tasks[who].line = line;
}

static void
model_leave(int who)
{
    struct model_line *line = model.tasks[who].line;
    int at = 0;

    while (line->who[at] != who) {
        at++;
    }
    line->count--;
    memmove(&line->who[at], &line->who[at + 1],
            (size_t)(line->count - at) * sizeof line->who[0]);
    model.tasks[who].line = NULL;
}

/* The first of `line`, who leaves it; -1 if it is empty. */
static int
model_next(struct model_line *line)
{
    if (line->count == 0) {
        return -1;
    }
    int who = line->who[0];
    model_leave(who);
    return who;
}

static void
model_grant_all(struct model_line *line, int result)
{
    while (line->count > 0) {
        model_grant(model_next(line), result);
    }
}

/* `who` has to wait in `line`, unless it is cancelled already. */
static void
model_wait(struct model_line *line, int who, bool is_cancelled)
{
    if (is_cancelled) {
        model_grant(who, -ECANCELED);
    } else {
        model_enter(line, who);
    }
}

/* ---- lock and condition ---- */

static void
model_lock(int who, bool is_cancelled)
{
    model.tasks[who].result = 0;
    if (model.owner < 0) {
        model.owner = who;
        model_grant(who, 0);
    } else {
        model_wait(&model.lockers, who, is_cancelled);
    }
}

static void
model_unlock(void)
{
    model.owner = model_next(&model.lockers);
    if (model.owner >= 0) {
        model_grant(model.owner, model.tasks[model.owner].result);
    }
}

/* The wait for the condition has come to `result`; now for the lock. */
static void
model_wake_sleeper(int who, int result)
{
    model.tasks[who].result = result;
    model.tasks[who].is_firm = true;
    if (model.owner < 0) {
        model.owner = who;
        model_grant(who, result);
    } else {
        model_enter(&model.lockers, who);
    }
}

static void
model_sleep(int who, bool is_cancelled)
{
    if (!is_cancelled) {
        model_unlock();
    }
    model_wait(&model.sleepers, who, is_cancelled);
}

static void
model_notify(int n)
{
    while (n-- > 0 && model.sleepers.count > 0) {
        model_wake_sleeper(model_next(&model.sleepers), 0);
    }
}

/* ---- semaphore, event, barrier ---- */

static void
model_take(int who, bool is_cancelled)
{
    if (model.value > 0) {
        model.value--;
        model_grant(who, 0);
    } else {
        model_wait(&model.takers, who, is_cancelled);
    }
}

static void
model_release(void)
{
    if (model.takers.count > 0) {
        model_grant(model_next(&model.takers), 0);
    } else {
        model.value++;
    }
}

static void
model_set(bool is_set)
{
    model.is_set = is_set;
    if (is_set) {
        model_grant_all(&model.watchers, 0);
    }
}

static void
model_watch(int who, bool is_cancelled)
{
    if (model.is_set) {
        model_grant(who, 0);
    } else {
        model_wait(&model.watchers, who, is_cancelled);
    }
}

static void
model_arrive(int who, bool is_cancelled)
{
    if (model.is_broken) {
        model_grant(who, -KOLK_EBROKEN);
    } else if (model.parties.count + 1 < MODEL_PARTIES) {
        model_wait(&model.parties, who, is_cancelled);
    } else {
        for (int i = 0; i < MODEL_PARTIES - 1; i++) {
            model_grant(model_next(&model.parties), i);
        }
        model_grant(who, MODEL_PARTIES - 1);
    }
}

static void
model_break(bool stays_broken)
{
    model.is_broken = stays_broken;
    model_grant_all(&model.parties, -KOLK_EBROKEN);
}

/* ---- queue ---- */

/* By tens only, so that many are equal. */
static int
model_compare(const void *a, const void *b)
{
    return *(const int *)a / 10 - *(const int *)b / 10;
}

/* Takes the item out whose turn it is. */
static int
model_pop(void)
{
    int at = model.order == KOLK_LIFO ? model.count - 1 : 0;

    if (model.order == KOLK_PRIORITY_ORDER) {
        for (int i = 1; i < model.count; i++) {
            if (model_compare(&model.items[i], &model.items[at]) < 0) {
                at = i;
            }
        }
    }
    int item = model.items[at];
    model.count--;
    memmove(&model.items[at], &model.items[at + 1],
            (size_t)(model.count - at) * sizeof model.items[0]);
    return item;
}

/* 0, or why `item` cannot be put now. */
static int
model_try_put(int item)
{
    if (model.is_shutdown) {
        return -ESHUTDOWN;
    }
    if (model.getters.count == 0 && model.count == model.maxsize) {
        return -EAGAIN;
    }
    model.unfinished++;
    int getter = model_next(&model.getters);
    if (getter >= 0) {
        model.tasks[getter].item = item;
        model_grant(getter, 0);
    } else {
        model.items[model.count++] = item;
    }
    return 0;
}

static int
model_try_get(int *item)
{
    if (model.count == 0) {
        return model.is_shutdown ? -ESHUTDOWN : -EAGAIN;
    }
    *item = model_pop();
    int putter = model_next(&model.putters);
    if (putter >= 0) {
        model_check(model_try_put(model.tasks[putter].item) == 0);
        model_grant(putter, 0);
    }
    return 0;
}

static void
model_put(int who, bool is_cancelled)
{
    int err = model_try_put(model.tasks[who].item);

    if (err == -EAGAIN) {
        model_wait(&model.putters, who, is_cancelled);
    } else {
        model_grant(who, err);
    }
}

static void
model_get(int who, bool is_cancelled)
{
    int err = model_try_get(&model.tasks[who].item);

    if (err == -EAGAIN) {
        model_wait(&model.getters, who, is_cancelled);
    } else {
        model_grant(who, err);
    }
}

static void
model_join(int who, bool is_cancelled)
{
    if (model.unfinished == 0) {
        model_grant(who, 0);
    } else {
        model_wait(&model.joiners, who, is_cancelled);
    }
}

static int
model_task_done(void)
{
    if (model.unfinished == 0) {
        return -KOLK_EMISUSE;
    }
    if (--model.unfinished == 0) {
        model_grant_all(&model.joiners, 0);
    }
    return 0;
}

static void
model_shutdown(bool immediate)
{
    model.is_shutdown = true;
    while (immediate && model.count > 0) {
        model.count--;
        if (model.unfinished > 0) {
            (void)model_task_done();
        }
    }
    model_grant_all(&model.getters, -ESHUTDOWN);
    model_grant_all(&model.putters, -ESHUTDOWN);
}

/* ---- cancelling ---- */

/* A request has come for `who`. */
static void
model_cancel(int who)
{
    struct model_task *task = &model.tasks[who];

    if (task->line == &model.sleepers) {
        model_leave(who);
        model_wake_sleeper(who, -ECANCELED);
    } else if (task->line != NULL && !task->is_firm) {
        model_leave(who);
        model_grant(who, -ECANCELED);
    }
}
