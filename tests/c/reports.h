/* reports.h - an error handler that keeps what it was told, for tests.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All that was reported, the texts one after another. */
static struct {
    kolk_error_handler handler;
    int count;
    int error;
    char task[64];
    char text[2048];
    void (*then)(void); /* called after each, or NULL */
} reports;

static inline void
reports_take(kolk_error_handler *handler, kolk_loop *loop,
             const kolk_report *report)
{
    const char *name = report->task != NULL ? kolk_task_name(report->task) : "";
    size_t used = strlen(reports.text);

    (void)handler, (void)loop;
    reports.count++;
    reports.error = report->error;
    (void)snprintf(reports.task, sizeof reports.task, "%s", name);
    (void)snprintf(reports.text + used, sizeof reports.text - used, "%s [%s]\n",
                   report->message, name);
    if (reports.then != NULL) {
        reports.then();
    }
}

static inline void
reports_watch(kolk_loop *loop)
{
    reports.handler.fn = reports_take;
    kolk_loop_set_error_handler(loop, &reports.handler);
}

/* Was `part` in any of the reports? */
#define CHECK_REPORT(part) CHECK(strstr(reports.text, (part)) != NULL)
