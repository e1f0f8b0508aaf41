/* tasks.h - for tests that are made of tasks.
 *
 * SPDX-License-Identifier: MIT
 *
 * A test's body is the main task of a loop with virtual time. What the tasks
 * do is noted as letters, in the order in which it happens; what the loop
 * reports is kept, too.
 */
#pragma once

#include "kit.h"

/* Runs `fn(arg)` as the main task of a new loop, closes the loop, and checks
 * that the result is no error. Returns it. */
int tasks_run(kolk_task_fn *fn, void *arg);

/* The same on the real clock, for tests with threads. */
int tasks_run_real(kolk_task_fn *fn, void *arg);

/* Spawns `fn(arg)`; the handle is borrowed, and given up after the loop is
 * closed. NULL if it cannot be had, and then the current task is cancelled. */
kolk_task *tasks_spawn(kolk_task_fn *fn, void *arg);

/* Gives `future` up after the loop is closed, and returns it. */
kolk_future *tasks_keep(kolk_future *future);

/* A new future, kept so; NULL as tasks_spawn(). */
kolk_future *tasks_future(void);

/* Gives every task that is ready its turn, `n` times. */
void tasks_pass(int n);

/* Notes `letter`; all that was noted since the loop was opened. */
void tasks_note(char letter);
const char *tasks_notes(void);

/* How many reports there were, and the text of the last one. */
int tasks_reports(void);
const char *tasks_last_report(void);
int tasks_last_error(void);
