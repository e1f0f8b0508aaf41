/* loop_hook.c - a hook of the program's that orders what a turn runs.
 *
 * SPDX-License-Identifier: MIT
 *
 * With a hook set, a handle that becomes ready is not run but put into a list.
 * At the end of the turn the hook gets the list and returns the handles in the
 * order in which they are run. What the hook leaves out is not run at all.
 */
#include "errors.h"
#include "loop.h"

/* Puts what was not run back, in order, for the next turn. */
static void
hook_put_back(LoopObject *self, PyObject *handles, Py_ssize_t from)
{
    PyObject *rest = PyList_GetSlice(handles, from, PyList_GET_SIZE(handles));

    if (rest == NULL) {
        loop_report_error(self, "Exception in scheduling hook");
        return;
    }
    Py_XSETREF(self->hook_handles, rest);
    if (PyList_GET_SIZE(rest) > 0 && loop_push(self, &self->hook_call) < 0) {
        loop_report_error(self, "Exception in scheduling hook");
    }
}

static void
hook_run(LoopObject *self, PyObject *handles)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(handles); i++) {
        PyObject *handle = PyList_GET_ITEM(handles, i);

        if (handle_check(self->state, handle)) {
            Py_INCREF(handle);
            handle_run((HandleObject *)handle);
            Py_DECREF(handle);
        } else {
            PyErr_Format(PyExc_TypeError,
                         "the scheduling hook returned %R, not a Handle",
                         handle);
            loop_report_error(self, "Exception in scheduling hook");
        }
        if (self->raised != NULL) {
            hook_put_back(self, handles, i + 1);
            return;
        }
    }
}

static void
hook_ready(kolk_call *call)
{
    LoopObject *self = KOLK_CONTAINER_OF(call, LoopObject, hook_call);
    PyObject *handles = self->hook_handles;

    self->hook_handles = NULL;
    if (handles == NULL) {
        return;
    }
    PyObject *ordered = self->hooked != NULL
                            ? PyObject_CallOneArg(self->hooked, handles)
                            : Py_NewRef(handles);
    PyObject *list = ordered != NULL ? PySequence_List(ordered) : NULL;
    Py_XDECREF(ordered);
    if (list == NULL) {
        loop_report_error(self, "Exception in scheduling hook");
        list = Py_NewRef(handles); /* then in asyncio's order */
    }
    Py_DECREF(handles);
    hook_run(self, list);
    Py_DECREF(list);
}

bool
loop_hook_add(LoopObject *self, PyObject *handle)
{
    if (self->hook_handles == NULL) {
        self->hook_handles = PyList_New(0);
        kolk_call_init(&self->hook_call, hook_ready, NULL);
    }
    if (self->hook_handles == NULL
        || PyList_Append(self->hook_handles, handle) < 0) {
        PyErr_Clear(); /* no memory: the handle runs now */
        return false;
    }
    if (!kolk_call_is_pending(&self->hook_call)
        && kolk_turn_end(self->loop, &self->hook_call) < 0) {
        (void)PyList_SetSlice(self->hook_handles,
                              PyList_GET_SIZE(self->hook_handles) - 1,
                              PyList_GET_SIZE(self->hook_handles), NULL);
        return false;
    }
    return true;
}

PyDoc_STRVAR(loop_set_scheduling_hook_doc,
             "set_scheduling_hook($self, hook, /)\n--\n\n"
             "Let hook(handles) return the handles of each turn in the order "
             "in which they are to run; None: no hook.");

static PyObject *
loop_set_scheduling_hook(PyObject *op, PyObject *hook)
{
    LoopObject *self = (LoopObject *)op;

    if (hook != Py_None && !PyCallable_Check(hook)) {
        PyErr_Format(PyExc_TypeError,
                     "A callable object or None is expected, got %R", hook);
        return NULL;
    }
    Py_XSETREF(self->hooked, hook != Py_None ? Py_NewRef(hook) : NULL);
    Py_RETURN_NONE;
}

PyMethodDef loop_hook_methods[] = {
    {"set_scheduling_hook", loop_set_scheduling_hook, METH_O,
     loop_set_scheduling_hook_doc},
    {NULL, NULL, 0, NULL},
};
