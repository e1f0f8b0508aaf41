/* convert.c - between Python's values and the library's. See convert.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "convert.h"

#include <limits.h>
#include <math.h>

kolk_time
time_from_seconds(double seconds)
{
    double scaled = ceil(seconds * 1e9);

    if (isnan(scaled) || scaled <= (double)INT64_MIN) {
        return INT64_MIN + 1;
    }
    if (scaled >= (double)INT64_MAX) {
        return KOLK_NEVER;
    }
    kolk_time time = (kolk_time)scaled;
    while (time_to_seconds(time) < seconds) {
        time++; /* a double does not hold all nanoseconds of some months */
    }
    return time;
}

int
seconds_from_py(PyObject *op, double *out)
{
    if (KOLK_LIKELY(PyFloat_CheckExact(op))) {
        *out = PyFloat_AS_DOUBLE(op);
        return 0;
    }
    double seconds = PyFloat_AsDouble(op);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return -1;
        }
        PyErr_Clear(); /* an int beyond every double */
        seconds = INFINITY;
    }
    *out = seconds;
    return 0;
}

static int
fd_refuse(PyObject *op)
{
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "Invalid file object: %R", op);
    return -1;
}

/* The result of op.fileno(), new, or NULL with ValueError set. */
static PyObject *
fd_ask(const ModuleState *state, PyObject *op)
{
    PyObject *number = PyObject_CallMethodNoArgs(op, state->str.fileno);

    if (number != NULL) {
        return number;
    }
    if (PyErr_ExceptionMatches(PyExc_AttributeError)
        || PyErr_ExceptionMatches(PyExc_TypeError)
        || PyErr_ExceptionMatches(PyExc_ValueError)) {
        (void)fd_refuse(op);
    }
    return NULL;
}

int
fd_from_py(const ModuleState *state, PyObject *op)
{
    PyObject *number = PyLong_Check(op) ? Py_NewRef(op) : fd_ask(state, op);

    if (number == NULL) {
        return -1;
    }
    long fd = PyLong_Check(number) ? PyLong_AsLong(number) : -1;
    bool is_number = PyLong_Check(number) && !PyErr_Occurred();
    Py_DECREF(number);
    if (!is_number) {
        return fd_refuse(op);
    }
    if (fd < 0 || fd > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %ld", fd);
        return -1;
    }
    return (int)fd;
}
