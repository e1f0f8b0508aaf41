/* switch_x86_64.S - from one stack to another, x86-64.
 *
 * SPDX-License-Identifier: MIT
 *
 * Leaves by an indirect jump: the processor's stack of return addresses knows
 * only the side that called, so a `ret` here is always predicted wrong, which
 * costs four times the whole switch. The jump is marked `notrack`, since where
 * it goes is behind a call and no endbr64 stands there.
 *
 * Both stacks have the same layout at the moment of the exchange (kolk__frame
 * in switch.h), so one description for the unwinder holds before and after it.
 */
#if defined(__x86_64__)

    .text

    .macro resume
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    popq %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rcx
    notrack jmpq *%rcx
    .endm

    .macro saved register
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset \register, 0
    .endm

/* void kolk__switch(void **from, void *to) */
    .globl kolk__switch
    .hidden kolk__switch
    .type kolk__switch, @function
    .p2align 4
kolk__switch:
    .cfi_startproc
    endbr64
    pushq %rbp
    saved %rbp
    pushq %rbx
    saved %rbx
    pushq %r12
    saved %r12
    pushq %r13
    saved %r13
    pushq %r14
    saved %r14
    pushq %r15
    saved %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    resume
    .cfi_endproc
    .size kolk__switch, . - kolk__switch

/* void kolk__switch_last(void *to) */
    .globl kolk__switch_last
    .hidden kolk__switch_last
    .type kolk__switch_last, @function
    .p2align 4
kolk__switch_last:
    .cfi_startproc
    endbr64
    movq %rdi, %rsp
    .cfi_def_cfa_offset 56
    .cfi_offset %rbp, -16
    .cfi_offset %rbx, -24
    .cfi_offset %r12, -32
    .cfi_offset %r13, -40
    .cfi_offset %r14, -48
    .cfi_offset %r15, -56
    resume
    .cfi_endproc
    .size kolk__switch_last, . - kolk__switch_last

/* The oldest frame of every coroutine. The stack pointer is 16-byte aligned
 * here, as it has to be before a call. */
    .globl kolk__switch_start
    .hidden kolk__switch_start
    .type kolk__switch_start, @function
    .p2align 4
kolk__switch_start:
    .cfi_startproc
    .cfi_undefined %rip
    endbr64
    movq %r12, %rdi
    callq *%r13
    ud2
    .cfi_endproc
    .size kolk__switch_start, . - kolk__switch_start

#endif

#include "coro/note.inc"
