/* overflow.h - a last word before a stack overflow ends the process.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <stddef.h>

/* Whose stack is `address` the guard of, in this thread? Text in `buffer` of
 * `size` bytes or static; NULL: of none. Called by a signal handler, so it may
 * read what this thread has written, and nothing more. */
typedef const char *kolk__overflow_fn(const void *address, char *buffer,
                                      size_t size);

/* From now on, a fault of this thread for which `describe` finds an owner
 * writes one line to standard error; then the process dies as it would have
 * without. Every other fault is left to who handled SIGSEGV before. The
 * process's handler is taken once, the thread gets a stack to run it on; both
 * are kept for life. Returns 0 or -errno. Thread-safe. */
int kolk__overflow_watch(kolk__overflow_fn *describe);
