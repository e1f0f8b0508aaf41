/* announce.h - telling the sanitizers and Valgrind about switches.
 *
 * SPDX-License-Identifier: MIT
 *
 * ASan keeps the bounds of the current stack and a fake stack, TSan a history
 * per fiber, Valgrind a list of stacks. Where none of them is compiled in, all
 * of this is nothing, and kolk__fiber takes no room. A kolk__fiber stands in
 * each coroutine and once for the loop's own stack.
 *
 * Around each switch:   kolk__announce_switch(&from, &to, ends);
 *                       kolk__switch(...);
 *                       kolk__announce_arrival(&from);
 * and kolk__announce_arrival(&self) first thing on a new stack. All three are
 * inlined into the function that switches, because TSan counts the entries and
 * exits of functions for each fiber.
 *
 * What a stack is left for and where it comes from is learnt at each arrival,
 * so the loop's own fiber needs nothing but zeroes: it may run in one thread
 * today and in another tomorrow, or on a coroutine of another loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define KOLK__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KOLK__ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define KOLK__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KOLK__TSAN 1
#endif
#endif

#ifdef KOLK__ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef KOLK__TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define KOLK__ANNOUNCE_INLINE static inline __attribute__((always_inline))

/* One stack, as the sanitizers see it. Zeroes are a valid start for a stack
 * that is left before it is gone to. */
typedef struct kolk__fiber {
#ifdef KOLK__ASAN
    const void *bottom;
    size_t size;
    void *fake; /* ASan's own, while somebody else runs */
#endif
#ifdef KOLK__TSAN
    void *tsan;
    void *dead; /* the fiber that ended by switching here, to be destroyed */
#endif
} kolk__fiber;

/* A coroutine's fiber, on the stack from `bottom` to `end`. Nothing has to be
 * undone for one that ends as `ends` says. */
KOLK__ANNOUNCE_INLINE void
kolk__fiber_init(kolk__fiber *fiber, const char *bottom, const char *end)
{
    (void)fiber, (void)bottom, (void)end;
#ifdef KOLK__ASAN
    fiber->bottom = bottom;
    fiber->size = (size_t)(end - bottom);
    fiber->fake = NULL;
#endif
#ifdef KOLK__TSAN
    fiber->tsan = __tsan_create_fiber(0);
    fiber->dead = NULL;
#endif
}

/* For a coroutine that is dropped without having ended. */
KOLK__ANNOUNCE_INLINE void
kolk__fiber_fini(kolk__fiber *fiber)
{
    (void)fiber;
#ifdef KOLK__TSAN
    __tsan_destroy_fiber(fiber->tsan);
#endif
}

#ifdef KOLK__ASAN
/* announce.c: the fiber that this thread has just left, NULL if it has
 * ended. */
extern _Thread_local kolk__fiber *kolk__announce_left
    __attribute__((visibility("hidden")));
#endif

/* The next switch goes from `from`, the current one, to `to`; with `ends`,
 * `from` is never gone back to. */
KOLK__ANNOUNCE_INLINE void
kolk__announce_switch(kolk__fiber *from, kolk__fiber *to, bool ends)
{
    (void)from, (void)to, (void)ends;
#ifdef KOLK__ASAN
    kolk__announce_left = ends ? NULL : from;
    __sanitizer_start_switch_fiber(ends ? NULL : &from->fake, to->bottom,
                                   to->size);
#endif
#ifdef KOLK__TSAN
    from->tsan = __tsan_get_current_fiber();
    to->dead = ends ? from->tsan : NULL;
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
}

/* A switch has come to `self`. */
KOLK__ANNOUNCE_INLINE void
kolk__announce_arrival(kolk__fiber *self)
{
    (void)self;
#ifdef KOLK__ASAN
    const void *bottom;
    size_t size;

    __sanitizer_finish_switch_fiber(self->fake, &bottom, &size);
    if (kolk__announce_left != NULL) {
        kolk__announce_left->bottom = bottom;
        kolk__announce_left->size = size;
    }
#endif
#ifdef KOLK__TSAN
    if (self->dead != NULL) {
        __tsan_destroy_fiber(self->dead);
        self->dead = NULL;
    }
#endif
}

/* announce.c: a stack that was mapped and is about to be used; what to give
 * kolk__announce_unmapped() before it goes. */
unsigned kolk__announce_mapped(char *bottom, char *end);
void kolk__announce_unmapped(unsigned id);

/* announce.c: a stack that is used again. What the frames of its last user
 * have left behind says nothing about the next. */
void kolk__announce_reused(char *bottom, char *end);

/* Whether kolk__announce_reused() has anything to do. */
bool kolk__announce_is_watched(void);
