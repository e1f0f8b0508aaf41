/* layout.c - is the layout of the running interpreter the one we know?
 *
 * SPDX-License-Identifier: MIT
 *
 * kolk/layout.py makes stock futures and tasks with known contents, and asks
 * here whether each field holds what it has to. Only pointers are compared,
 * nothing that is found is ever followed.
 */
#include "layout.h"

#include <stddef.h>
#include <string.h>

#include "args.h"
#include "task.h"

typedef struct LayoutField {
    const char *name;
    size_t offset;
} LayoutField;

#define LAYOUT_FIELD(name)                                                     \
    {                                                                          \
#name, offsetof(LayoutTask, name)                                      \
    }

static const LayoutField layout_objects[] = {
    LAYOUT_FIELD(fut_loop),   LAYOUT_FIELD(callback0),
    LAYOUT_FIELD(context0),   LAYOUT_FIELD(callbacks),
    LAYOUT_FIELD(exception),  LAYOUT_FIELD(exception_tb),
    LAYOUT_FIELD(result),     LAYOUT_FIELD(source_tb),
    LAYOUT_FIELD(cancel_msg), LAYOUT_FIELD(cancelled_exc),
    LAYOUT_FIELD(waiter),     LAYOUT_FIELD(coro),
    LAYOUT_FIELD(name),       LAYOUT_FIELD(context),
#if PY_VERSION_HEX >= 0x030E0000
    LAYOUT_FIELD(awaited_by),
#endif
};

/* The number in field `name`, or -1 if there is no such field. */
static long
layout_number(const LayoutTask *self, const char *name)
{
    const struct {
        const char *name;
        long value;
    } numbers[] = {
        {"state", self->state},
        {"log_tb", self->log_tb},
        {"blocking", self->blocking},
        {"must_cancel", self->must_cancel},
        {"log_destroy_pending", self->log_destroy_pending},
        {"num_cancels", self->num_cancels},
#if PY_VERSION_HEX >= 0x030E0000
        {"is_task", self->is_task},
        {"awaited_by_is_set", self->awaited_by_is_set},
        {"is_linked", self->node[0] != NULL && self->node[1] != NULL},
#endif
    };

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(numbers[i].name, name) == 0) {
            return numbers[i].value;
        }
    }
    return -1;
}

/* Where the pointer `name` is in a task, or 0. */
static size_t
layout_offset(const char *name)
{
    size_t count = sizeof layout_objects / sizeof *layout_objects;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(layout_objects[i].name, name) == 0) {
            return layout_objects[i].offset;
        }
    }
    return 0;
}

PyDoc_STRVAR(layout_has_doc,
             "layout_has(task, field, value, /)\n--\n\n"
             "Does a stock task hold `value` where ours has `field`? None is "
             "a NULL.");

static PyObject *
layout_has(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    const char *name = nargs == 3 ? PyUnicode_AsUTF8(args[1]) : NULL;

    if (name == NULL
        || Py_TYPE(args[0])->tp_basicsize < (Py_ssize_t)sizeof(LayoutTask)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError,
                            "layout_has() takes a task, a field and a value");
        }
        return NULL;
    }
    PyObject *value = args[2] != Py_None ? args[2] : NULL; /* borrowed */
    size_t offset = layout_offset(name);
    if (offset != 0) {
        return PyBool_FromLong(*(PyObject **)(void *)((char *)args[0] + offset)
                               == value);
    }
    long number = value != NULL ? PyLong_AsLong(value) : -1;
    if (number == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return PyBool_FromLong(layout_number((LayoutTask *)args[0], name)
                           == number);
}

PyDoc_STRVAR(layout_sizes_doc, "layout_sizes()\n--\n\n"
                               "The sizes of a Future and a Task as we know "
                               "them.");

static PyObject *
layout_sizes(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("nn", (Py_ssize_t)sizeof(FutureObject),
                         (Py_ssize_t)sizeof(LayoutTask));
}

PyDoc_STRVAR(layout_adopt_doc, "layout_adopt()\n--\n\n"
                               "The layout was verified: make the types Future "
                               "and Task.");

static PyObject *
layout_adopt(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    ModuleState *state = PyModule_GetState(module);

    if (!state->has_tasks) {
        if (future_type_add(module, state) < 0
            || task_type_add(module, state) < 0) {
            return NULL;
        }
        state->has_tasks = true;
    }
    Py_RETURN_NONE;
}

PyMethodDef layout_functions[] = {
    {"layout_has", ARGS_METHOD(layout_has), METH_FASTCALL, layout_has_doc},
    {"layout_sizes", layout_sizes, METH_NOARGS, layout_sizes_doc},
    {"layout_adopt", layout_adopt, METH_NOARGS, layout_adopt_doc},
    {NULL, NULL, 0, NULL},
};
