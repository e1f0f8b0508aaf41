/* datagram.c - datagram transports. See datagram.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * Reading is paused by taking the protocol away from the library's socket,
 * which then leaves everything to the kernel.
 */
#include "datagram.h"

#include <errno.h>
#include <string.h>
#include <structmember.h>

#include "args.h"
#include "errors.h"

static inline DatagramObject *
datagram_of(kolk_datagram_protocol *node)
{
    return KOLK_CONTAINER_OF(node, DatagramObject, node);
}

static inline bool
datagram_is_open(const DatagramObject *self)
{
    return self->datagram != NULL && !self->base.is_over;
}

static int
datagram_check_init(const DatagramObject *self)
{
    if (KOLK_UNLIKELY(self->datagram == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "the transport was not opened");
        return -1;
    }
    return 0;
}

/* ---- what is received ---- */

/* The sender as an object, new; often it is the one of before. */
static PyObject *
datagram_sender(DatagramObject *self, const kolk_address *from)
{
    if (self->last_object != NULL && self->last.size == from->size
        && memcmp(&self->last.storage, &from->storage, from->size) == 0) {
        return Py_NewRef(self->last_object);
    }
    PyObject *object = address_to_py(from);
    if (object != NULL) {
        self->last.size = from->size;
        memcpy(&self->last.storage, &from->storage, from->size);
        Py_XSETREF(self->last_object, Py_NewRef(object));
    }
    return object;
}

static void
datagram_received(kolk_datagram_protocol *node, kolk_datagram *datagram,
                  const void *data, size_t size, const kolk_address *from)
{
    DatagramObject *self = datagram_of(node);
    TransportObject *base = &self->base;
    TransportStep step;

    (void)datagram;
    if (base->protocol == NULL || base->is_closing) {
        return;
    }
    if (transport_enter(base, base->read_context, &step) < 0) {
        transport_report(base, NULL);
        return;
    }
    PyObject *protocol = Py_NewRef(base->protocol);
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    PyObject *sender = bytes != NULL ? datagram_sender(self, from) : NULL;
    PyObject *args[] = {protocol, bytes, sender};
    PyObject *result = NULL;

    if (sender != NULL) {
        result = PyObject_VectorcallMethod(
            base->loop->state->str.datagram_received, args, 3, NULL);
    }
    Py_XDECREF(sender);
    Py_XDECREF(bytes);
    Py_DECREF(protocol);
    if (KOLK_LIKELY(result != NULL)) {
        Py_DECREF(result);
    } else {
        transport_report(base, NULL);
    }
    transport_leave(base, &step);
}

static void
datagram_error_received(kolk_datagram_protocol *node, kolk_datagram *datagram,
                        int error)
{
    TransportObject *base = &datagram_of(node)->base;

    (void)datagram;
    if (base->protocol == NULL) {
        return;
    }
    (void)error_set(error);
    PyObject *exception = error_take();
    PyObject *protocol = Py_NewRef(base->protocol);
    PyObject *args[] = {protocol, exception};
    PyObject *result = PyObject_VectorcallMethod(
        base->loop->state->str.error_received, args, 2, NULL);
    Py_DECREF(protocol);
    Py_DECREF(exception);
    if (result != NULL) {
        Py_DECREF(result);
    } else {
        transport_report(base, NULL);
    }
}

static void
datagram_pause_writing(kolk_datagram_protocol *node, kolk_datagram *datagram)
{
    (void)datagram;
    transport_tell_pause(&datagram_of(node)->base);
}

static void
datagram_resume_writing(kolk_datagram_protocol *node, kolk_datagram *datagram)
{
    (void)datagram;
    transport_tell_resume(&datagram_of(node)->base);
}

static void
datagram_lost(kolk_datagram_protocol *node, kolk_datagram *datagram, int error)
{
    TransportObject *base = &datagram_of(node)->base;

    (void)datagram;
    base->is_over = true;
    if (error != -ESHUTDOWN) {
        transport_tell_end(base, error);
    }
    Py_DECREF(base); /* the library's */
}

static const kolk_datagram_protocol_ops datagram_ops = {
    .datagram_received = datagram_received,
    .error_received = datagram_error_received,
    .pause_writing = datagram_pause_writing,
    .resume_writing = datagram_resume_writing,
    .connection_lost = datagram_lost,
};

PyObject *
datagram_object(const kolk_datagram *datagram)
{
    kolk_datagram_protocol *node = kolk_datagram_protocol_of(datagram);

    return node != NULL && node->ops == &datagram_ops
               ? (PyObject *)datagram_of(node)
               : NULL;
}

/* ---- opening ---- */

PyDoc_STRVAR(datagram_open_doc,
             "_open_datagram($self, loop, fd, protocol, context, family, "
             "connected, address, /)\n--\n\n"
             "Begin over the socket fd; `address` is the only one for "
             "sendto(), or None.");

static PyObject *
datagram_open(PyObject *op, PyObject *args)
{
    DatagramObject *self = (DatagramObject *)op;
    TransportObject *base = &self->base;
    ModuleState *state = state_of_type(Py_TYPE(op));
    const kolk_datagram_options options = {.borrowed = true};
    PyObject *loop, *protocol, *context, *address;
    int fd, connected;

    if (state == NULL
        || !PyArg_ParseTuple(args, "O!iOOipO:_open_datagram",
                             (PyTypeObject *)state->loop_type, &loop, &fd,
                             &protocol, &context, &self->family, &connected,
                             &address)) {
        return NULL;
    }
    if (base->loop != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the transport is open already");
        return NULL;
    }
    if (loop_check_open((LoopObject *)loop) < 0) {
        return NULL;
    }
    self->node.ops = &datagram_ops;
    int err = kolk_datagram_open_fd(((LoopObject *)loop)->loop, fd, &options,
                                    &self->node, &self->datagram);
    if (err < 0) {
        self->datagram = NULL;
        (void)error_set(err);
        return NULL;
    }
    Py_INCREF(op); /* the library's, until datagram_lost() */
    base->fd = fd;
    base->loop = (LoopObject *)Py_NewRef(loop);
    base->context = context != Py_None ? Py_NewRef(context) : NULL;
    base->protocol = Py_NewRef(protocol);
    self->is_connected = connected;
    self->address = address != Py_None ? Py_NewRef(address) : NULL;
    Py_RETURN_NONE;
}

/* ---- reading ---- */

static int
datagram_set_reading(DatagramObject *self, bool on)
{
    if (on
        && transport_note_context(&self->base, &self->base.read_context) < 0) {
        return -1;
    }
    if (datagram_is_open(self)) {
        kolk_datagram_set_protocol(self->datagram, on ? &self->node : NULL);
    }
    return 0;
}

PyDoc_STRVAR(datagram_start_reading_doc, "_start_reading($self, /)\n--\n\n"
                                         "connection_made() has been called.");

static PyObject *
datagram_start_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    DatagramObject *self = (DatagramObject *)op;

    if (datagram_check_init(self) < 0
        || (!self->base.is_closing && !self->base.is_paused
            && datagram_set_reading(self, true) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(datagram_pause_reading_doc, "pause_reading($self, /)\n--\n\n"
                                         "Receive nothing until "
                                         "resume_reading().");

static PyObject *
datagram_pause_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    DatagramObject *self = (DatagramObject *)op;

    if (datagram_check_init(self) < 0) {
        return NULL;
    }
    if (!self->base.is_closing && !self->base.is_paused) {
        self->base.is_paused = true;
        (void)datagram_set_reading(self, false); /* cannot fail */
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(datagram_resume_reading_doc, "resume_reading($self, /)\n--\n\n"
                                          "Receive again.");

static PyObject *
datagram_resume_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    DatagramObject *self = (DatagramObject *)op;

    if (datagram_check_init(self) < 0) {
        return NULL;
    }
    if (!self->base.is_closing && self->base.is_paused) {
        self->base.is_paused = false;
        if (datagram_set_reading(self, true) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

/* ---- sending ---- */

/* Where to send: checks what was asked for against what is possible. Returns
 * 1, or 0 for the connected address; -1 with an exception set. */
static int
datagram_find_receiver(DatagramObject *self, PyObject *address)
{
    if (self->address != NULL) {
        int is_same =
            address == Py_None
                ? 1
                : PyObject_RichCompareBool(address, self->address, Py_EQ);
        if (is_same == 0) {
            PyErr_Format(PyExc_ValueError,
                         "Invalid address: must be None or %S", self->address);
        }
        if (is_same <= 0) {
            return -1;
        }
        address = self->address;
    }
    if (self->is_connected) {
        return 0;
    }
    if (self->to_object != NULL && PyTuple_CheckExact(address)
        && PyTuple_CheckExact(self->to_object)) {
        int is_same = PyObject_RichCompareBool(address, self->to_object, Py_EQ);
        if (is_same != 0) {
            return is_same;
        }
    }
    if (address_from_py(address, self->family, &self->to) < 0) {
        Py_CLEAR(self->to_object);
        return -1;
    }
    Py_XSETREF(self->to_object, Py_NewRef(address));
    return 1;
}

/* asyncio goes on sending until the socket is closed, unless it always sends to
 * the same address. */
static int
datagram_send_late(DatagramObject *self, const Py_buffer *view,
                   PyObject *address)
{
    if (self->address != NULL || self->base.is_over) {
        return transport_write_lost(&self->base);
    }
    PyObject *result = PyObject_CallMethod(
        (PyObject *)self, "_send_late", "y#O", view->buf, view->len, address);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

static int
datagram_send(DatagramObject *self, const Py_buffer *view, PyObject *address)
{
    TransportObject *base = &self->base;
    int has_receiver = datagram_find_receiver(self, address);

    if (has_receiver < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            transport_failed(base, "Fatal write error on datagram transport");
            return 0;
        }
        return -1;
    }
    if (base->is_closing) {
        return datagram_send_late(self, view, address);
    }
    int err = kolk_datagram_send(self->datagram, view->buf, (size_t)view->len,
                                 has_receiver ? &self->to : NULL);
    if (KOLK_LIKELY(err == 0)) {
        return 0;
    }
    if (err == -KOLK_EMISUSE) {
        return transport_call_in_loop(
            base, "sendto",
            Py_BuildValue("(y#O)", view->buf, view->len, address));
    }
    return err == -ESHUTDOWN ? transport_write_lost(base) : error_set(err);
}

/* sendto(data, addr=None) */
static int
datagram_split(const DatagramObject *self, PyObject *const *args,
               Py_ssize_t nargs, PyObject *kwnames, PyObject **data,
               PyObject **address)
{
    Py_ssize_t nkw = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;

    (void)self;
    *data = nargs > 0 ? args[0] : NULL;
    *address = nargs > 1 ? args[1] : NULL;
    for (Py_ssize_t i = 0; i < nkw; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        PyObject **slot =
            PyUnicode_CompareWithASCIIString(name, "data") == 0   ? data
            : PyUnicode_CompareWithASCIIString(name, "addr") == 0 ? address
                                                                  : NULL;
        if (slot == NULL || *slot != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "sendto() got an unexpected keyword argument '%U'",
                         name);
            return -1;
        }
        *slot = args[nargs + i];
    }
    if (*data == NULL || nargs > 2) {
        PyErr_SetString(PyExc_TypeError, "sendto() takes data and addr");
        return -1;
    }
    *address = *address != NULL ? *address : Py_None;
    return 0;
}

PyDoc_STRVAR(datagram_sendto_doc, "sendto($self, /, data, addr=None)\n--\n\n"
                                  "Send a datagram; never waits.");

static PyObject *
datagram_sendto(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    DatagramObject *self = (DatagramObject *)op;
    PyObject *data, *address;
    Py_buffer view;

    if (datagram_check_init(self) < 0
        || datagram_split(self, args, nargs, kwnames, &data, &address) < 0) {
        return NULL;
    }
    if (!PyBytes_Check(data) && !PyByteArray_Check(data)
        && !PyMemoryView_Check(data)) {
        PyObject *name = PyType_GetName(Py_TYPE(data));

        if (name != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "data argument must be a bytes-like object, not %R",
                         name);
            Py_DECREF(name);
        }
        return NULL;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    bool is_dropped = PY_VERSION_HEX < 0x030D0000 && view.len == 0;
    int err = is_dropped ? 0 : datagram_send(self, &view, address);
    PyBuffer_Release(&view);
    if (err < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(datagram_get_write_buffer_size_doc,
             "get_write_buffer_size($self, /)\n--\n\n"
             "How much waits to be sent.");

static PyObject *
datagram_get_write_buffer_size(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    DatagramObject *self = (DatagramObject *)op;

    return PyLong_FromSize_t(
        datagram_is_open(self) ? kolk_datagram_buffer_size(self->datagram) : 0);
}

PyDoc_STRVAR(datagram_set_limits_doc, "_set_limits($self, high, low, /)\n--\n\n"
                                      "Set the marks.");

static PyObject *
datagram_set_limits(PyObject *op, PyObject *args)
{
    DatagramObject *self = (DatagramObject *)op;
    Py_ssize_t high, low;

    if (datagram_check_init(self) < 0
        || !PyArg_ParseTuple(args, "nn:_set_limits", &high, &low)) {
        return NULL;
    }
    int err = datagram_is_open(self) ? kolk_datagram_set_write_limits(
                  self->datagram, (size_t)high, (size_t)low)
                                     : 0;
    if (err < 0) {
        (void)error_set(err);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- closing ---- */

/* Paused or not, the program is told of the end. */
static void
datagram_begin_close(DatagramObject *self)
{
    self->base.is_closing = true;
    kolk_datagram_set_protocol(self->datagram, &self->node);
}

PyDoc_STRVAR(datagram_close_doc, "close($self, /)\n--\n\n"
                                 "Send what waits, then close.");

static PyObject *
datagram_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    DatagramObject *self = (DatagramObject *)op;

    if (datagram_check_init(self) < 0) {
        return NULL;
    }
    if (self->base.is_closing) {
        Py_RETURN_NONE;
    }
    self->base.is_closing = true;
    if (loop_check_open(self->base.loop) < 0
        || transport_note_context(&self->base, &self->base.lost_context) < 0) {
        return NULL;
    }
    if (datagram_is_open(self)) {
        datagram_begin_close(self);
        kolk_datagram_close(self->datagram);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(datagram_force_close_doc, "_force_close($self, exc, /)\n--\n\n"
                                       "Close at once; exc is why.");

static PyObject *
datagram_force_close(PyObject *op, PyObject *error)
{
    DatagramObject *self = (DatagramObject *)op;
    TransportObject *base = &self->base;

    if (datagram_check_init(self) < 0) {
        return NULL;
    }
    if (!datagram_is_open(self) || base->is_failed) {
        Py_RETURN_NONE;
    }
    base->is_failed = true;
    if (error != NULL && error != Py_None) {
        Py_XSETREF(base->lost_error, Py_NewRef(error));
    }
    if (transport_note_context(base, &base->lost_context) < 0) {
        PyErr_Clear(); /* no memory: in that of what is received */
    }
    datagram_begin_close(self);
    kolk_datagram_abort(self->datagram);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(datagram_abort_doc, "abort($self, /)\n--\n\n"
                                 "Close at once.");

static PyObject *
datagram_abort(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return datagram_force_close(op, NULL);
}

PyDoc_STRVAR(datagram_is_closing_doc, "is_closing($self, /)\n--\n\n"
                                      "Is it closing, or closed?");

static PyObject *
datagram_is_closing(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((DatagramObject *)op)->base.is_closing);
}

PyDoc_STRVAR(datagram_set_protocol_doc, "set_protocol($self, protocol, /)\n"
                                        "--\n\n"
                                        "Tell this protocol from now on.");

static PyObject *
datagram_set_protocol(PyObject *op, PyObject *protocol)
{
    DatagramObject *self = (DatagramObject *)op;

    if (datagram_check_init(self) < 0) {
        return NULL;
    }
    Py_XSETREF(self->base.protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

static PyMethodDef datagram_methods[] = {
    {"_open_datagram", datagram_open, METH_VARARGS, datagram_open_doc},
    {"_start_reading", datagram_start_reading, METH_NOARGS,
     datagram_start_reading_doc},
    {"pause_reading", datagram_pause_reading, METH_NOARGS,
     datagram_pause_reading_doc},
    {"resume_reading", datagram_resume_reading, METH_NOARGS,
     datagram_resume_reading_doc},
    {"sendto", ARGS_METHOD(datagram_sendto), ARGS_FLAGS, datagram_sendto_doc},
    {"get_write_buffer_size", datagram_get_write_buffer_size, METH_NOARGS,
     datagram_get_write_buffer_size_doc},
    {"_set_limits", datagram_set_limits, METH_VARARGS, datagram_set_limits_doc},
    {"close", datagram_close, METH_NOARGS, datagram_close_doc},
    {"abort", datagram_abort, METH_NOARGS, datagram_abort_doc},
    {"_force_close", datagram_force_close, METH_O, datagram_force_close_doc},
    {"is_closing", datagram_is_closing, METH_NOARGS, datagram_is_closing_doc},
    {"set_protocol", datagram_set_protocol, METH_O, datagram_set_protocol_doc},
    {NULL, NULL, 0, NULL},
};

/* ---- the type ---- */

static int
datagram_traverse(PyObject *op, visitproc visit, void *arg)
{
    DatagramObject *self = (DatagramObject *)op;

    Py_VISIT(self->address);
    return transport_traverse(op, visit, arg);
}

static int
datagram_clear(PyObject *op)
{
    DatagramObject *self = (DatagramObject *)op;

    Py_CLEAR(self->address);
    Py_CLEAR(self->last_object);
    Py_CLEAR(self->to_object);
    return transport_clear(op);
}

static void
datagram_dealloc(PyObject *op)
{
    DatagramObject *self = (DatagramObject *)op;

    PyObject_GC_UnTrack(op);
    (void)datagram_clear(op);
    kolk_datagram_unref(self->datagram);
    self->datagram = NULL;
    transport_dealloc(op);
}

static PyType_Slot datagram_slots[] = {
    {Py_tp_doc, "What happens per datagram; see kolk.transports."},
    {Py_tp_dealloc, datagram_dealloc},
    {Py_tp_traverse, datagram_traverse},
    {Py_tp_clear, datagram_clear},
    {Py_tp_methods, datagram_methods},
    {0, NULL},
};

static PyType_Spec datagram_spec = {
    .name = "kolk._kolk.DatagramBase",
    .basicsize = sizeof(DatagramObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = datagram_slots,
};

int
datagram_type_add(PyObject *module, ModuleState *state)
{
    state->datagram_type =
        PyType_FromModuleAndSpec(module, &datagram_spec, state->transport_type);
    if (state->datagram_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, (PyTypeObject *)state->datagram_type);
}
