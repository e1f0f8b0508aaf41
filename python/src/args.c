/* args.c - the slow way to take arguments apart. See args.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "args.h"

#include <string.h>

static int
args_unexpected(const char *method, PyObject *name)
{
    PyErr_Format(PyExc_TypeError,
                 "%s() got an unexpected keyword argument '%U'", method, name);
    return -1;
}

static int
args_set_keyword(const char *method, const char *const *names, PyObject *name,
                 PyObject *value, ArgsCall *out)
{
    if (PyUnicode_CompareWithASCIIString(name, "context") == 0) {
        out->context = value == Py_None ? NULL : value;
        return 0;
    }
    for (int i = 0; names[i] != NULL; i++) {
        if (PyUnicode_CompareWithASCIIString(name, names[i]) != 0) {
            continue;
        }
        if (out->first[i] != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() got multiple values for argument '%s'", method,
                         names[i]);
            return -1;
        }
        out->first[i] = value;
        return 0;
    }
    return args_unexpected(method, name);
}

static int
args_missing(const char *method, const char *const *names, const ArgsCall *out)
{
    if (names[1] != NULL && out->first[0] == NULL && out->first[1] == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "%s() missing 2 required positional arguments: '%s' and "
                     "'%s'",
                     method, names[0], names[1]);
        return -1;
    }
    for (int i = 0; names[i] != NULL; i++) {
        if (out->first[i] == NULL) {
            PyErr_Format(PyExc_TypeError,
                         "%s() missing 1 required positional argument: '%s'",
                         method, names[i]);
            return -1;
        }
    }
    return 0;
}

int
args_split_slow(const char *method, const char *const *names,
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                ArgsCall *out)
{
    Py_ssize_t taken = 0;

    *out = (ArgsCall){.nargs = 0};
    while (names[taken] != NULL && taken < nargs) {
        out->first[taken] = args[taken];
        taken++;
    }
    out->args = args + taken;
    out->nargs = nargs - taken;
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames);
         i++) {
        if (args_set_keyword(method, names, PyTuple_GET_ITEM(kwnames, i),
                             args[nargs + i], out)
            < 0) {
            return -1;
        }
    }
    return args_missing(method, names, out);
}
