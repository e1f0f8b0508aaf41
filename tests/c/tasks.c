/* tasks.c - for tests that are made of tasks. See tasks.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tasks.h"

#include <stdio.h>
#include <string.h>

enum { TASKS_KEPT_MAX = 1024 };

static struct {
    kolk_error_handler handler;
    kolk_future *kept[TASKS_KEPT_MAX];
    int kept_count;
    char notes[1024];
    size_t noted;
    char report[512];
    int error;
    int reports;
} tasks;

static void
tasks_report(kolk_error_handler *handler, kolk_loop *loop,
             const kolk_report *report)
{
    (void)handler;
    (void)loop;
    tasks.reports++;
    tasks.error = report->error;
    (void)snprintf(tasks.report, sizeof tasks.report, "%s", report->message);
}

static int
tasks_run_on(kolk_loop *loop, kolk_task_fn *fn, void *arg)
{
    kolk_task *task;

    tasks.handler.fn = tasks_report;
    tasks.notes[0] = tasks.report[0] = '\0';
    tasks.noted = 0;
    tasks.reports = tasks.error = 0;
    kolk_loop_set_error_handler(loop, &tasks.handler);
    int result = kolk_spawn_with(loop, NULL, fn, arg, &task);
    if (result >= 0) {
        result = kolk_run_until(loop, task);
        kolk_future_unref(task);
    }
    test_loop_close(loop);
    while (tasks.kept_count > 0) {
        kolk_future_unref(tasks.kept[--tasks.kept_count]);
    }
    CHECK_OK(result);
    return result;
}

int
tasks_run(kolk_task_fn *fn, void *arg)
{
    return tasks_run_on(test_loop_open(), fn, arg);
}

int
tasks_run_real(kolk_task_fn *fn, void *arg)
{
    return tasks_run_on(test_real_loop_open(), fn, arg);
}

kolk_future *
tasks_keep(kolk_future *future)
{
    if (!CHECK(tasks.kept_count < TASKS_KEPT_MAX)) {
        return future;
    }
    tasks.kept[tasks.kept_count++] = future;
    return future;
}

kolk_task *
tasks_spawn(kolk_task_fn *fn, void *arg)
{
    kolk_task *task;

    return CHECK_OK(kolk_spawn(fn, arg, &task)) ? tasks_keep(task) : NULL;
}

kolk_future *
tasks_future(void)
{
    kolk_future *future;

    return CHECK_OK(kolk_future_new(NULL, &future)) ? tasks_keep(future) : NULL;
}

void
tasks_pass(int n)
{
    while (n-- > 0) {
        CHECK_OK(kolk_checkpoint());
    }
}

void
tasks_note(char letter)
{
    if (CHECK(tasks.noted + 1 < sizeof tasks.notes)) {
        tasks.notes[tasks.noted++] = letter;
        tasks.notes[tasks.noted] = '\0';
    }
}

const char *
tasks_notes(void)
{
    return tasks.notes;
}

int
tasks_reports(void)
{
    return tasks.reports;
}

const char *
tasks_last_report(void)
{
    return tasks.report;
}

int
tasks_last_error(void)
{
    return tasks.error;
}
