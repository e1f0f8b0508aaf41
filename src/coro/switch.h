/* switch.h - from one stack to another.
 *
 * SPDX-License-Identifier: MIT
 *
 * A switch notes where this stack stands and goes to where another one did.
 * It is inline assembly, not a function, for the sake of the processor's stack
 * of return addresses: that one pairs each return with the latest call, so a
 * switch that is called and left by a jump makes every return after it a wrong
 * guess, up the whole chain of calls, and one left by a return is itself a
 * wrong guess where the two sides were called from different places (measured:
 * 22 ns against 7 ns for a yield between two tasks). Without a call, tasks that
 * wait in the same place return rightly.
 *
 * All registers are said to be overwritten, so the compiler keeps what it
 * needs around the switch; the frame pointer, which it does not let go of, is
 * kept here. The floating-point control words (MXCSR, x87, FPCR) are not
 * switched: a task that changes them changes them for all.
 *
 * Invariant: a stack that waits is known by the address of a kolk__place, on
 * it; the debugger script knows its layout. The stack pointer in it is that of
 * the function that switched, so unwinding from `pc` needs nothing special.
 */
#pragma once

#include <stddef.h>

/* Where a stack stands. */
typedef struct kolk__place {
    void *sp, *pc, *fp;
} kolk__place;

/* Where a new stack begins, in switch_*.S; not to be called. */
void kolk__switch_start(void) __attribute__((visibility("hidden")));

/* More registers that a compiler may use for what lives across a switch. */
#ifdef __AVX512F__
#define KOLK__SWITCH_AVX512                                                    \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",  \
        "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30",         \
        "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#else
#define KOLK__SWITCH_AVX512
#endif

/* Notes where this stack is in `*from`, and goes on at `to`. Returns when
 * somebody switches back to `*from`. */
static inline __attribute__((always_inline)) void
kolk__switch(void **from, void *to)
{
    kolk__place here;

#if defined(__x86_64__)
    kolk__place *place = &here;

    __asm__ volatile(
        "leaq 1f(%%rip), %%rax\n\t"
        "movq %[place], (%[from])\n\t"
        "movq %%rsp, (%[place])\n\t"
        "movq %%rax, 8(%[place])\n\t"
        "movq %%rbp, 16(%[place])\n\t"
        "movq (%[to]), %%rsp\n\t"
        "movq 16(%[to]), %%rbp\n\t"
        "notrack jmpq *8(%[to])\n" /* to below, where no endbr64 stands */
        "1:"
        : [place] "+D"(place), [to] "+S"(to), [from] "+d"(from)
        :
        : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
          "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
          "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
          "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)",
          "st(7)" KOLK__SWITCH_AVX512, "memory", "cc");
#elif defined(__aarch64__)
    register kolk__place *x0 __asm__("x0") = &here;
    register void *x1 __asm__("x1") = to;
    register void **x4 __asm__("x4") = from;

    __asm__ volatile(
        "adr x3, 1f\n\t"
        "mov x2, sp\n\t"
        "str x0, [x4]\n\t"
        "stp x2, x3, [x0]\n\t"
        "str x29, [x0, #16]\n\t"
        "ldp x2, x3, [x1]\n\t"
        "ldr x29, [x1, #16]\n\t"
        "mov sp, x2\n\t"
        "br x3\n"
        "1:\n\t"
        "hint #36" /* bti j: jumps may come here */
        : "+r"(x0), "+r"(x1), "+r"(x4)
        :
        : "x2", "x3", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
          "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23",
          "x24", "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3",
          "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14",
          "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
          "v25", "v26", "v27", "v28", "v29", "v30", "v31", "memory", "cc");
#else
#error "the switch knows x86-64 and aarch64"
#endif
}

/* What the start finds at the low end of a new stack. */
typedef struct kolk__start {
    void (*entry)(void *arg);
    void *arg;
    kolk__place place;
    void *align; /* to 16 bytes */
} kolk__start;

/* Prepares a stack that ends below `top` (16-byte aligned), so that the first
 * switch to it calls `entry(arg)`, which may not return. Returns what to switch
 * to. Backtraces end cleanly below `entry`. */
static inline void *
kolk__switch_prepare(void *top, void (*entry)(void *arg), void *arg)
{
    kolk__start *start = (kolk__start *)top - 1;

    *start = (kolk__start){
        .entry = entry,
        .arg = arg,
        /* fp NULL ends the chain of those who walk frame pointers. */
        .place = {.sp = start, .pc = (void *)kolk__switch_start},
    };
    return &start->place;
}
