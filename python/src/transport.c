/* transport.c - the life of a transport. See transport.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * asyncio's flags are kept here, since what a program sees of a connection
 * changes at once, while the library tells of its end from the loop. When the
 * loop is closed before, the program is told nothing, as in asyncio: the
 * transport stays as it is, and warns when it is collected.
 */
#include "transport.h"

#include <errno.h>
#include <structmember.h>

#include "convert.h"
#include "datagram.h"
#include "errors.h"

/* ---- callbacks ---- */

/* A context cannot be entered twice. Where the loop runs inside of a callback
 * of this connection, the callbacks of that run get a copy. */
static int
transport_enter_copy(TransportObject *self, TransportStep *step)
{
    if (!self->loop->is_nested) {
        return -1;
    }
    PyErr_Clear();
    Py_XSETREF(step->context, PyContext_Copy(step->context));
    return step->context != NULL ? PyContext_Enter(step->context) : -1;
}

int
transport_enter(TransportObject *self, PyObject *context, TransportStep *step)
{
    step->is_observed = self->loop->debug;
    if (KOLK_UNLIKELY(step->is_observed)) {
        loop_step_begin(self->loop, &step->step, (PyObject *)self);
    }
    step->context = Py_XNewRef(context);
    if (context != NULL && KOLK_UNLIKELY(PyContext_Enter(context) < 0)
        && transport_enter_copy(self, step) < 0) {
        Py_CLEAR(step->context);
        transport_leave(self, step);
        return -1;
    }
    return 0;
}

void
transport_leave(TransportObject *self, TransportStep *step)
{
    if (step->context != NULL) {
        if (KOLK_UNLIKELY(PyContext_Exit(step->context) < 0)) {
            transport_report(self, NULL);
        }
        Py_DECREF(step->context);
    }
    if (KOLK_UNLIKELY(step->is_observed)) {
        PyObject *error = PyErr_Occurred() != NULL ? error_take() : NULL;

        loop_step_end(self->loop, &step->step, (PyObject *)self);
        if (error != NULL) {
            error_raise(error);
        }
    }
}

int
transport_note_context(TransportObject *self, PyObject **slot)
{
    PyObject *context = transport_context(self);

    if (context == NULL) {
        return -1;
    }
    Py_XSETREF(*slot, context);
    return 0;
}

/* Hands the exception that is set to `method`(error, message); what has to end
 * the run does. */
static void
transport_hand_over(TransportObject *self, const char *method,
                    const char *message)
{
    PyObject *error = error_take();

    if (error_ends_run(error)) {
        loop_park(self->loop, error);
        return;
    }
    PyObject *result =
        PyObject_CallMethod((PyObject *)self, method, "Oz", error, message);
    Py_DECREF(error);
    loop_report_result(self->loop, result);
}

void
transport_failed(TransportObject *self, const char *message)
{
    transport_hand_over(self, "_fatal_error", message);
}

void
transport_report(TransportObject *self, const char *message)
{
    transport_hand_over(self, "_report", message);
}

/* ---- the end ---- */

/* What asyncio would tell connection_lost(), new. */
static PyObject *
transport_error(TransportObject *self, int error)
{
    if (self->lost_error != NULL) {
        return Py_NewRef(self->lost_error);
    }
    if (error == 0 || error == -ECANCELED) {
        return Py_NewRef(Py_None);
    }
    (void)error_set(error);
    return error_take();
}

void
transport_tell_end(TransportObject *self, int error)
{
    TransportStep step;
    PyObject *context =
        self->lost_context != NULL ? self->lost_context : self->read_context;

    self->is_closing = true;
    self->is_draining = false;
    if (transport_enter(self, context, &step) < 0) {
        transport_report(self, NULL);
        step = (TransportStep){.is_observed = false};
    }
    PyObject *what = transport_error(self, error);
    PyObject *args[] = {(PyObject *)self, what};
    PyObject *result = PyObject_VectorcallMethod(
        self->loop->state->str._call_connection_lost, args, 2, NULL);
    Py_DECREF(what);
    if (result != NULL) {
        Py_DECREF(result);
    } else {
        transport_report(self, NULL);
    }
    transport_leave(self, &step);
}

static void
transport_lost(kolk_protocol *node, kolk_transport *transport, int error)
{
    TransportObject *self = transport_of(node);

    (void)transport;
    self->is_over = true;
    transport_release_view(self);
    if (kolk_call_is_pending(&self->view_call) && self->loop->loop != NULL) {
        kolk_call_cancel(self->loop->loop, &self->view_call);
    }
    if (error != -ESHUTDOWN) {
        transport_tell_end(self, error);
    }
    Py_DECREF(self); /* the library's */
}

/* ---- the two kinds of protocols ---- */

static const kolk_protocol_ops transport_ops = {
    .data_received = transport_data_received,
    .eof_received = transport_eof_received,
    .pause_writing = transport_pause_writing,
    .resume_writing = transport_resume_writing,
    .connection_lost = transport_lost,
};

static const kolk_protocol_ops transport_buffered_ops = {
    .get_buffer = transport_get_buffer,
    .data_received = transport_buffer_updated,
    .eof_received = transport_eof_received,
    .pause_writing = transport_pause_writing,
    .resume_writing = transport_resume_writing,
    .connection_lost = transport_lost,
};

PyObject *
transport_object(const kolk_transport *transport)
{
    kolk_protocol *node = kolk_transport_protocol(transport);

    return node->ops == &transport_ops || node->ops == &transport_buffered_ops
               ? (PyObject *)transport_of(node)
               : NULL;
}

bool
transport_has_fd(PyObject *op, int fd)
{
    const TransportObject *self = (TransportObject *)op;

    return !self->is_over && self->fd == fd;
}

static int
transport_set_protocol_of(TransportObject *self, const ModuleState *state,
                          PyObject *protocol)
{
    int is_buffered =
        self->is_pipe ? 0
                      : PyObject_IsInstance(protocol, state->buffered_protocol);

    if (is_buffered < 0) {
        return -1;
    }
    transport_release_view(self);
    self->node.ops = is_buffered ? &transport_buffered_ops : &transport_ops;
    Py_XSETREF(self->protocol, Py_NewRef(protocol));
    if (transport_is_open(self)) {
        kolk_transport_set_protocol(self->transport, &self->node);
    }
    return 0;
}

/* ---- opening ---- */

int
transport_check_init(const TransportObject *self)
{
    if (KOLK_UNLIKELY(self->transport == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "the transport was not opened");
        return -1;
    }
    return 0;
}

static int
transport_open(TransportObject *self, int fd, PyObject *protocol, int kind)
{
    kolk_transport_options options = {.paused = true,
                                      .borrowed = true,
                                      .read_only = kind == 'r',
                                      .write_only = kind == 'w'};
    LoopObject *loop = self->loop;

    self->is_pipe = kind != 's';
    if (transport_set_protocol_of(self, loop->state, protocol) < 0) {
        return -1;
    }
    int err = kolk_transport_open(loop->loop, fd, &options, &self->node,
                                  &self->transport);
    if (err < 0) {
        self->transport = NULL;
        return error_set(err);
    }
    self->fd = fd;
    Py_INCREF(self); /* the library's, until transport_lost() */
    kolk_call_init(&self->view_call, transport_view_unused,
                   transport_view_unused);
    return 0;
}

PyDoc_STRVAR(transport_open_doc,
             "_open($self, loop, fd, protocol, context, kind, /)\n--\n\n"
             "Begin: fd is a socket ('s'), or the reading ('r') or writing "
             "('w') end of a pipe.");

static PyObject *
transport_open_method(PyObject *op, PyObject *args)
{
    TransportObject *self = (TransportObject *)op;
    ModuleState *state = state_of_type(Py_TYPE(op));
    PyObject *loop, *protocol, *context;
    int fd, kind;

    if (state == NULL
        || !PyArg_ParseTuple(args, "O!iOOC:_open",
                             (PyTypeObject *)state->loop_type, &loop, &fd,
                             &protocol, &context, &kind)) {
        return NULL;
    }
    if (self->loop != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the transport is open already");
        return NULL;
    }
    if (loop_check_open((LoopObject *)loop) < 0) {
        return NULL;
    }
    self->loop = (LoopObject *)Py_NewRef(loop);
    self->context = context != Py_None ? Py_NewRef(context) : NULL;
    if (transport_open(self, fd, protocol, kind) < 0) {
        Py_CLEAR(self->loop);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- closing ---- */

/* asyncio takes writes after close() until everything has been sent, and says
 * when there is room; TLS ends its stream that way. So the library's transport
 * is closed only then, which marks of zero tell. */
static void
transport_drain(TransportObject *self)
{
    self->is_draining = kolk_transport_buffer_size(self->transport) > 0
                        || self->is_writing_paused;
    if (!self->is_draining) {
        kolk_transport_close(self->transport);
        return;
    }
    kolk_transport_pause_reading(self->transport);
    if (kolk_transport_set_write_limits(self->transport, 0, 0) < 0) {
        self->is_draining = false; /* cannot be: they are valid */
        kolk_transport_close(self->transport);
    }
}

int
transport_close(TransportObject *self)
{
    if (self->is_closing) {
        return 0;
    }
    self->is_closing = true;
    if (loop_check_open(self->loop) < 0
        || transport_note_context(self, &self->lost_context) < 0) {
        return -1;
    }
    if (transport_is_open(self)) {
        transport_drain(self);
    }
    return 0;
}

void
transport_force_close(TransportObject *self, PyObject *error)
{
    if (self->is_failed || !transport_is_open(self)) {
        return;
    }
    self->is_closing = self->is_failed = true;
    self->is_draining = false;
    if (error != NULL && error != Py_None) {
        Py_XSETREF(self->lost_error, Py_NewRef(error));
    }
    if (transport_note_context(self, &self->lost_context) < 0) {
        PyErr_Clear(); /* no memory: in that of what is received */
    }
    kolk_transport_abort(self->transport);
}

/* Is this another thread than the one that runs the loop? */
static bool
transport_is_elsewhere(const TransportObject *self)
{
    return self->loop->thread != 0
           && self->loop->thread != PyThread_get_thread_ident();
}

/* Lets the loop's thread call `method`. */
static PyObject *
transport_call_elsewhere(TransportObject *self, const char *method)
{
    if (transport_call_in_loop(self, method, PyTuple_New(0)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(transport_close_doc, "close($self, /)\n--\n\n"
                                  "Send what was written, then close.");

static PyObject *
transport_close_method(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    if (transport_check_init(self) < 0) {
        return NULL;
    }
    if (KOLK_UNLIKELY(transport_is_elsewhere(self))) {
        return transport_call_elsewhere(self, "close");
    }
    if (transport_close(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(transport_abort_doc, "abort($self, /)\n--\n\n"
                                  "Close at once.");

static PyObject *
transport_abort(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    if (transport_check_init(self) < 0) {
        return NULL;
    }
    if (KOLK_UNLIKELY(transport_is_elsewhere(self))) {
        return transport_call_elsewhere(self, "abort");
    }
    transport_force_close(self, NULL);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(transport_force_close_doc, "_force_close($self, exc, /)\n--\n\n"
                                        "Close at once; exc is why.");

static PyObject *
transport_force_close_method(PyObject *op, PyObject *error)
{
    TransportObject *self = (TransportObject *)op;

    if (transport_check_init(self) < 0) {
        return NULL;
    }
    transport_force_close(self, error);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(transport_is_closing_doc, "is_closing($self, /)\n--\n\n"
                                       "Is it closing, or closed?");

static PyObject *
transport_is_closing(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    return PyBool_FromLong(self->is_closing || self->is_broken
                           || (transport_is_open(self)
                               && kolk_transport_is_closing(self->transport)));
}

/* ---- about it ---- */

PyDoc_STRVAR(transport_set_protocol_doc, "set_protocol($self, protocol, /)\n"
                                         "--\n\n"
                                         "Tell this protocol from now on.");

static PyObject *
transport_set_protocol(PyObject *op, PyObject *protocol)
{
    TransportObject *self = (TransportObject *)op;

    if (transport_check_init(self) < 0
        || transport_set_protocol_of(self, self->loop->state, protocol) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(transport_get_protocol_doc, "get_protocol($self, /)\n--\n\n"
                                         "The protocol.");

static PyObject *
transport_get_protocol(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *protocol = ((TransportObject *)op)->protocol;

    return Py_NewRef(protocol != NULL ? protocol : Py_None);
}

PyDoc_STRVAR(transport_forget_doc, "_forget($self, /)\n--\n\n"
                                   "The protocol has heard the last.");

static PyObject *
transport_forget(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    Py_CLEAR(self->protocol);
    Py_CLEAR(self->lost_error); /* its traceback leads back here */
    Py_CLEAR(self->read_context);
    Py_CLEAR(self->write_context);
    Py_RETURN_NONE;
}

static PyObject *
transport_get_loop(PyObject *op, void *Py_UNUSED(closure))
{
    LoopObject *loop = ((TransportObject *)op)->loop;

    return Py_NewRef(loop != NULL ? (PyObject *)loop : Py_None);
}

static PyGetSetDef transport_getsets[] = {
    {"_loop", transport_get_loop, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define TRANSPORT_MEMBER(name, type, field, flags)                             \
    {                                                                          \
        name, type, offsetof(TransportObject, field), flags, NULL              \
    }

static PyMemberDef transport_members[] = {
    TRANSPORT_MEMBER("_extra", T_OBJECT_EX, extra, 0),
    TRANSPORT_MEMBER("_high_water", T_OBJECT_EX, high, 0),
    TRANSPORT_MEMBER("_low_water", T_OBJECT_EX, low, 0),
    TRANSPORT_MEMBER("_protocol", T_OBJECT, protocol, READONLY),
    TRANSPORT_MEMBER("_protocol_paused", T_BOOL, is_writing_paused, READONLY),
    TRANSPORT_MEMBER("_closing", T_BOOL, is_closing, READONLY),
    TRANSPORT_MEMBER("_paused", T_BOOL, is_paused, READONLY),
    TRANSPORT_MEMBER("_eof", T_BOOL, is_eof, READONLY),
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef transport_methods[] = {
    {"_open", transport_open_method, METH_VARARGS, transport_open_doc},
    {"_forget", transport_forget, METH_NOARGS, transport_forget_doc},
    {"close", transport_close_method, METH_NOARGS, transport_close_doc},
    {"abort", transport_abort, METH_NOARGS, transport_abort_doc},
    {"_force_close", transport_force_close_method, METH_O,
     transport_force_close_doc},
    {"is_closing", transport_is_closing, METH_NOARGS, transport_is_closing_doc},
    {"set_protocol", transport_set_protocol, METH_O,
     transport_set_protocol_doc},
    {"get_protocol", transport_get_protocol, METH_NOARGS,
     transport_get_protocol_doc},
    {NULL, NULL, 0, NULL},
};

/* ---- the collector ---- */

int
transport_traverse(PyObject *op, visitproc visit, void *arg)
{
    TransportObject *self = (TransportObject *)op;

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->protocol);
    Py_VISIT(self->extra);
    Py_VISIT(self->context);
    Py_VISIT(self->read_context);
    Py_VISIT(self->write_context);
    Py_VISIT(self->lost_context);
    Py_VISIT(self->lost_error);
    return 0;
}

int
transport_clear(PyObject *op)
{
    TransportObject *self = (TransportObject *)op;

    Py_CLEAR(self->protocol);
    Py_CLEAR(self->extra);
    Py_CLEAR(self->high);
    Py_CLEAR(self->low);
    Py_CLEAR(self->context);
    Py_CLEAR(self->read_context);
    Py_CLEAR(self->write_context);
    Py_CLEAR(self->lost_context);
    Py_CLEAR(self->lost_error);
    /* The loop stays, since methods need it. Loops clear themselves. */
    return 0;
}

void
transport_dealloc(PyObject *op)
{
    TransportObject *self = (TransportObject *)op;
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    transport_release_view(self);
    (void)transport_clear(op);
    kolk_transport_unref(self->transport);
    Py_CLEAR(self->loop);
    type->tp_free(op);
    Py_DECREF(type);
}

/* ---- the types ---- */

static PyType_Slot transport_slots[] = {
    {Py_tp_doc, "What a connection does per event; see kolk.Transport."},
    {Py_tp_dealloc, transport_dealloc},
    {Py_tp_traverse, transport_traverse},
    {Py_tp_clear, transport_clear},
    {Py_tp_getset, transport_getsets},
    {Py_tp_members, transport_members},
    {Py_tp_methods, transport_methods},
    {0, NULL},
};

enum {
    TRANSPORT_FLAGS =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
};

static PyObject *
transport_type_new(PyObject *module, const char *name, PyObject *base)
{
    PyType_Spec spec = {
        .name = name,
        .basicsize = sizeof(TransportObject),
        .flags = TRANSPORT_FLAGS,
        .slots = transport_slots,
    };
    PyMethodDef *concepts[] = {transport_read_methods, transport_write_methods,
                               transport_sendfile_methods};

    if (((PyTypeObject *)base)->tp_basicsize > TRANSPORT_BASE_SIZE) {
        PyErr_Format(PyExc_ImportError, "%R is larger than kolk knows", base);
        return NULL;
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, base);
    for (size_t i = 0; type != NULL && i < sizeof concepts / sizeof *concepts;
         i++) {
        if (type_add_methods(type, concepts[i]) < 0) {
            Py_CLEAR(type);
        }
    }
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return type;
}

int
transport_types_add(PyObject *module, ModuleState *state)
{
    state->transport_type = transport_type_new(
        module, "kolk._kolk.TransportBase", state->transport_base);
    if (state->transport_type == NULL) {
        return -1;
    }
    state->read_pipe_type = transport_type_new(
        module, "kolk._kolk.ReadPipeBase", state->read_transport_base);
    return state->read_pipe_type != NULL ? datagram_type_add(module, state)
                                         : -1;
}
