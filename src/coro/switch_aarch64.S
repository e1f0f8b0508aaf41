/* switch_aarch64.S - where a new stack begins, aarch64.
 *
 * SPDX-License-Identifier: MIT
 */
#if defined(__aarch64__)

    .text

/* The oldest frame of every coroutine: calls what kolk__start at the stack
 * pointer says. */
    .globl kolk__switch_start
    .hidden kolk__switch_start
    .type kolk__switch_start, %function
    .p2align 4
kolk__switch_start:
    .cfi_startproc
    .cfi_undefined x30
    hint #38 /* bti jc: a jump comes here */
    ldp x1, x0, [sp]
    blr x1
    brk #0
    .cfi_endproc
    .size kolk__switch_start, . - kolk__switch_start

#endif

#include "coro/note.inc"
