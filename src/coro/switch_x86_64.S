/* switch_x86_64.S - where a new stack begins, x86-64.
 *
 * SPDX-License-Identifier: MIT
 */
#if defined(__x86_64__)

    .text

/* The oldest frame of every coroutine: calls what kolk__start at the stack
 * pointer says. The stack pointer is 16-byte aligned, as before any call. */
    .globl kolk__switch_start
    .hidden kolk__switch_start
    .type kolk__switch_start, @function
    .p2align 4
kolk__switch_start:
    .cfi_startproc
    .cfi_undefined %rip
    endbr64
    movq 8(%rsp), %rdi
    callq *(%rsp)
    ud2
    .cfi_endproc
    .size kolk__switch_start, . - kolk__switch_start

#endif

#include "coro/note.inc"
