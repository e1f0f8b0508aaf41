/* bare_switch.S - the cheapest exchange of stacks, for the bare programs.
 *
 * SPDX-License-Identifier: MIT
 *
 * void bare_switch(void **save, void *load): pushes what the calling
 * convention asks a callee to keep, leaves the stack pointer in *save, and
 * goes on with the stack whose pointer is `load`.
 *
 * x86-64 leaves by an indirect jump: `ret` would always be predicted wrong
 * here, since the return stack of the processor knows only the other side.
 *
 * A new stack starts at bare_start with its function in a kept register.
 */
    .text

#if defined(__x86_64__)

    .globl bare_switch
    .type bare_switch, @function
    .p2align 4
bare_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmpq *%rcx
    .size bare_switch, . - bare_switch

    .globl bare_start
    .type bare_start, @function
    .p2align 4
bare_start:
    callq *%r12
    ud2
    .size bare_start, . - bare_start

#elif defined(__aarch64__)

    .globl bare_switch
    .type bare_switch, %function
    .p2align 4
bare_switch:
    stp x29, x30, [sp, #-160]!
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    stp x23, x24, [sp, #48]
    stp x25, x26, [sp, #64]
    stp x27, x28, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldp x23, x24, [sp, #48]
    ldp x25, x26, [sp, #64]
    ldp x27, x28, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    ldp x29, x30, [sp], #160
    br x30
    .size bare_switch, . - bare_switch

    .globl bare_start
    .type bare_start, %function
    .p2align 4
bare_start:
    blr x19
    brk #1
    .size bare_start, . - bare_start

#else
#error "the bare programs know x86-64 and aarch64"
#endif

    .section .note.GNU-stack, "", %progbits
