/* stack.h - memory for coroutines' stacks.
 *
 * SPDX-License-Identifier: MIT
 *
 * A stack is address space that the kernel fills in page by page as it is
 * used. Its lowest page is a guard, so that an overflow faults instead of
 * writing into the neighbour. Stacks of the default size come from slabs and
 * are used again last in, first out, so that a warm one is found in the cache.
 *
 * The user's struct stands at the top end, on the page that the first frames
 * use anyway: it has to end where kolk__stack_take() says.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
    KOLK__STACK_MIN = 16 * 1024,
    KOLK__STACKS_KEPT = 16384, /* free stacks of a pool that stay warm */
    KOLK__STACKS_TRIM = 64,    /* go cold at a time, each a system call */
};

typedef struct kolk__stacks kolk__stacks;

/* A pool of stacks of `size` bytes of address space, guard included (rounded
 * up to pages). Maps nothing yet. Returns 0, -ENOMEM, or -EINVAL below
 * KOLK__STACK_MIN. */
int kolk__stacks_open(size_t size, kolk__stacks **out);

/* Unmaps every stack, used or not. */
void kolk__stacks_close(kolk__stacks *stacks);

/* The end (highest address, 16-byte aligned) of a stack of the pool's size, or
 * of `size` bytes if that is not 0; in `*bottom` (may be NULL) its lowest
 * usable byte. The ends of different stacks lie at different places of their
 * pages, so that they do not compete for the same lines of the caches. NULL
 * without memory. */
char *kolk__stack_take(kolk__stacks *stacks, size_t size, char **bottom);

/* Gives a stack back; `end` and `size` as it was taken with. A process whose
 * stack has no guard and has overflowed ends here, with a message. */
void kolk__stack_give(kolk__stacks *stacks, char *end, size_t size);

/* Gives the memory of some free stacks back to the kernel, if more are free
 * than the pool keeps. For a loop that has nothing else to do: while it has, a
 * crowd of tasks that has gone may be followed by another. */
void kolk__stacks_trim(kolk__stacks *stacks);

/* Would giving back a stack of `size` leave its memory alone? Then a coroutine
 * may do so while it still stands on it, as long as it has left before the
 * next take. Otherwise somebody on another stack has to. */
bool kolk__stack_is_kept(const kolk__stacks *stacks, size_t size);

/* Is `address` in the guard of the stack that ends at `end`?
 * Async-signal-safe. */
bool kolk__stack_is_overflow(const kolk__stacks *stacks, const char *end,
                             size_t size, const void *address);
