/* task.c - futures and tasks. See task.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "task.h"

PyObject *
future_new(LoopObject *loop)
{
    PyObject *args[] = {(PyObject *)loop};

    return PyObject_Vectorcall(loop->state->future_base, args, 0,
                               loop->state->loop_keyword);
}

/* The keywords of a call, and which loop it is for, as a dictionary. */
static PyObject *
task_keywords(LoopObject *loop, PyObject *const *values, PyObject *kwnames,
              bool is_eager)
{
    Py_ssize_t nkw = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    const StateNames *str = &loop->state->str;
    PyObject *keywords = PyDict_New();

    if (keywords == NULL
        || PyDict_SetItem(keywords, str->loop, (PyObject *)loop) < 0
        || (is_eager
            && PyDict_SetItem(keywords, str->eager_start, Py_True) < 0)) {
        goto fail;
    }
    for (Py_ssize_t i = 0; i < nkw; i++) {
        if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(kwnames, i), values[i])
            < 0) {
            goto fail;
        }
    }
    return keywords;

fail:
    Py_XDECREF(keywords);
    return NULL;
}

PyObject *
task_new(LoopObject *loop, PyObject *const *args, Py_ssize_t nargs,
         PyObject *kwnames, bool is_eager)
{
    PyObject *keywords = task_keywords(loop, args + nargs, kwnames, is_eager);
    PyObject *positional = keywords != NULL ? PyTuple_Pack(1, args[0]) : NULL;
    PyObject *task = NULL;

    if (positional != NULL) {
        task = PyObject_Call(loop->state->task_base, positional, keywords);
    }
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return task;
}

PyObject *
task_of_call(kolk_call *Py_UNUSED(call))
{
    return NULL;
}
