/* bare_coro.h - the least that can be called coroutines.
 *
 * SPDX-License-Identifier: MIT
 *
 * An intrusive ready list, a switch in assembly and a list of free stacks:
 * no cancellation, no result, no errors, no loop. What this costs is the
 * limit that the other programs are compared with.
 *
 * A stack is 128 KiB of address space with a guard page at its low end. The
 * coroutine's struct sits on its top page, so an idle one costs one page. Its
 * place within that page differs from stack to stack: at one place all of
 * them would fight for the same few sets of the caches.
 *
 * The state is static: each program includes this header once.
 */
#pragma once

#include "bench.h"

#include <stdbool.h>
#include <sys/mman.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* since Linux 6.13 */
#endif

enum {
    BARE_STACK_SIZE = 128 * 1024,
    BARE_PAGE = 4096,
    BARE_CHUNK = 256, /* stacks mapped at once */
    BARE_COLOURS = 16,
    BARE_COLOUR = 128, /* bytes from one place on the top page to the next */
#if defined(__x86_64__)
    BARE_FRAME_WORDS = 8, /* what bare_switch() pops, one for alignment */
    BARE_FRAME_FN = 3,    /* r12 */
    BARE_FRAME_PC = 6,
#else
    BARE_FRAME_WORDS = 20,
    BARE_FRAME_FN = 2, /* x19 */
    BARE_FRAME_PC = 1, /* x30 */
#endif
};

typedef void bare_fn(void);

struct bare_coro {
    void *sp;                 /* while another one runs */
    struct bare_coro *next;   /* in the ready list or among the free */
    struct bare_coro *joiner; /* who waits for the end */
    bare_fn *fn;
    bool is_done;
};

void bare_switch(void **save, void *load);
void bare_start(void);

static struct {
    struct bare_coro *current;
    struct bare_coro *head;
    struct bare_coro **tail;
    struct bare_coro *free;
    struct bare_coro main; /* stands for the thread's own stack */
    char *chunk;           /* the rest of the last mapping */
    int chunk_left;
    unsigned made;
    bool has_no_guard_advice; /* older kernel: mprotect() instead */
} bare;

static inline void
bare_open(void)
{
    bare.current = &bare.main;
    bare.tail = &bare.head;
}

static inline void
bare_push(struct bare_coro *coro)
{
    coro->next = NULL;
    *bare.tail = coro;
    bare.tail = &coro->next;
}

/* Goes on with the next ready one. Somebody has to be ready: this thread has
 * nothing else to do. */
static inline void
bare_park(void)
{
    struct bare_coro *self = bare.current;
    struct bare_coro *next = bare.head;

    bare.head = next->next;
    if (bare.head == NULL) {
        bare.tail = &bare.head;
    }
    if (next != self) {
        bare.current = next;
        bare_switch(&self->sp, next->sp);
    }
}

static inline void
bare_yield(void)
{
    bare_push(bare.current);
    bare_park();
}

static inline void
bare_guard(char *stack)
{
    if (!bare.has_no_guard_advice) {
        if (madvise(stack, BARE_PAGE, MADV_GUARD_INSTALL) == 0) {
            return;
        }
        bare.has_no_guard_advice = true;
    }
    bench_check("mprotect of a guard", mprotect(stack, BARE_PAGE, PROT_NONE));
}

static inline char *
bare_stack_new(void)
{
    if (bare.chunk_left == 0) {
        size_t size = (size_t)BARE_CHUNK * BARE_STACK_SIZE;

        bare.chunk = mmap(NULL, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (bare.chunk == MAP_FAILED) {
            bench_die("mmap of stacks", errno);
        }
        /* A huge page would make every stack resident; refusal is harmless
         * where the kernel has none. */
        (void)madvise(bare.chunk, size, MADV_NOHUGEPAGE);
        bare.chunk_left = BARE_CHUNK;
    }
    char *stack = bare.chunk;
    bare.chunk += BARE_STACK_SIZE;
    bare.chunk_left--;
    bare_guard(stack);
    return stack;
}

static inline struct bare_coro *
bare_take(void)
{
    struct bare_coro *coro = bare.free;

    if (coro != NULL) {
        bare.free = coro->next;
        return coro;
    }
    size_t place = sizeof *coro + bare.made++ % BARE_COLOURS * BARE_COLOUR;
    uintptr_t top = (uintptr_t)bare_stack_new() + BARE_STACK_SIZE - place;
    return (struct bare_coro *)(top & ~(uintptr_t)63);
}

/* The first and last frame of every coroutine. */
static void
bare_main(void)
{
    struct bare_coro *self = bare.current;

    self->fn();
    self->is_done = true;
    if (self->joiner != NULL) {
        bare_push(self->joiner);
    }
    bare_park();
}

static inline struct bare_coro *
bare_spawn(bare_fn *fn)
{
    struct bare_coro *coro = bare_take();
    void **frame = (void **)coro - BARE_FRAME_WORDS;

    frame[BARE_FRAME_FN] = (void *)(uintptr_t)bare_main;
    frame[BARE_FRAME_PC] = (void *)(uintptr_t)bare_start;
    coro->sp = frame;
    coro->fn = fn;
    coro->joiner = NULL;
    coro->is_done = false;
    bare_push(coro);
    return coro;
}

static inline void
bare_join(struct bare_coro *coro)
{
    if (!coro->is_done) {
        coro->joiner = bare.current;
        bare_park();
    }
    coro->next = bare.free;
    bare.free = coro;
}
