/* args.h - arguments of methods, as asyncio's signatures take them.
 *
 * SPDX-License-Identifier: MIT
 *
 * Methods are called with the fast convention: positional values first, then
 * those of the keywords, whose names are in a tuple. asyncio's parameter names
 * are part of its interface, so that `callback=` works where it works there.
 */
#pragma once

#include "state.h"

#define ARGS_FLAGS (METH_FASTCALL | METH_KEYWORDS)
#define ARGS_METHOD(fn) ((PyCFunction)(void (*)(void))(fn))

/* The arguments of `name(first..., *args, context=None)`. */
typedef struct ArgsCall {
    PyObject *first[2]; /* borrowed: when and callback, or callback */
    PyObject *const *args;
    Py_ssize_t nargs;
    PyObject *context; /* borrowed; NULL: a copy of the current one */
} ArgsCall;

/* Splits the arguments of a method that takes `names` (NULL-terminated, two at
 * most), then more positional ones, and `context`. Returns 0, or -1 with
 * TypeError set. */
int args_split_slow(const char *method, const char *const *names,
                    PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                    ArgsCall *out);

/* The same for the usual case: everything positional, at most context=. */
static inline int
args_split(const ModuleState *state, const char *method,
           const char *const *names, Py_ssize_t wanted, PyObject *const *args,
           Py_ssize_t nargs, PyObject *kwnames, ArgsCall *out)
{
    Py_ssize_t nkw = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;

    if (KOLK_UNLIKELY(
            nargs < wanted || nkw > 1
            || (nkw == 1
                && PyTuple_GET_ITEM(kwnames, 0) != state->str.context))) {
        return args_split_slow(method, names, args, nargs, kwnames, out);
    }
    out->first[0] = args[0];
    out->first[1] = wanted > 1 ? args[1] : NULL;
    out->args = args + wanted;
    out->nargs = nargs - wanted;
    out->context = nkw == 1 && args[nargs] != Py_None ? args[nargs] : NULL;
    return 0;
}

/* The value of keyword `name` (interned), borrowed, or NULL. */
static inline PyObject *
args_keyword(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
             PyObject *name)
{
    Py_ssize_t nkw = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;

    for (Py_ssize_t i = 0; i < nkw; i++) {
        if (PyTuple_GET_ITEM(kwnames, i) == name) {
            return args[nargs + i];
        }
    }
    return NULL;
}
