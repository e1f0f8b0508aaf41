/* switch_aarch64.S - where a new stack begins, aarch64.
 *
 * SPDX-License-Identifier: MIT
 */
#if defined(__aarch64__)

    .text

/* The oldest frame of every coroutine: goes to what kolk__start at the stack
 * pointer says, with a return address in here, for the unwinder. That is no
 * call, because the entry never returns: a call would leave the processor's
 * stack of return addresses one too deep for those who run next. */
    .globl kolk__switch_start
    .hidden kolk__switch_start
    .type kolk__switch_start, %function
    .p2align 4
kolk__switch_start:
    .cfi_startproc
    .cfi_undefined x30
    hint #38 /* bti jc: a jump comes here */
    ldp x16, x0, [sp]
    adr x30, 1f
    br x16 /* from x16, where BTI takes it for a call */
1:
    brk #0
    .cfi_endproc
    .size kolk__switch_start, . - kolk__switch_start

#endif

#include "coro/note.inc"
