/* task.h - this loop's asyncio.Future and asyncio.Task.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "layout.h"
#include "loop.h"

/* A future of `loop`, new. */
PyObject *future_new(LoopObject *loop);

/* A task of `loop`, new; `args` are the coroutine and the values of
 * `kwnames`. `is_eager`: it starts at once, whatever the keywords say. */
PyObject *task_new(LoopObject *loop, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames, bool is_eager);

/* The task that `call` steps, borrowed, or NULL. */
PyObject *task_of_call(kolk_call *call);
