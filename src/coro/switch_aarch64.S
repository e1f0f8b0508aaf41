/* switch_aarch64.S - from one stack to another, aarch64.
 *
 * SPDX-License-Identifier: MIT
 *
 * Leaves by `br`: the processor's stack of return addresses knows only the
 * side that called, so a `ret` here is always predicted wrong. Where branch
 * targets are identified (BTI), `br` may go to marked places only, and behind
 * a call there is no mark: then it is `ret`. An object without the BTI note
 * takes it from the whole program, so each build is right.
 *
 * Both stacks have the same layout at the moment of the exchange (kolk__frame
 * in switch.h), so one description for the unwinder holds before and after it.
 */
#if defined(__aarch64__)

#define FRAME 160

    .text

    .macro resume
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    ldp x29, x30, [sp], #FRAME
    .cfi_def_cfa_offset 0
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    .cfi_restore d8
    .cfi_restore d9
    .cfi_restore d10
    .cfi_restore d11
    .cfi_restore d12
    .cfi_restore d13
    .cfi_restore d14
    .cfi_restore d15
#ifdef __ARM_FEATURE_BTI_DEFAULT
    ret
#else
    br x30
#endif
    .endm

    .macro opened
    .cfi_def_cfa_offset FRAME
    .cfi_offset x29, -160
    .cfi_offset x30, -152
    .endm

    .macro saved
    .cfi_offset x19, -144
    .cfi_offset x20, -136
    .cfi_offset x21, -128
    .cfi_offset x22, -120
    .cfi_offset x23, -112
    .cfi_offset x24, -104
    .cfi_offset x25, -96
    .cfi_offset x26, -88
    .cfi_offset x27, -80
    .cfi_offset x28, -72
    .cfi_offset d8, -64
    .cfi_offset d9, -56
    .cfi_offset d10, -48
    .cfi_offset d11, -40
    .cfi_offset d12, -32
    .cfi_offset d13, -24
    .cfi_offset d14, -16
    .cfi_offset d15, -8
    .endm

/* void kolk__switch(void **from, void *to) */
    .globl kolk__switch
    .hidden kolk__switch
    .type kolk__switch, %function
    .p2align 4
kolk__switch:
    .cfi_startproc
    hint #34 /* bti c */
    mov x9, sp
    sub x9, x9, #FRAME
    str x9, [x0]
    stp x29, x30, [sp, #-FRAME]!
    opened
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    saved
    mov sp, x1
    resume
    .cfi_endproc
    .size kolk__switch, . - kolk__switch

/* void kolk__switch_last(void *to) */
    .globl kolk__switch_last
    .hidden kolk__switch_last
    .type kolk__switch_last, %function
    .p2align 4
kolk__switch_last:
    .cfi_startproc
    hint #34 /* bti c */
    mov sp, x0
    opened
    saved
    resume
    .cfi_endproc
    .size kolk__switch_last, . - kolk__switch_last

/* The oldest frame of every coroutine. */
    .globl kolk__switch_start
    .hidden kolk__switch_start
    .type kolk__switch_start, %function
    .p2align 4
kolk__switch_start:
    .cfi_startproc
    .cfi_undefined x30
    hint #36 /* bti j */
    mov x0, x20
    blr x19
    brk #1
    .cfi_endproc
    .size kolk__switch_start, . - kolk__switch_start

#endif

#include "coro/note.inc"
