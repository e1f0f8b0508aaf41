/* report.c - errors that no caller can be told, and misuse.
 *
 * SPDX-License-Identifier: MIT
 */
#include "loop/loop.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kolk/debug.h>

void
kolk_loop_set_error_handler(kolk_loop *loop, kolk_error_handler *handler)
{
    loop->error_handler = handler;
}

void
kolk_loop_report(kolk_loop *loop, const kolk_report *report)
{
    kolk_error_handler *handler = loop->error_handler;

    if (handler != NULL) {
        handler->fn(handler, loop, report);
        return;
    }
    const char *name = report->task != NULL ? kolk_task_name(report->task) : "";
    (void)fprintf(stderr, "kolk: %s%s%s%s%s%s\n", report->message,
                  *name != '\0' ? " (task " : "", name,
                  *name != '\0' ? ")" : "", report->error < 0 ? ": " : "",
                  report->error < 0 ? kolk_strerror(report->error) : "");
}

void
kolk__report(kolk_loop *loop, int error, kolk_task *task, const char *format,
             ...)
{
    char message[512];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    kolk_report report = {.error = error, .message = message, .task = task};
    kolk_loop_report(loop, &report);
}

/* The environment's word on debug mode, where there is no loop to ask. */
static bool
report_debug_is_on(const kolk_loop *loop)
{
    if (loop != NULL) {
        return loop->debug;
    }
    const char *value = getenv("KOLK_DEBUG");
    return value != NULL && strcmp(value, "1") == 0;
}

int
kolk__misuse(kolk_loop *loop, const char *what)
{
    if (report_debug_is_on(loop)) {
        (void)fprintf(stderr, "kolk: misuse: %s\n", what);
        abort();
    }
    return -KOLK_EMISUSE;
}
