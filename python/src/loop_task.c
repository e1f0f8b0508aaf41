/* loop_task.c - futures and tasks that a loop makes.
 *
 * SPDX-License-Identifier: MIT
 *
 * The signature of create_task() is the running version's: 3.14 and late
 * patch versions before it take any keyword and hand it on to the factory.
 */
#include "args.h"
#include "loop.h"
#include "task.h"

PyDoc_STRVAR(loop_create_future_doc, "create_future($self, /)\n--\n\n"
                                     "A Future of this loop.");

static PyObject *
loop_create_future(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return future_new((LoopObject *)op);
}

/* Objects to if `name` is no keyword of create_task(). */
static int
loop_check_task_keyword(const ModuleState *state, PyObject *name)
{
    if (state->create_task_takes_any || name == state->str.name
        || name == state->str.context) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError,
                 "create_task() got an unexpected keyword argument '%U'", name);
    return -1;
}

static int
loop_check_task_args(const ModuleState *state, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    Py_ssize_t nkw = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;

    if (nargs != 1) {
        if (nargs == 0) {
            PyErr_SetString(PyExc_TypeError,
                            "create_task() missing 1 required positional "
                            "argument: 'coro'");
        } else {
            PyErr_Format(PyExc_TypeError,
                         "create_task() takes 2 positional arguments but %zd "
                         "were given",
                         nargs + 1);
        }
        return -1;
    }
    for (Py_ssize_t i = 0; i < nkw; i++) {
        if (loop_check_task_keyword(state, PyTuple_GET_ITEM(kwnames, i)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The task that the program's factory makes. */
static PyObject *
loop_create_task_by_factory(LoopObject *self, PyObject *const *args,
                            PyObject *kwnames)
{
    Py_ssize_t nkw = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *keywords = PyDict_New();

    if (keywords == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < nkw; i++) {
        if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(kwnames, i), args[1 + i])
            < 0) {
            Py_DECREF(keywords);
            return NULL;
        }
    }
    PyObject *result = PyObject_CallMethodObjArgs(
        (PyObject *)self, self->state->str._create_task_with,
        self->task_factory, args[0], keywords, NULL);
    Py_DECREF(keywords);
    return result;
}

PyDoc_STRVAR(loop_create_task_doc,
             "create_task($self, coro, /, *, name=None, context=None, "
             "**kwargs)\n--\n\n"
             "Run a coroutine as a Task.");

static PyObject *
loop_create_task(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    LoopObject *self = (LoopObject *)op;
    const ModuleState *state = self->state;
    bool is_eager = self->task_factory != NULL
                    && (self->task_factory == state->eager_task_factory
                        || self->task_factory == state->own_eager_task_factory);

    if ((nargs != 1 || kwnames != NULL)
        && loop_check_task_args(state, nargs, kwnames) < 0) {
        return NULL;
    }
    if (loop_check_open(self) < 0) {
        return NULL;
    }
    if (KOLK_UNLIKELY(self->task_factory != NULL && !is_eager)) {
        return loop_create_task_by_factory(self, args, kwnames);
    }
    return task_new(self, args, nargs, kwnames, is_eager);
}

PyDoc_STRVAR(loop_set_task_factory_doc,
             "set_task_factory($self, factory, /)\n--\n\n"
             "Let factory(loop, coro, **kwargs) make the tasks; None: the "
             "loop does.");

static PyObject *
loop_set_task_factory(PyObject *op, PyObject *factory)
{
    LoopObject *self = (LoopObject *)op;

    if (factory != Py_None && !PyCallable_Check(factory)) {
        PyErr_SetString(PyExc_TypeError,
                        "task factory must be a callable or None");
        return NULL;
    }
    Py_XSETREF(self->task_factory,
               factory != Py_None ? Py_NewRef(factory) : NULL);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(loop_get_task_factory_doc, "get_task_factory($self, /)\n--\n\n"
                                        "The task factory, or None.");

static PyObject *
loop_get_task_factory(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *factory = ((LoopObject *)op)->task_factory;

    return Py_NewRef(factory != NULL ? factory : Py_None);
}

PyDoc_STRVAR(loop_know_eager_doc,
             "know_eager_task_factory(factory, /)\n--\n\n"
             "`factory` is kolk.eager_task_factory: a loop does what it does.");

static PyObject *
loop_know_eager(PyObject *module, PyObject *factory)
{
    ModuleState *state = PyModule_GetState(module);

    Py_XSETREF(state->own_eager_task_factory, Py_NewRef(factory));
    Py_RETURN_NONE;
}

PyMethodDef loop_task_functions[] = {
    {"know_eager_task_factory", loop_know_eager, METH_O, loop_know_eager_doc},
    {NULL, NULL, 0, NULL},
};

PyMethodDef loop_task_methods[] = {
    {"create_future", loop_create_future, METH_NOARGS, loop_create_future_doc},
    {"create_task", ARGS_METHOD(loop_create_task), ARGS_FLAGS,
     loop_create_task_doc},
    {"set_task_factory", loop_set_task_factory, METH_O,
     loop_set_task_factory_doc},
    {"get_task_factory", loop_get_task_factory, METH_NOARGS,
     loop_get_task_factory_doc},
    {NULL, NULL, 0, NULL},
};
