/* switch_x86_64.S - where a new stack begins, x86-64.
 *
 * SPDX-License-Identifier: MIT
 */
#if defined(__x86_64__)

    .text

/* The oldest frame of every coroutine: goes to what kolk__start at the stack
 * pointer says, with a return address in here, for the unwinder. That is no
 * call, because the entry never returns: a call would leave the processor's
 * stack of return addresses one too deep for those who run next. The stack
 * pointer is 16-byte aligned before, as before any call. */
    .globl kolk__switch_start
    .hidden kolk__switch_start
    .type kolk__switch_start, @function
    .p2align 4
kolk__switch_start:
    .cfi_startproc
    .cfi_undefined %rip
    endbr64
    movq 8(%rsp), %rdi
    movq (%rsp), %rax
    leaq 1f(%rip), %rcx
    pushq %rcx
    notrack jmpq *%rax
1:
    ud2
    .cfi_endproc
    .size kolk__switch_start, . - kolk__switch_start

#endif

#include "coro/note.inc"
