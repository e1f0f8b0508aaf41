/* guard.h - the page below a stack.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <stddef.h>

typedef enum kolk__guard {
    KOLK__GUARD_NONE,   /* nothing helped: kolk__guard_check() it */
    KOLK__GUARD_ADVISE, /* by MADV_GUARD_INSTALL */
    KOLK__GUARD_CUT,    /* by mprotect() */
} kolk__guard;

/* Makes the `size` bytes at `page`, whole pages and untouched so far, fault
 * when they are touched. Thread-safe. */
kolk__guard kolk__guard_install(char *page, size_t size);

/* So many guards of the kind KOLK__GUARD_CUT have been unmapped.
 * Thread-safe. */
void kolk__guard_forget(int cuts);

/* Ends the process, with a message, if a page that should be a guard, and is
 * none, has been written. */
void kolk__guard_check(const char *page);

/* How the stacks of this process are guarded: "madvise", "mprotect", "none"
 * once one had to do without, "unknown" before the first. Static text.
 * Thread-safe. */
const char *kolk__guard_name(void);
