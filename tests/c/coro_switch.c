/* coro_switch.c - a switch keeps what a call has to keep.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kit.h"

#include "coro/announce.h"
#include "coro/stack.h"
#include "coro/switch.h"

#include <stdio.h>
#include <string.h>
#include <unwind.h>

enum { PAIR_STACK = 128 * 1024, DEEP_STEP = 112 };

/* Two sides: the test's own stack and one coroutine. */
static struct {
    kolk__stacks *stacks;
    char *end;
    char *bottom;
    void *coro, *test;
    kolk__fiber coro_fiber, test_fiber;
    int visits;
    uintptr_t seen;
    int depth;
} pair;

static void
pair_close(void *unused)
{
    (void)unused;
    if (pair.stacks != NULL) {
        kolk__stacks_close(pair.stacks);
    }
}

static void
pair_to_coro(void)
{
    kolk__announce_switch(&pair.test_fiber, &pair.coro_fiber, false);
    kolk__switch(&pair.test, pair.coro);
    kolk__announce_arrival(&pair.test_fiber);
}

static void
pair_to_test(void)
{
    kolk__announce_switch(&pair.coro_fiber, &pair.test_fiber, false);
    kolk__switch(&pair.coro, pair.test);
    kolk__announce_arrival(&pair.coro_fiber);
}

static void
pair_end(void)
{
    kolk__announce_switch(&pair.coro_fiber, &pair.test_fiber, true);
    kolk__switch(&pair.coro, pair.test);
}

static void
pair_open(void (*entry)(void *arg), void *arg)
{
    CHECK_OK(kolk__stacks_open(PAIR_STACK, &pair.stacks));
    test_later(pair_close, NULL);
    pair.end = kolk__stack_take(pair.stacks, 0, &pair.bottom);
    CHECK(pair.end != NULL);
    kolk__fiber_init(&pair.coro_fiber, pair.bottom, pair.end);
    pair.coro = kolk__switch_prepare(pair.end, entry, arg);
}

static void
counter_run(void *arg)
{
    int *steps = arg;

    kolk__announce_arrival(&pair.coro_fiber);
    for (int i = 0; i < *steps; i++) {
        pair.visits++;
        pair_to_test();
    }
    pair_end();
}

TEST_ONCE(a_switch_goes_there_and_back)
{
    int steps = 100;

    pair_open(counter_run, &steps);
    for (int i = 1; i <= steps; i++) {
        pair_to_coro();
        CHECK_INT(pair.visits, i);
    }
    pair_to_coro(); /* the last: it ends */
    CHECK_INT(pair.visits, steps);
}

static void
aligned_run(void *arg)
{
    _Alignas(64) char line[64];

    kolk__announce_arrival(&pair.coro_fiber);
    __asm__ volatile("" : : "r"(line) : "memory");
    *(char **)arg = line;
    pair.seen = (uintptr_t)__builtin_frame_address(0);
    pair_end();
}

TEST_ONCE(a_coroutine_starts_with_an_aligned_stack)
{
    char *line = NULL;

    pair_open(aligned_run, &line);
    pair_to_coro();
    CHECK_INT(pair.seen % 16, 0);
    CHECK(pair.seen > (uintptr_t)pair.bottom);
    CHECK(pair.seen < (uintptr_t)pair.end);
    CHECK_INT((uintptr_t)line % 64, 0);
}

/* A function that switches, as every user of it is. */
void kept_wait(void **from, void *to);

__attribute__((noinline, used)) void
kept_wait(void **from, void *to)
{
    kolk__switch(from, to);
}

/* Loads each register that a call has to keep with a number of its own, makes
 * the switch, and stores what it finds there afterwards. */
void kept_switch(void **from, void *to, const uint64_t *before,
                 uint64_t *after);
void kept_call(void **from, void *to);

__attribute__((noinline, used)) void
kept_call(void **from, void *to)
{
    kolk__switch(from, to);
}

#if defined(__x86_64__)
enum { KEPT = 6 };

__asm__(".text\n"
        ".globl kept_switch\n"
        "kept_switch:\n\t"
        "endbr64\n\t"
        "pushq %rbx\n\t"
        "pushq %rbp\n\t"
        "pushq %r12\n\t"
        "pushq %r13\n\t"
        "pushq %r14\n\t"
        "pushq %r15\n\t"
        "pushq %rcx\n\t"
        "movq 0(%rdx), %rbx\n\t"
        "movq 8(%rdx), %rbp\n\t"
        "movq 16(%rdx), %r12\n\t"
        "movq 24(%rdx), %r13\n\t"
        "movq 32(%rdx), %r14\n\t"
        "movq 40(%rdx), %r15\n\t"
        "call kept_call\n\t"
        "popq %rcx\n\t"
        "movq %rbx, 0(%rcx)\n\t"
        "movq %rbp, 8(%rcx)\n\t"
        "movq %r12, 16(%rcx)\n\t"
        "movq %r13, 24(%rcx)\n\t"
        "movq %r14, 32(%rcx)\n\t"
        "movq %r15, 40(%rcx)\n\t"
        "popq %r15\n\t"
        "popq %r14\n\t"
        "popq %r13\n\t"
        "popq %r12\n\t"
        "popq %rbp\n\t"
        "popq %rbx\n\t"
        "ret\n");
#else
enum { KEPT = 19 };

__asm__(".text\n"
        ".globl kept_switch\n"
        "kept_switch:\n\t"
        "hint #34\n\t"
        "stp x29, x30, [sp, #-176]!\n\t"
        "stp x19, x20, [sp, #16]\n\t"
        "stp x21, x22, [sp, #32]\n\t"
        "stp x23, x24, [sp, #48]\n\t"
        "stp x25, x26, [sp, #64]\n\t"
        "stp x27, x28, [sp, #80]\n\t"
        "stp d8, d9, [sp, #96]\n\t"
        "stp d10, d11, [sp, #112]\n\t"
        "stp d12, d13, [sp, #128]\n\t"
        "stp d14, d15, [sp, #144]\n\t"
        "str x3, [sp, #160]\n\t"
        "ldp x19, x20, [x2]\n\t"
        "ldp x21, x22, [x2, #16]\n\t"
        "ldp x23, x24, [x2, #32]\n\t"
        "ldp x25, x26, [x2, #48]\n\t"
        "ldp x27, x28, [x2, #64]\n\t"
        "ldp x29, x9, [x2, #80]\n\t"
        "fmov d8, x9\n\t"
        "ldp d9, d10, [x2, #96]\n\t"
        "ldp d11, d12, [x2, #112]\n\t"
        "ldp d13, d14, [x2, #128]\n\t"
        "ldr d15, [x2, #144]\n\t"
        "bl kept_call\n\t"
        "ldr x3, [sp, #160]\n\t"
        "stp x19, x20, [x3]\n\t"
        "stp x21, x22, [x3, #16]\n\t"
        "stp x23, x24, [x3, #32]\n\t"
        "stp x25, x26, [x3, #48]\n\t"
        "stp x27, x28, [x3, #64]\n\t"
        "fmov x9, d8\n\t"
        "stp x29, x9, [x3, #80]\n\t"
        "stp d9, d10, [x3, #96]\n\t"
        "stp d11, d12, [x3, #112]\n\t"
        "stp d13, d14, [x3, #128]\n\t"
        "str d15, [x3, #144]\n\t"
        "ldp x19, x20, [sp, #16]\n\t"
        "ldp x21, x22, [sp, #32]\n\t"
        "ldp x23, x24, [sp, #48]\n\t"
        "ldp x25, x26, [sp, #64]\n\t"
        "ldp x27, x28, [sp, #80]\n\t"
        "ldp d8, d9, [sp, #96]\n\t"
        "ldp d10, d11, [sp, #112]\n\t"
        "ldp d12, d13, [sp, #128]\n\t"
        "ldp d14, d15, [sp, #144]\n\t"
        "ldp x29, x30, [sp], #176\n\t"
        "ret\n");
#endif

static void
kept_fill(uint64_t *values, uint64_t side)
{
    for (uint64_t i = 0; i < KEPT; i++) {
        values[i] = side << 32 | i;
    }
}

static void
kept_run(void *arg)
{
    uint64_t before[KEPT], after[KEPT] = {0};
    int *same = arg;

    kolk__announce_arrival(&pair.coro_fiber);
    kept_fill(before, 2);
    kolk__announce_switch(&pair.coro_fiber, &pair.test_fiber, false);
    kept_switch(&pair.coro, pair.test, before, after);
    kolk__announce_arrival(&pair.coro_fiber);
    *same = memcmp(before, after, sizeof before) == 0;
    pair_end();
}

TEST_ONCE(a_switch_keeps_the_registers_that_a_call_keeps)
{
    uint64_t before[KEPT], after[KEPT] = {0};
    int same = 0;

    pair_open(kept_run, &same);
    kept_fill(before, 1);
    kolk__announce_switch(&pair.test_fiber, &pair.coro_fiber, false);
    kept_switch(&pair.test, pair.coro, before, after);
    kolk__announce_arrival(&pair.test_fiber);
    CHECK(memcmp(before, after, sizeof before) == 0);
    pair_to_coro();
    CHECK(same);
}

/* Numbers that the compiler would like to keep in registers meanwhile. */
static inline __attribute__((always_inline)) bool
numbers_survive(void (*go)(void), volatile double seed)
{
    double a = seed, b = a * 3, c = a / 7;
    long double d = (long double)a * 11;
    float e = (float)a * 13;

    go();
    double again = seed;
    return a == again && b == again * 3 && c == again / 7
           && d == (long double)again * 11 && e == (float)again * 13;
}

static void
numbers_run(void *arg)
{
    bool *survived = arg;

    kolk__announce_arrival(&pair.coro_fiber);
    *survived = numbers_survive(pair_to_test, 0.7);
    pair_end();
}

TEST_ONCE(numbers_in_registers_survive_a_switch)
{
    bool survived = false;

    pair_open(numbers_run, &survived);
    CHECK(numbers_survive(pair_to_coro, 1.3));
    pair_to_coro();
    CHECK(survived);
}

static _Unwind_Reason_Code
backtrace_count(struct _Unwind_Context *context, void *arg)
{
    uintptr_t *last = arg;
    uintptr_t pc = _Unwind_GetIP(context);

    if (pc != 0) {
        *last = pc;
        pair.depth++;
    }
    return pair.depth < 64 ? _URC_NO_REASON : _URC_END_OF_STACK;
}

static void
backtrace_run(void *arg)
{
    kolk__announce_arrival(&pair.coro_fiber);
#ifdef __GLIBC__
    (void)_Unwind_Backtrace(backtrace_count, arg);
#else /* the unwinder of Debian's musl compiler needs glibc */
    (void)backtrace_count, (void)arg;
#endif
    pair_end();
}

TEST_ONCE(a_backtrace_ends_where_the_coroutine_starts)
{
    uintptr_t last = 0;

    pair_open(backtrace_run, &last);
    pair_to_coro();
#ifndef __GLIBC__
    printf("not tested: there is no unwinder here\n");
    return;
#endif
    /* The coroutine's function, the start, and what the unwinder adds. */
    CHECK(pair.depth >= 2);
    CHECK(pair.depth <= 4);
    CHECK(last - (uintptr_t)kolk__switch_start < 64);
}

static void
deep_fill(char *memory, int depth)
{
    char here[1024];

    memset(here, depth, sizeof here);
    __asm__ volatile("" : : "r"(here), "r"(memory) : "memory");
    if (depth > 0) {
        deep_fill(here, depth - 1);
    }
    __asm__ volatile("" : : "r"(here) : "memory");
}

static void
deep_run(void *arg)
{
    int *rounds = arg;

    kolk__announce_arrival(&pair.coro_fiber);
    while ((*rounds)-- > 0) {
        char local[256];
        memset(local, 1, sizeof local);
        deep_fill(local, 20);
        pair_to_test();
        pair.visits += local[255];
    }
    pair_end();
}

/* The stack is used again after an end that left frames behind: a sanitizer
 * that was not told would call it an overflow. */
TEST_ONCE(a_stack_can_be_used_again_after_an_end_in_the_middle)
{
    for (int i = 0; i < 10; i++) {
        int rounds = 3;

        if (i == 0) {
            pair_open(deep_run, &rounds);
        } else {
            char *end = kolk__stack_take(pair.stacks, 0, &pair.bottom);
            CHECK_PTR(end, pair.end);
            kolk__fiber_init(&pair.coro_fiber, pair.bottom, end);
            pair.coro = kolk__switch_prepare(end - (ptrdiff_t)i * DEEP_STEP,
                                             deep_run, &rounds);
        }
        for (int j = 0; j < 4; j++) {
            pair_to_coro();
        }
        kolk__stack_give(pair.stacks, pair.end, 0);
    }
    CHECK_INT(pair.visits, 30);
}
