/* kit_sys.h - the watched table of system calls, between the files of the kit.
 *
 * SPDX-License-Identifier: MIT
 *
 * kit_sys.c says what goes wrong. Its neighbours stand for parts of the table:
 * kit_bytes.c moves bytes, kit_ring.c is liburing, kit_process.c makes
 * children, kit_leak.c is memory, which it also counts.
 */
#pragma once

#include "base/sys.h"

#include <stdbool.h>

enum kit_sys_mode {
    KIT_SYS_OFF,
    KIT_SYS_COUNT,
    KIT_SYS_ONCE,
    KIT_SYS_EVER,
    KIT_SYS_SHORT,
    KIT_SYS_EINTR,
};

/* The real calls. */
extern struct kolk__sys kit_sys_real;

enum kit_sys_mode kit_sys_mode(void);

/* Shall this call of `name` fail? `name` is a literal that stands in one place
 * only: its address tells the kinds of call apart. Counts the call. */
bool kit_sys_fails(const char *name);

/* Shall this call be interrupted? */
bool kit_sys_interrupts(void);

/* May the loop of this thread sleep without a bound? Not once a check has
 * failed: nobody may be left to wake it. Then its run ends. */
bool kit_sys_may_sleep(void);

/* Notes that `fd`, if it is one, was opened through the table. */
void kit_sys_opened(int fd);

/* Was `fd` opened through the table, and not closed since? */
bool kit_sys_has_opened(int fd);

/* Is `fd` an eventfd or a timerfd of the table? A call that does not wait
 * cannot fail there. */
bool kit_sys_is_plain(int fd);

/* Each replaces its part of the table. */
void kit_bytes_init(void);
void kit_ring_init(void);
void kit_process_init(void);
void kit_leak_init(void);
