/* layout.h - what asyncio's Future and Task written in C look like.
 *
 * SPDX-License-Identifier: MIT
 *
 * Ours are subclasses of theirs, and whatever a field of theirs can hold lives
 * in that field and nowhere else. So their methods, asyncio's functions and
 * debuggers see our objects as they are. The layout is no interface of
 * CPython's: at import stock objects are driven and looked at, and if a single
 * byte is not where it is expected, loops make stock futures and tasks.
 */
#pragma once

#include "state.h"

typedef enum LayoutState {
    LAYOUT_PENDING,
    LAYOUT_CANCELLED,
    LAYOUT_FINISHED,
} LayoutState;

#if PY_VERSION_HEX < 0x030D0000 /* 3.11, 3.12 */

#define LAYOUT_FUTURE                                                          \
    PyObject_HEAD PyObject *fut_loop, *callback0, *context0, *callbacks;       \
    PyObject *exception, *exception_tb, *result, *source_tb, *cancel_msg;      \
    int state, log_tb, blocking;                                               \
    PyObject *dict, *weakrefs, *cancelled_exc;

#define LAYOUT_TASK                                                            \
    LAYOUT_FUTURE                                                              \
    PyObject *waiter, *coro, *name, *context;                                  \
    int must_cancel, log_destroy_pending, num_cancels;

#elif PY_VERSION_HEX < 0x030E0000 /* 3.13 */

#define LAYOUT_FUTURE                                                          \
    PyObject_HEAD PyObject *fut_loop, *callback0, *context0, *callbacks;       \
    PyObject *exception, *exception_tb, *result, *source_tb, *cancel_msg;      \
    PyObject *cancelled_exc;                                                   \
    int state;                                                                 \
    unsigned log_tb : 1, blocking : 1, must_cancel : 1, log_destroy_pending : 1;

#define LAYOUT_TASK                                                            \
    LAYOUT_FUTURE                                                              \
    int num_cancels;                                                           \
    PyObject *waiter, *coro, *name, *context;

#else /* 3.14, 3.15 */

#define LAYOUT_FUTURE                                                          \
    PyObject_HEAD PyObject *fut_loop, *callback0, *context0, *callbacks;       \
    PyObject *exception, *exception_tb, *result, *source_tb, *cancel_msg;      \
    PyObject *cancelled_exc, *awaited_by;                                      \
    int state;                                                                 \
    char is_task, awaited_by_is_set;                                           \
    unsigned char log_tb : 1, blocking : 1, must_cancel : 1,                   \
        log_destroy_pending : 1;

#define LAYOUT_TASK                                                            \
    LAYOUT_FUTURE                                                              \
    int num_cancels;                                                           \
    PyObject *waiter, *coro, *name, *context;                                  \
    void *node[2]; /* its place in the thread's list of tasks */               \
    LAYOUT_TASK_THREAD

#ifdef Py_GIL_DISABLED
#define LAYOUT_TASK_THREAD uintptr_t thread;
#else
#define LAYOUT_TASK_THREAD
#endif

#endif

typedef struct FutureObject {
    LAYOUT_FUTURE
} FutureObject;

typedef struct LayoutTask {
    LAYOUT_TASK
} LayoutTask;

/* What kolk/layout.py asks and says: layout.c. */
extern PyMethodDef layout_functions[];
