/* kolk/trace.h - instrumentation points.
 *
 * SPDX-License-Identifier: MIT
 *
 * Compiled in, and free when off: the loop tests one flag that it tests
 * anyway. The functions run inside the loop and must not call into it, but for
 * what only reads (names, results, kolk_now()).
 */
#pragma once

#include <kolk/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kolk_tracer kolk_tracer;
struct kolk_tracer {
    /* All may be NULL. `task` is NULL where a callback runs. */
    void (*step_begin)(kolk_tracer *tracer, kolk_task *task, kolk_call *call);
    void (*step_end)(kolk_tracer *tracer, kolk_task *task, kolk_call *call);
    /* `reason` as kolk_task_waits_for(). */
    void (*suspend)(kolk_tracer *tracer, kolk_task *task, const char *reason);
    /* `waker` is the task that made `task` ready; NULL: a callback, a timer, an
     * event. */
    void (*wake)(kolk_tracer *tracer, kolk_task *task, kolk_task *waker);
    /* `deadline`: how long it may sleep; 0: it may not. */
    void (*poll_begin)(kolk_tracer *tracer, kolk_time deadline);
    void (*poll_end)(kolk_tracer *tracer, int events);
};

/* Calls `tracer`, borrowed until it is replaced; NULL: none. */
KOLK_API void kolk_loop_set_tracer(kolk_loop *loop, kolk_tracer *tracer);

#ifdef __cplusplus
}
#endif
