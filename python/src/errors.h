/* errors.h - the library's errors as exceptions.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include "state.h"

/* Sets the exception that `err`, a negative code of the library, stands for,
 * and returns -1. */
int error_set(int err);

/* Takes the exception that is set, as an object with its traceback. */
static inline PyObject *
error_take(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        (void)PyException_SetTraceback(value, traceback); /* it is one */
        Py_DECREF(traceback);
    }
    Py_DECREF(type);
    return value;
#endif
}

/* Raises `exception`, whose reference is taken. */
static inline void
error_raise(PyObject *exception /* steals */)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception,
                  PyException_GetTraceback(exception));
#endif
}

/* Does `exception` end the run instead of going to the exception handler? */
static inline bool
error_ends_run(PyObject *exception)
{
    return PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt)
           || PyErr_GivenExceptionMatches(exception, PyExc_SystemExit);
}
