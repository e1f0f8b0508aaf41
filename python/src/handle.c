/* handle.c - making, cancelling and freeing handles. See handle.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "handle.h"

#include <stddef.h>

#include "loop.h"

static inline PyTypeObject *
handle_type_of(const ModuleState *state, HandleKind kind)
{
    PyObject *type = kind == HANDLE_SOON    ? state->handle_type
                     : kind == HANDLE_TIMER ? state->timer_handle_type
                                            : state->guarded_handle_type;

    return (PyTypeObject *)type;
}

static HandleObject *
handle_alloc(ModuleState *state, HandleKind kind)
{
    PyTypeObject *type = handle_type_of(state, kind);
    PyObject *op = pool_take(&state->handles[kind], type);

    if (KOLK_UNLIKELY(op == NULL)) {
        op = (PyObject *)PyObject_GC_New(HandleObject, type);
        if (op == NULL) {
            return NULL;
        }
    }
    memset((char *)op + sizeof(PyObject), 0,
           offsetof(HandleObject, node) - sizeof(PyObject));
    HandleObject *self = (HandleObject *)op;
    self->kind = kind;
    if (kind == HANDLE_TIMER) {
        kolk_timer_init(&self->node.timer, handle_timer_ready,
                        handle_timer_dropped);
    } else {
        kolk_call_init(&self->node.call, handle_call_ready,
                       handle_call_dropped);
    }
    return self;
}

static int
handle_set_args(HandleObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 1) {
        self->has_one_arg = true;
        self->args = Py_NewRef(args[0]);
    } else if (nargs > 1) {
        self->args = PyTuple_New(nargs);
        if (self->args == NULL) {
            return -1;
        }
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(self->args, i, Py_NewRef(args[i]));
        }
    }
    return 0;
}

HandleObject *
handle_new(LoopObject *loop, HandleKind kind, PyObject *callback,
           PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    HandleObject *self = handle_alloc(loop->state, kind);

    if (self == NULL) {
        return NULL;
    }
    self->loop = (LoopObject *)Py_NewRef((PyObject *)loop);
    self->callback = Py_NewRef(callback);
    self->context =
        context != NULL ? Py_NewRef(context) : PyContext_CopyCurrent();
    if (self->context == NULL || handle_set_args(self, args, nargs) < 0) {
        goto fail;
    }
    if (KOLK_UNLIKELY(loop->debug)) {
        self->source_traceback =
            PyObject_CallNoArgs(loop->state->extract_stack);
        if (self->source_traceback == NULL) {
            goto fail;
        }
    }
    return self;

fail:
    Py_DECREF(self);
    return NULL;
}

PyObject *
handle_args(const HandleObject *self)
{
    if (self->has_one_arg) {
        return PyTuple_Pack(1, self->args);
    }
    return self->args != NULL ? Py_NewRef(self->args) : PyTuple_New(0);
}

/* ---- cancelling ---- */

/* Takes the node out of the loop, and with it the loop's reference. */
static void
handle_take_back(HandleObject *self)
{
    if (!self->is_lent) {
        return;
    }
    self->is_lent = false;
    if (self->kind == HANDLE_TIMER) {
        kolk_timer_stop(self->loop->lender, &self->node.timer);
    } else {
        kolk_call_cancel(self->loop->lender, &self->node.call);
    }
    Py_DECREF(self);
}

static int
handle_keep_repr(HandleObject *self)
{
    PyObject *text = PyObject_Repr((PyObject *)self);

    if (text == NULL) {
        return -1;
    }
    Py_XSETREF(self->repr, text);
    return 0;
}

int
handle_cancel(HandleObject *self)
{
    if (self->is_cancelled) {
        return 0;
    }
    self->is_cancelled = true;
    if (KOLK_UNLIKELY(self->loop->debug) && handle_keep_repr(self) < 0) {
        return -1;
    }
    PyObject *callback = self->callback;
    PyObject *args = self->args;

    self->callback = NULL;
    self->args = NULL;
    self->has_one_arg = false;
    Py_INCREF(self); /* the loop's may be the last one */
    handle_take_back(self);
    if (Py_REFCNT(self) > 1) {
        handle_track(self);
    }
    Py_XDECREF(callback); /* these may run any code */
    Py_XDECREF(args);
    Py_DECREF(self);
    return 0;
}

/* ---- memory ---- */

static int
handle_visit_fields(HandleObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->loop);
    Py_VISIT(self->callback);
    Py_VISIT(self->args);
    Py_VISIT(self->context);
    Py_VISIT(self->source_traceback);
    Py_VISIT(self->repr);
    Py_VISIT(self->when_object);
    return 0;
}

int
handle_visit(HandleObject *self, visitproc visit, void *arg)
{
    /* An untracked handle that only the loop has is a part of the loop. */
    if (!PyObject_GC_IsTracked((PyObject *)self) && Py_REFCNT(self) == 1) {
        return handle_visit_fields(self, visit, arg);
    }
    Py_VISIT(self);
    return 0;
}

static int
handle_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return handle_visit_fields((HandleObject *)op, visit, arg);
}

static int
handle_clear(PyObject *op)
{
    HandleObject *self = (HandleObject *)op;

    Py_CLEAR(self->callback);
    Py_CLEAR(self->args);
    self->has_one_arg = false;
    Py_CLEAR(self->context);
    Py_CLEAR(self->source_traceback);
    Py_CLEAR(self->repr);
    Py_CLEAR(self->when_object);
    /* The loop stays: methods need it. Loops clear themselves. */
    return 0;
}

static void
handle_dealloc(PyObject *op)
{
    HandleObject *self = (HandleObject *)op;
    PyTypeObject *type = Py_TYPE(op);
    ModuleState *state = self->loop != NULL ? self->loop->state : NULL;
    PyObject *module = NULL;

    PyObject_GC_UnTrack(op);
    PyObject_ClearWeakRefs(op);
    (void)handle_clear(op);
    if (state != NULL) {
        /* The loop may be the last thing that keeps the state alive. */
        module = Py_NewRef(state->module);
        Py_CLEAR(self->loop);
    }
    if (state == NULL || !pool_give(&state->handles[self->kind], op)) {
        PyObject_GC_Del(op);
    }
    Py_DECREF(type);
    Py_XDECREF(module);
}

/* ---- methods ---- */

/* Another thread's wish to wait for the end of a callback that runs. */
struct HandleWaiter {
    PyThread_type_lock lock;
    HandleWaiter *next;
};

/* From 3.14 on, asyncio's thread-safe handles have a lock: cancelling one that
 * runs in another thread waits until the callback has returned. */
static void
handle_wait_for_run(HandleObject *self)
{
    HandleWaiter waiter = {.next = self->waiters};

    if (self->thread == 0 || self->thread == PyThread_get_thread_ident()) {
        return;
    }
    waiter.lock = PyThread_allocate_lock();
    if (waiter.lock == NULL) {
        return; /* then it is not waited for */
    }
    (void)PyThread_acquire_lock(waiter.lock, WAIT_LOCK);
    self->waiters = &waiter;
    Py_INCREF(self);
    Py_BEGIN_ALLOW_THREADS(void) PyThread_acquire_lock(waiter.lock, WAIT_LOCK);
    Py_END_ALLOW_THREADS Py_DECREF(self);
    PyThread_release_lock(waiter.lock);
    PyThread_free_lock(waiter.lock);
}

void
handle_wake_waiters(HandleObject *self)
{
    HandleWaiter *waiter = self->waiters;

    self->waiters = NULL;
    while (waiter != NULL) {
        HandleWaiter *next = waiter->next;

        PyThread_release_lock(waiter->lock); /* ends its life */
        waiter = next;
    }
}

PyDoc_STRVAR(handle_cancel_doc, "cancel($self, /)\n--\n\n"
                                "The callback will not be called.");

static PyObject *
handle_cancel_method(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HandleObject *self = (HandleObject *)op;

    if (self->kind == HANDLE_GUARDED) {
        handle_wait_for_run(self);
    }
    if (handle_cancel(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(handle_cancelled_doc, "cancelled($self, /)\n--\n\n"
                                   "Was cancel() called?");

static PyObject *
handle_cancelled(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HandleObject *self = (HandleObject *)op;

    if (self->kind == HANDLE_GUARDED) {
        handle_wait_for_run(self);
    }
    return PyBool_FromLong(self->is_cancelled);
}

static PyObject *
handle_get_when(PyObject *op, void *Py_UNUSED(closure))
{
    HandleObject *self = (HandleObject *)op;

    return self->when_object != NULL ? Py_NewRef(self->when_object)
                                     : PyFloat_FromDouble(self->when);
}

PyDoc_STRVAR(handle_when_doc,
             "when($self, /)\n--\n\n"
             "When the callback is due, on the clock of loop.time().");

static PyObject *
handle_when(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return handle_get_when(op, NULL);
}

PyDoc_STRVAR(handle_run_doc, "_run($self, /)\n--\n\n"
                             "Call the callback now.");

static PyObject *
handle_run_method(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HandleObject *self = (HandleObject *)op;
    LoopObject *loop = self->loop;

    handle_run(self);
    if (loop->raised != NULL && !loop_is_turning(loop)) {
        return loop_raise_parked(loop);
    }
    Py_RETURN_NONE;
}

static PyMethodDef handle_methods[] = {
    {"cancel", handle_cancel_method, METH_NOARGS, handle_cancel_doc},
    {"cancelled", handle_cancelled, METH_NOARGS, handle_cancelled_doc},
    {"_run", handle_run_method, METH_NOARGS, handle_run_doc},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef timer_handle_methods[] = {
    {"cancel", handle_cancel_method, METH_NOARGS, handle_cancel_doc},
    {"cancelled", handle_cancelled, METH_NOARGS, handle_cancelled_doc},
    {"_run", handle_run_method, METH_NOARGS, handle_run_doc},
    {"when", handle_when, METH_NOARGS, handle_when_doc},
    {NULL, NULL, 0, NULL},
};

/* ---- attributes, named after asyncio's slots ---- */

static PyObject *
handle_get_args(PyObject *op, void *Py_UNUSED(closure))
{
    HandleObject *self = (HandleObject *)op;

    return self->callback != NULL ? handle_args(self) : Py_NewRef(Py_None);
}

/* A field whose offset is the closure; NULL reads as None. */
static PyObject *
handle_get_field(PyObject *op, void *closure)
{
    PyObject *value = *(PyObject **)((char *)op + (uintptr_t)closure);

    return Py_NewRef(value != NULL ? value : Py_None);
}

static int
handle_set_field(PyObject *op, PyObject *value, void *closure)
{
    PyObject **field = (PyObject **)((char *)op + (uintptr_t)closure);

    Py_XSETREF(*field,
               value != NULL && value != Py_None ? Py_NewRef(value) : NULL);
    return 0;
}

static PyObject *
handle_get_cancelled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((HandleObject *)op)->is_cancelled);
}

static int
handle_set_cancelled(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    int is_true = value != NULL ? PyObject_IsTrue(value) : 0;

    if (is_true < 0) {
        return -1;
    }
    ((HandleObject *)op)->is_cancelled = is_true;
    return 0;
}

static PyObject *
handle_get_scheduled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((HandleObject *)op)->is_lent);
}

#define HANDLE_FIELD(name) ((void *)offsetof(HandleObject, name))
#define HANDLE_GETSETS                                                         \
    {"_args", handle_get_args, NULL, NULL, NULL},                              \
        {"_callback", handle_get_field, NULL, NULL, HANDLE_FIELD(callback)},   \
        {"_cancelled", handle_get_cancelled, handle_set_cancelled, NULL,       \
         NULL},                                                                \
        {"_context", handle_get_field, NULL, NULL, HANDLE_FIELD(context)},     \
        {"_loop", handle_get_field, NULL, NULL, HANDLE_FIELD(loop)},           \
        {"_repr", handle_get_field, handle_set_field, NULL,                    \
         HANDLE_FIELD(repr)},                                                  \
    {                                                                          \
        "_source_traceback", handle_get_field, handle_set_field, NULL,         \
            HANDLE_FIELD(source_traceback)                                     \
    }

static PyGetSetDef handle_getsets[] = {
    HANDLE_GETSETS,
    {NULL, NULL, NULL, NULL, NULL},
};

static PyGetSetDef timer_handle_getsets[] = {
    HANDLE_GETSETS,
    {"_when", handle_get_when, NULL, NULL, NULL},
    {"_scheduled", handle_get_scheduled, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- the types ---- */

static PyType_Slot handle_slots[] = {
    {Py_tp_doc, "One call that is scheduled: an asyncio.Handle."},
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_methods, handle_methods},
    {Py_tp_getset, handle_getsets},
    {0, NULL},
};

static PyType_Slot timer_handle_slots[] = {
    {Py_tp_doc, "One call at a time to come: an asyncio.TimerHandle."},
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_methods, timer_handle_methods},
    {Py_tp_getset, timer_handle_getsets},
    {0, NULL},
};

enum {
    HANDLE_FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
                   | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

static PyType_Spec handle_spec = {
    .name = "kolk.Handle",
    .basicsize = offsetof(HandleObject, node) + sizeof(kolk_call),
    .flags = HANDLE_FLAGS,
    .slots = handle_slots,
};

static PyType_Spec timer_handle_spec = {
    .name = "kolk.TimerHandle",
    .basicsize = sizeof(HandleObject),
    .flags = HANDLE_FLAGS,
    .slots = timer_handle_slots,
};

static PyType_Spec guarded_handle_spec = {
    .name = "kolk._ThreadSafeHandle",
    .basicsize = offsetof(HandleObject, node) + sizeof(kolk_call),
    .flags = HANDLE_FLAGS,
    .slots = handle_slots,
};

static PyObject *
handle_type_new(PyObject *module, PyType_Spec *spec, PyObject *base)
{
    if (((PyTypeObject *)base)->tp_basicsize > HANDLE_BASE_SIZE) {
        PyErr_Format(PyExc_ImportError, "%R is larger than kolk knows", base);
        return NULL;
    }
    PyObject *type = PyType_FromModuleAndSpec(module, spec, base);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

int
handle_types_add(PyObject *module, ModuleState *state)
{
    state->handle_type =
        handle_type_new(module, &handle_spec, state->handle_base);
    if (state->handle_type == NULL) {
        return -1;
    }
    state->timer_handle_type =
        handle_type_new(module, &timer_handle_spec, state->timer_handle_base);
    if (state->timer_handle_type == NULL
        || state->guarded_handle_base == NULL) {
        return state->timer_handle_type != NULL ? 0 : -1;
    }
    state->guarded_handle_type = handle_type_new(module, &guarded_handle_spec,
                                                 state->guarded_handle_base);
    return state->guarded_handle_type != NULL ? 0 : -1;
}
