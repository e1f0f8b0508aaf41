/* switch.h - from one stack to another.
 *
 * SPDX-License-Identifier: MIT
 *
 * A switch saves the callee-saved registers on the stack it leaves and takes
 * them from the one it goes to; the rest is the compiler's business, since a
 * switch is an ordinary out-of-line call. The floating-point control words
 * (MXCSR, x87, FPCR) are not switched: a task that changes them changes them
 * for all.
 *
 * Invariant: a stack that waits is the address of a kolk__frame, on it, whose
 * `pc` is where it goes on. The switch, the preparation below and the debugger
 * script know this layout.
 */
#pragma once

#include <stddef.h>

/* What a switch leaves at the low end of a stack. */
typedef struct kolk__frame {
#if defined(__x86_64__)
    void *r15, *r14;
    void *r13, *r12; /* of a new stack: entry and arg */
    void *rbx, *rbp;
    void *pc;
#elif defined(__aarch64__)
    void *fp, *pc;   /* x29, x30 */
    void *x19, *x20; /* of a new stack: entry and arg */
    void *x21, *x22, *x23, *x24, *x25, *x26, *x27, *x28;
    double d8, d9, d10, d11, d12, d13, d14, d15;
#else
#error "the switch knows x86-64 and aarch64"
#endif
} kolk__frame;

/* Saves where this stack is in `*from`, and goes on at `to`. Returns when
 * somebody switches back to `*from`. */
void kolk__switch(void **from, void *to) __attribute__((visibility("hidden")));

/* Goes on at `to`, and saves nothing: this stack is never gone back to. */
void kolk__switch_last(void *to)
    __attribute__((visibility("hidden"), noreturn));

/* Where a prepared stack begins; not to be called. */
void kolk__switch_start(void) __attribute__((visibility("hidden")));

/* Prepares a stack that ends below `top` (16-byte aligned), so that the first
 * switch to it calls `entry(arg)`, which may not return. Returns what to switch
 * to. Backtraces end cleanly below `entry`. The other registers are whatever
 * the memory holds: nobody reads them. */
static inline void *
kolk__switch_prepare(void *top, void (*entry)(void *arg), void *arg)
{
    kolk__frame *frame = (kolk__frame *)top - 1;

    frame->pc = (void *)kolk__switch_start;
#if defined(__x86_64__)
    frame->r13 = (void *)entry;
    frame->r12 = arg;
    frame->rbp = NULL; /* ends the chain of those who walk frame pointers */
#else
    frame->x19 = (void *)entry;
    frame->x20 = arg;
    frame->fp = NULL; /* ends the chain of those who walk frame pointers */
#endif
    return frame;
}
