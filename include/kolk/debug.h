/* kolk/debug.h - looking for defects.
 *
 * SPDX-License-Identifier: MIT
 *
 * Debug mode (KOLK_DEBUG=1, kolk_loop_options or kolk_loop_set_debug())
 * reports, through the loop's error handler: steps that keep the loop for
 * longer than 100 ms, with the task's name and where it was spawned; a loop
 * whose tasks all wait for what can never come, with what each waits for;
 * descriptors closed behind the loop's back. Misuse then says what was misused
 * on standard error, and aborts.
 */
#pragma once

#include <kolk/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Switches debug mode of `loop` on or off. */
KOLK_API void kolk_loop_set_debug(kolk_loop *loop, bool on);

KOLK_API bool kolk_loop_is_debug(const kolk_loop *loop);

/* In debug mode, a callback or step longer than `delay` is reported. */
KOLK_API void kolk_loop_set_slow_step(kolk_loop *loop, kolk_time delay);

/* Writes a line per task of `loop` to `fd`: name, state, what it waits for and
 * for how many other things, where it was spawned. Returns 0 or -errno. */
KOLK_API int kolk_loop_dump(kolk_loop *loop, int fd);

/* What `task` waits for ("sleep", "lock", "queue get"...), static; "" when it
 * does not wait. */
KOLK_API const char *kolk_task_waits_for(const kolk_task *task);

/* Where `task` was spawned, "file:line"; "" once it has ended. */
KOLK_API const char *kolk_task_site(const kolk_task *task);

/* Reports an overflow of a task's stack, in this thread, with the task's name
 * and where it was spawned, on standard error, before the process dies of
 * SIGSEGV as it would anyway. Takes the process's SIGSEGV handler and hands on
 * what is not an overflow of a task. Debug mode does this by itself. Returns
 * 0 or -errno. */
KOLK_API int kolk_report_overflow(void);

#ifdef __cplusplus
}
#endif
