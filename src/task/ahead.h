/* ahead.h - fetching the next tasks' memory before it is their turn.
 *
 * SPDX-License-Identifier: MIT
 *
 * With thousands of ready tasks, a step mostly waits for memory: the next
 * task's struct and top frame are in no cache, and since the queue is a list,
 * where the one after that stands is known only when the next one is there. So
 * each task that is queued is noted in the one queued KOLK__AHEAD places
 * before it, and a step asks for the memory that will be needed so many steps
 * later. (Measured with 10,000 tasks that yield: 92 ns a step without, 21
 * with.) A short queue is in the cache anyway; then this is one test of a flag.
 *
 * A note is a hint: it may be stale, and is never followed, only prefetched.
 * Notes are written into tasks that have not ended: one that ends is
 * forgotten.
 */
#pragma once

#include <string.h>

#include "task/task.h"

/* Fewer tasks than this are in some cache or other. */
enum { KOLK__AHEAD_CROWD = 1024 };

/* Decides for the next turns, by the length of the ready queue; once in a turn
 * that begins on the loop's own stack. */
static inline void
kolk__ahead_decide(kolk_loop *loop)
{
    const kolk_link *link = loop->ready.next;
    int count = 0;

    if (loop->task_state->count < KOLK__AHEAD_CROWD) {
        loop->looks_ahead = false;
        return;
    }
    if (loop->task_state->ahead_turn == loop->turn) {
        return;
    }
    loop->task_state->ahead_turn = loop->turn;
    while (link != &loop->ready && count < 2 * KOLK__AHEAD) {
        link = link->next;
        count++;
    }
    bool is_long = count == 2 * KOLK__AHEAD;
    if (is_long && !loop->looks_ahead) {
        /* Those of the last time may have ended since. */
        memset(loop->task_state->recent, 0, sizeof loop->task_state->recent);
    }
    loop->looks_ahead = is_long;
}

/* `coro` has been queued. */
static inline void
kolk__ahead_note(kolk_loop *loop, kolk__coro *coro)
{
    if (KOLK_LIKELY(!loop->looks_ahead)) {
        return;
    }
    kolk__task_state *state = loop->task_state;
    kolk__coro **place = &state->recent[state->recent_next++ % KOLK__AHEAD];

    if (*place != NULL) {
        (*place)->ahead = coro;
    }
    *place = coro;
}

/* `coro` is about to run: gets what will run later. */
static inline void
kolk__ahead_fetch(const kolk_loop *loop, const kolk__coro *coro)
{
    if (KOLK_LIKELY(!loop->looks_ahead)) {
        return;
    }
    /* The struct, and the frames right below it, in which most tasks wait. A
     * processor has few places for what is on its way: four such requests a
     * step were five times slower than two. A number, as there may be no
     * object any more, or none yet. */
    union {
        const void *memory;
        uintptr_t number;
    } ahead = {.memory = coro->ahead};

    __builtin_prefetch(ahead.memory);
    ahead.number -= 192;
    __builtin_prefetch(ahead.memory);
}

/* `coro` ends. */
static inline void
kolk__ahead_forget(kolk_loop *loop, const kolk__coro *coro)
{
    if (KOLK_LIKELY(!loop->looks_ahead)) {
        return;
    }
    for (size_t i = 0; i < KOLK__AHEAD; i++) {
        if (loop->task_state->recent[i] == coro) {
            loop->task_state->recent[i] = NULL;
        }
    }
}
