/* future.c - this loop's asyncio.Future.
 *
 * SPDX-License-Identifier: MIT
 *
 * asyncio's methods work on our futures as they are. Those of ours do what is
 * done all the time in fewer steps: making one, setting a result, awaiting it,
 * freeing it.
 *
 * `await` of the interpreter asks for an iterator, which is the future itself
 * here. A program that calls __await__() gets asyncio's, with the methods of a
 * generator, which a future must not have: it would be a coroutine.
 */
#include "task.h"

#include "args.h"
#include "errors.h"

static inline FutureObject *
future_of(PyObject *op)
{
    return (FutureObject *)op;
}

/* ---- callbacks ---- */

/* callback(self) by the call_soon() of whatever loop this is. */
static int
future_call_method(FutureObject *self, PyObject *callback, PyObject *context)
{
    PyObject *method = PyObject_GetAttrString(self->fut_loop, "call_soon");
    PyObject *keywords = method != NULL && context != NULL
                             ? Py_BuildValue("{sO}", "context", context)
                             : NULL;
    PyObject *args = method != NULL ? PyTuple_Pack(2, callback, self) : NULL;
    PyObject *handle = NULL;

    if (args != NULL && (context == NULL || keywords != NULL)) {
        handle = PyObject_Call(method, args, keywords);
    }
    Py_XDECREF(args);
    Py_XDECREF(keywords);
    Py_XDECREF(method);
    Py_XDECREF(handle);
    return handle != NULL ? 0 : -1;
}

/* Schedules callback(self). */
static int
future_call_soon(FutureObject *self, PyObject *callback, PyObject *context)
{
    LoopObject *loop = loop_of(self->fut_loop);
    PyObject *arg = (PyObject *)self;

    if (KOLK_UNLIKELY(loop == NULL || !loop_is_plain(loop) || loop->debug)) {
        return future_call_method(self, callback, context);
    }
    HandleObject *handle =
        loop_schedule(loop, HANDLE_SOON, callback, &arg, 1, context);
    Py_XDECREF(handle);
    return handle != NULL ? 0 : -1;
}

/* Schedules the first callback, a task that waits more often than not. */
static int
future_schedule_first(FutureObject *self)
{
    PyObject *callback = self->callback0;
    PyObject *context = self->context0;
    LoopObject *loop = loop_of(self->fut_loop);

    self->callback0 = NULL;
    self->context0 = NULL;
    if (KOLK_LIKELY(loop != NULL
                    && (PyObject *)Py_TYPE(callback) == loop->state->task_type
                    && task_wake((TaskObject *)callback, (PyObject *)self))) {
        Py_XDECREF(context);
        return 0;
    }
    int err = future_call_soon(self, callback, context);
    Py_DECREF(callback);
    Py_XDECREF(context);
    return err;
}

int
future_schedule_callbacks(FutureObject *self)
{
    int err = self->callback0 != NULL ? future_schedule_first(self) : 0;
    PyObject *callbacks = self->callbacks;

    if (KOLK_LIKELY(callbacks == NULL)) {
        return err;
    }
    self->callbacks = NULL;
    for (Py_ssize_t i = 0; err == 0 && i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *pair = PyList_GET_ITEM(callbacks, i);

        err = future_call_soon(self, PyTuple_GET_ITEM(pair, 0),
                               PyTuple_GET_ITEM(pair, 1));
    }
    Py_DECREF(callbacks);
    return err;
}

PyObject *
future_cancelled_error(FutureObject *self)
{
    PyObject *error = self->cancelled_exc;
    LoopObject *loop = loop_of(self->fut_loop);

    if (error != NULL) {
        self->cancelled_exc = NULL;
        return error;
    }
    if (self->cancel_msg == NULL || self->cancel_msg == Py_None) {
        return PyObject_CallNoArgs(loop->state->cancelled_error);
    }
    return PyObject_CallOneArg(loop->state->cancelled_error, self->cancel_msg);
}

PyObject *
future_outcome(FutureObject *self)
{
    if (self->state == LAYOUT_CANCELLED) {
        return future_cancelled_error(self);
    }
    if (self->exception == NULL) {
        return NULL;
    }
    self->log_tb = 0;
    if (PyException_SetTraceback(self->exception, self->exception_tb != NULL
                                                      ? self->exception_tb
                                                      : Py_None)
        < 0) {
        return NULL;
    }
    Py_CLEAR(self->exception_tb);
    return Py_NewRef(self->exception);
}

PyObject *
future_get_callbacks(PyObject *op, void *Py_UNUSED(closure))
{
    FutureObject *self = future_of(op);
    PyObject *first = self->callback0;
    ModuleState *state = state_of_type(Py_TYPE(op));
    PyObject *wakeup = NULL;

    if (state == NULL) {
        return NULL;
    }
    if (first != NULL && (PyObject *)Py_TYPE(first) == state->task_type) {
        wakeup = task_wakeup_new((TaskObject *)first);
        if (wakeup == NULL) {
            return NULL;
        }
        self->callback0 = wakeup; /* for the base's getter only */
    }
    PyObject *list =
        Py_TYPE(state->base_callbacks)
            ->tp_descr_get(state->base_callbacks, op, (PyObject *)Py_TYPE(op));
    if (wakeup != NULL) {
        self->callback0 = first;
        Py_DECREF(wakeup);
    }
    return list;
}

/* ---- methods ---- */

/* Somebody has taken Future's method for a task: asyncio's list has tasks only
 * that are pending. */
static inline void
future_leave_list(PyObject *op)
{
#if PY_VERSION_HEX >= 0x030E0000
    if (KOLK_UNLIKELY(future_of(op)->is_task)) {
        ModuleState *state = state_of_type(Py_TYPE(op));

        if (PyObject_TypeCheck(op, (PyTypeObject *)state->task_type)) {
            registry_remove(state, (TaskObject *)op);
        }
    }
#else
    (void)op;
#endif
}

PyDoc_STRVAR(future_set_result_doc, "set_result($self, result, /)\n--\n\n"
                                    "Mark the future done and set its result.");

static PyObject *
future_set_result(PyObject *op, PyObject *result)
{
    FutureObject *self = future_of(op);

    if (KOLK_UNLIKELY(self->fut_loop == NULL)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Future object is not initialized.");
        return NULL;
    }
    if (KOLK_UNLIKELY(self->state != LAYOUT_PENDING)) {
        ModuleState *state = state_of_type(Py_TYPE(op));

        if (state != NULL) {
            PyErr_SetString(state->invalid_state_error, "invalid state");
        }
        return NULL;
    }
    future_leave_list(op);
    self->result = Py_NewRef(result);
    self->state = LAYOUT_FINISHED;
    if (future_schedule_callbacks(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- await ---- */

PyDoc_STRVAR(future_dunder_await_doc, "__await__($self, /)\n--\n\n"
                                      "Return an iterator to be used in await "
                                      "expression.");

PyObject *
future_dunder_await(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_TYPE(op)->tp_iter(op); /* asyncio's, which is the same there */
}

PyObject *
future_await(PyObject *op)
{
    return KOLK_LIKELY(future_of(op)->fut_loop != NULL)
               ? Py_NewRef(op)
               : future_dunder_await(op, NULL);
}

PySendResult
future_send(PyObject *op, PyObject *Py_UNUSED(value), PyObject **result)
{
    FutureObject *self = future_of(op);

    *result = NULL;
    if (self->state == LAYOUT_PENDING) {
        if (KOLK_UNLIKELY(self->blocking)) {
            PyErr_SetString(PyExc_RuntimeError,
                            "await wasn't used with future");
            return PYGEN_ERROR;
        }
        self->blocking = 1;
        *result = Py_NewRef(op);
        return PYGEN_NEXT;
    }
    if (KOLK_LIKELY(self->result != NULL)) {
        *result = Py_NewRef(self->result);
        return PYGEN_RETURN;
    }
    PyObject *error = future_outcome(self);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return PYGEN_ERROR;
}

PyObject *
future_iternext(PyObject *op)
{
    PyObject *result;
    PySendResult status = future_send(op, Py_None, &result);

    if (status != PYGEN_RETURN) {
        return result;
    }
    if (result != Py_None) { /* which needs no exception */
        PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);

        if (stop != NULL) {
            error_raise(stop);
        }
    }
    Py_DECREF(result);
    return NULL;
}

int
future_hide_next(PyObject *type)
{
    PyObject *dict = ((PyTypeObject *)type)->tp_dict;

    if (PyDict_DelItemString(dict, "__next__") < 0) {
        return -1;
    }
    PyType_Modified((PyTypeObject *)type);
    return 0;
}

static PyMethodDef future_methods[] = {
    {"set_result", future_set_result, METH_O, future_set_result_doc},
    {"__await__", future_dunder_await, METH_NOARGS | METH_COEXIST,
     future_dunder_await_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef future_getsets[] = {
    {"_callbacks", future_get_callbacks, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- memory ---- */

PyObject *
future_new(LoopObject *loop)
{
    ModuleState *state = loop->state;

    if (KOLK_UNLIKELY(!state->has_tasks || loop->debug)) {
        PyObject *args[] = {(PyObject *)loop};
        PyObject *type =
            state->has_tasks ? state->future_type : state->future_base;

        return PyObject_Vectorcall(type, args, 0, state->loop_keyword);
    }
    PyTypeObject *type = (PyTypeObject *)state->future_type;
    PyObject *op = pool_take(&state->futures, type);
    if (KOLK_LIKELY(op != NULL)) {
        memset((char *)op + sizeof(PyObject), 0,
               sizeof(FutureObject) - sizeof(PyObject));
        future_of(op)->fut_loop = Py_NewRef((PyObject *)loop);
        PyObject_GC_Track(op);
        return op;
    }
    op = type->tp_alloc(type, 0);
    if (op != NULL) {
        future_of(op)->fut_loop = Py_NewRef((PyObject *)loop);
    }
    return op;
}

void
future_clear_fields(FutureObject *self)
{
    Py_CLEAR(self->callback0);
    Py_CLEAR(self->context0);
    Py_CLEAR(self->callbacks);
    Py_CLEAR(self->exception);
    Py_CLEAR(self->exception_tb);
    Py_CLEAR(self->result);
    Py_CLEAR(self->source_tb);
    Py_CLEAR(self->cancel_msg);
    Py_CLEAR(self->cancelled_exc);
#if PY_VERSION_HEX >= 0x030E0000
    Py_CLEAR(self->awaited_by);
    self->awaited_by_is_set = 0;
#endif
#if PY_VERSION_HEX >= 0x030D0000
    PyObject_ClearManagedDict((PyObject *)self);
#else
    Py_CLEAR(self->dict);
#endif
}

static int
future_traverse(PyObject *op, visitproc visit, void *arg)
{
#if PY_VERSION_HEX < 0x030C0000
    Py_VISIT(Py_TYPE(op)); /* a static base does not */
#endif
    return future_base_of(op, future_traverse)->tp_traverse(op, visit, arg);
}

static int
future_clear(PyObject *op)
{
    return future_base_of(op, future_traverse)->tp_clear(op);
}

static void
future_dealloc(PyObject *op)
{
    FutureObject *self = future_of(op);
    PyTypeObject *type = Py_TYPE(op);
    LoopObject *loop = self->fut_loop != NULL ? loop_of(self->fut_loop) : NULL;
    ModuleState *state = loop != NULL ? loop->state : NULL;
    bool is_exact = state != NULL && (PyObject *)type == state->future_type;

    /* All that the finaliser does is to report an unread exception; that of a
     * subclass in Python has run. */
    if (self->log_tb && PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;
    }
    PyObject_GC_UnTrack(op);
    PyObject_ClearWeakRefs(op);
    future_clear_fields(self);
    PyObject *module = is_exact ? Py_NewRef(state->module) : NULL;
    Py_CLEAR(self->fut_loop);
    if (!is_exact || PyObject_GC_IsFinalized(op)
        || !pool_give(&state->futures, op)) {
        type->tp_free(op);
    }
    Py_DECREF(type);
    Py_XDECREF(module);
}

static PyType_Slot future_slots[] = {
    {Py_tp_doc, "A result that is not there yet: an asyncio.Future."},
    {Py_tp_dealloc, future_dealloc},
    {Py_tp_traverse, future_traverse},
    {Py_tp_clear, future_clear},
    {Py_am_await, future_await},
    {Py_am_send, future_send},
    {Py_tp_iternext, future_iternext},
    {Py_tp_methods, future_methods},
    {Py_tp_getset, future_getsets},
    {0, NULL},
};

static PyType_Spec future_spec = {
    .name = "_asyncio.Future",
    .basicsize = sizeof(FutureObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = future_slots,
};

int
future_type_add(PyObject *module, ModuleState *state)
{
    state->future_type =
        PyType_FromModuleAndSpec(module, &future_spec, state->future_base);
    return state->future_type != NULL
                   && future_hide_next(state->future_type) == 0
               ? PyModule_AddObjectRef(module, "Future", state->future_type)
               : -1;
}
