/* fork.h - which process this is.
 *
 * SPDX-License-Identifier: MIT
 *
 * After a fork, the loops of the parent are dead in the child. Each remembers
 * the generation it was made in; a handler of pthread_atfork() counts it up in
 * the child, so the test is one load and needs no system call.
 */
#pragma once

extern unsigned kolk__generation __attribute__((visibility("hidden")));

/* Installs the handler, once per process. Returns 0 or -errno. Thread-safe. */
int kolk__fork_watch(void);

/* From now on, `fn` is called in each child, in the thread that forked. There
 * is one such function. Thread-safe. */
void kolk__fork_set_hook(void (*fn)(void));
