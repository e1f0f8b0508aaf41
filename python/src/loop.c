/* loop.c - the type of loops: making, tracing and closing them.
 *
 * SPDX-License-Identifier: MIT
 *
 * What the loop has been lent is a part of it for the collector: a visit of
 * the library's shows each node, and the node leads to its object.
 */
#include "loop.h"

#include <stddef.h>

#include "args.h"
#include "datagram.h" /* what is open */
#include "errors.h"
#include "task.h" /* what is in the ready queue */

/* ---- tracing ---- */

typedef struct LoopVisitor {
    kolk_visitor visitor;
    visitproc visit;
    void *arg;
} LoopVisitor;

static int
loop_visit_node(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    LoopVisitor *self = KOLK_CONTAINER_OF(visitor, LoopVisitor, visitor);

    if (kind == KOLK_NODE_TIMER) {
        kolk_timer *timer = node;

        return timer->fn != handle_timer_ready
                   ? 0
                   : handle_visit(
                       KOLK_CONTAINER_OF(timer, HandleObject, node.timer),
                       self->visit, self->arg);
    }
    if (kind == KOLK_NODE_TRANSPORT || kind == KOLK_NODE_DATAGRAM) {
        PyObject *transport = kind == KOLK_NODE_TRANSPORT
                                  ? transport_object(node)
                                  : datagram_object(node); /* borrowed */

        return transport != NULL ? self->visit(transport, self->arg) : 0;
    }
    if (kind != KOLK_NODE_CALL) {
        return 0;
    }
    kolk_call *call = node;
    if (call->fn == handle_call_ready) {
        return handle_visit(KOLK_CONTAINER_OF(call, HandleObject, node.call),
                            self->visit, self->arg);
    }
    PyObject *object = task_of_call(call); /* borrowed, or NULL */
    if (object == NULL) {
        object = (PyObject *)loop_timer_of_call(call);
    }
    return object != NULL ? self->visit(object, self->arg) : 0;
}

static int
loop_traverse(PyObject *op, visitproc visit, void *arg)
{
    LoopObject *self = (LoopObject *)op;
    LoopVisitor visitor = {.visitor = {loop_visit_node}, visit, arg};

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->raised);
    Py_VISIT(self->task_factory);
    Py_VISIT(self->hooked);
    Py_VISIT(self->hook_handles);
    if (self->lender != NULL) {
        int result = kolk_loop_visit(self->lender, &visitor.visitor);
        if (result != 0) {
            return result;
        }
    }
    return loop_watches_visit(self, visit, arg);
}

typedef struct LoopReady {
    kolk_visitor visitor;
    PyObject *list;
} LoopReady;

static int
loop_list_node(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    LoopReady *self = KOLK_CONTAINER_OF(visitor, LoopReady, visitor);
    kolk_call *call = node;
    PyObject *object = NULL; /* borrowed */

    if (kind != KOLK_NODE_CALL) {
        return 0;
    }
    if (call->fn == handle_call_ready) {
        HandleObject *handle = KOLK_CONTAINER_OF(call, HandleObject, node.call);

        handle_track(handle);
        object = (PyObject *)handle;
    } else {
        object = task_of_call(call);
    }
    return object != NULL ? PyList_Append(self->list, object) : 0;
}

/* asyncio's name for the queue; programs ask how long it is. */
static PyObject *
loop_get_ready(PyObject *op, void *Py_UNUSED(closure))
{
    LoopObject *self = (LoopObject *)op;
    LoopReady ready = {.visitor = {loop_list_node}, PyList_New(0)};

    if (ready.list != NULL && self->loop != NULL
        && kolk_loop_visit(self->loop, &ready.visitor) != 0) {
        Py_CLEAR(ready.list);
    }
    return ready.list;
}

/* ---- closing ---- */

/* Closes the library's loop, which gives every node back. Callbacks of the
 * program's may run in between, and find a closed loop. */
static int
loop_close(LoopObject *self)
{
    kolk_loop *loop = self->loop;

    if (loop == NULL) {
        return 0;
    }
    self->loop = NULL;
    int err = kolk_loop_close(loop);
    if (err < 0) {
        self->loop = loop;
        return error_set(err);
    }
    self->lender = NULL;
    kolk_inbox_unref(self->inbox);
    self->inbox = NULL;
    loop_watches_free(self);
    Py_CLEAR(self->hook_handles);
    return 0;
}

static int
loop_clear(PyObject *op)
{
    LoopObject *self = (LoopObject *)op;

    if (loop_close(self) < 0) {
        PyErr_WriteUnraisable(op);
    }
    Py_CLEAR(self->raised);
    Py_CLEAR(self->task_factory);
    Py_CLEAR(self->hooked);
    return 0;
}

static void
loop_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject *module = ((LoopObject *)op)->module;

    PyObject_GC_UnTrack(op);
    (void)loop_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
    Py_DECREF(module);
}

PyDoc_STRVAR(loop_close_doc, "_close($self, /)\n--\n\n"
                             "Give everything back that was scheduled.");

static PyObject *
loop_close_method(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (loop_close((LoopObject *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(loop_is_closed_doc, "is_closed($self, /)\n--\n\n"
                                 "Was the loop closed?");

static PyObject *
loop_is_closed(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((LoopObject *)op)->loop == NULL);
}

/* ---- making ---- */

static int
loop_backend_from_py(PyObject *op, kolk_backend *out)
{
    const char *name = op == Py_None ? "" : PyUnicode_AsUTF8(op);

    if (name == NULL) {
        return -1;
    }
    if (*name == '\0') {
        *out = KOLK_BACKEND_DEFAULT;
    } else if (strcmp(name, "epoll") == 0) {
        *out = KOLK_BACKEND_EPOLL;
    } else if (strcmp(name, "io_uring") == 0) {
        *out = KOLK_BACKEND_URING;
    } else {
        PyErr_Format(PyExc_ValueError, "unknown backend %R", op);
        return -1;
    }
    return 0;
}

static int
loop_open(LoopObject *self, PyObject *backend)
{
    kolk_loop_options options = {.debug = KOLK_OFF};

    if (loop_backend_from_py(backend, &options.backend) < 0) {
        return -1;
    }
    int err = kolk_loop_open(&options, &self->loop);
    if (err < 0) {
        self->loop = NULL;
        return error_set(err);
    }
    self->lender = self->loop;
    self->inbox = kolk_inbox_ref(kolk_loop_inbox(self->loop));
    loop_run_init(self);
    return 0;
}

/* Which of the methods that fast paths skip are not those of this file's
 * type, by a subclass or on this very object. */
static int
loop_find_overrides(LoopObject *self)
{
    static const struct {
        const char *name;
        unsigned bit;
    } methods[] = {{"call_soon", LOOP_OVERRIDES_CALL_SOON},
                   {"call_at", LOOP_OVERRIDES_CALL_AT},
                   {"time", LOOP_OVERRIDES_TIME}};

    self->overridden = 0;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        PyObject *ours =
            PyObject_GetAttrString(self->state->loop_type, methods[i].name);
        PyObject *method =
            PyObject_GetAttrString((PyObject *)self, methods[i].name);
        bool is_ours =
            ours != NULL && method != NULL && PyCFunction_Check(method)
            && PyCFunction_GET_SELF(method) == (PyObject *)self
            && Py_IS_TYPE(ours, &PyMethodDescr_Type)
            && PyCFunction_GET_FUNCTION(method)
                   == ((PyMethodDescrObject *)ours)->d_method->ml_meth;
        Py_XDECREF(ours);
        Py_XDECREF(method);
        if (ours == NULL || method == NULL) {
            return -1;
        }
        self->overridden |= is_ours ? 0 : methods[i].bit;
    }
    return 0;
}

static PyObject *
loop_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
         PyObject *Py_UNUSED(kwargs))
{
    ModuleState *state = state_of_type(type);

    if (state == NULL) {
        return NULL;
    }
    LoopObject *self = (LoopObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    self->module = Py_NewRef(state->module);
    if (loop_find_overrides(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(loop_open_doc, "_open($self, backend, nested, /)\n--\n\n"
                            "Open the library's loop; once.");

static PyObject *
loop_open_method(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    LoopObject *self = (LoopObject *)op;

    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "_open() takes backend and nested");
        return NULL;
    }
    int is_nested = PyObject_IsTrue(args[1]);
    if (is_nested < 0) {
        return NULL;
    }
    if (self->loop != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the event loop is open already");
        return NULL;
    }
    if (loop_open(self, args[0]) < 0) {
        return NULL;
    }
    self->is_nested = is_nested;
    Py_RETURN_NONE;
}

/* ---- attributes ---- */

int
loop_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(op, name, value) < 0) {
        return -1;
    }
    return PyUnicode_CompareWithASCIIString(name, "call_soon") == 0
                   || PyUnicode_CompareWithASCIIString(name, "call_at") == 0
                   || PyUnicode_CompareWithASCIIString(name, "time") == 0
               ? loop_find_overrides((LoopObject *)op)
               : 0;
}

PyDoc_STRVAR(loop_get_debug_doc, "get_debug($self, /)\n--\n\n"
                                 "Is debug mode on?");

static PyObject *
loop_get_debug(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((LoopObject *)op)->debug);
}

static PyObject *
loop_get_debug_flag(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((LoopObject *)op)->debug);
}

static int
loop_set_debug_flag(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    int on = value != NULL ? PyObject_IsTrue(value) : 0;

    if (on < 0) {
        return -1;
    }
    ((LoopObject *)op)->debug = on;
    return 0;
}

static PyObject *
loop_get_thread(PyObject *op, void *Py_UNUSED(closure))
{
    unsigned long thread = ((LoopObject *)op)->thread;

    return thread != 0 ? PyLong_FromUnsignedLong(thread) : Py_NewRef(Py_None);
}

static int
loop_set_thread(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    unsigned long thread =
        value == NULL || value == Py_None ? 0 : PyLong_AsUnsignedLong(value);

    if (thread == (unsigned long)-1 && PyErr_Occurred()) {
        return -1;
    }
    ((LoopObject *)op)->thread = thread;
    return 0;
}

static PyObject *
loop_get_current_handle(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *handle = ((LoopObject *)op)->current_handle;

    return Py_NewRef(handle != NULL ? handle : Py_None);
}

static PyObject *
loop_get_nested(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((LoopObject *)op)->is_nested);
}

static PyObject *
loop_get_backend(PyObject *op, void *Py_UNUSED(closure))
{
    LoopObject *self = (LoopObject *)op;
    const char *why = "";

    if (loop_check_open(self) < 0) {
        return NULL;
    }
    const char *name = kolk_loop_backend(self->loop, &why);
    return Py_BuildValue("ss", name, why);
}

static PyGetSetDef loop_getsets[] = {
    {"_debug", loop_get_debug_flag, loop_set_debug_flag, NULL, NULL},
    {"_thread_id", loop_get_thread, loop_set_thread, NULL, NULL},
    {"_current_handle", loop_get_current_handle, NULL, NULL, NULL},
    {"_ready", loop_get_ready, NULL,
     "What is queued to run: handles, and tasks that step.", NULL},
    {"_is_nested", loop_get_nested, NULL, NULL, NULL},
    {"backend", loop_get_backend, NULL,
     "What runs, \"epoll\" or \"io_uring\", and why.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef loop_methods[] = {
    {"_open", ARGS_METHOD(loop_open_method), METH_FASTCALL, loop_open_doc},
    {"_close", loop_close_method, METH_NOARGS, loop_close_doc},
    {"is_closed", loop_is_closed, METH_NOARGS, loop_is_closed_doc},
    {"get_debug", loop_get_debug, METH_NOARGS, loop_get_debug_doc},
    {NULL, NULL, 0, NULL},
};

/* ---- the type ---- */

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, "What an event loop does per event; see kolk.Loop."},
    {Py_tp_new, loop_new},
    {Py_tp_dealloc, loop_dealloc},
    {Py_tp_traverse, loop_traverse},
    {Py_tp_clear, loop_clear},
    {Py_tp_setattro, loop_setattro},
    {Py_tp_getset, loop_getsets},
    {Py_tp_methods, loop_methods},
    {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "kolk._kolk.LoopBase",
    .basicsize = sizeof(LoopObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = loop_slots,
};

int
loop_type_add(PyObject *module, ModuleState *state)
{
    PyMethodDef *concepts[] = {loop_schedule_methods, loop_run_methods,
                               loop_hook_methods, loop_watch_methods,
                               loop_task_methods};

    state->loop_type = PyType_FromModuleAndSpec(module, &loop_spec, NULL);
    if (state->loop_type == NULL) {
        return -1;
    }
    for (size_t i = 0; i < sizeof concepts / sizeof *concepts; i++) {
        if (type_add_methods(state->loop_type, concepts[i]) < 0) {
            return -1;
        }
    }
    return PyModule_AddType(module, (PyTypeObject *)state->loop_type);
}
