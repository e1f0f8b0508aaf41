/* transport_read.c - what is received. See transport.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * A protocol of asyncio.BufferedProtocol's kind has the bytes put into a
 * buffer of its own. It is held from get_buffer() until the bytes are there,
 * or, where none were, until the end of the step, so that the protocol may
 * resize it whenever its own code runs.
 */
#include "transport.h"

PyObject *
transport_context(const TransportObject *self)
{
    return self->context != NULL ? Py_NewRef(self->context)
                                 : PyContext_CopyCurrent();
}

/* ---- the protocol's own buffer ---- */

void
transport_release_view(TransportObject *self)
{
    if (self->has_view) {
        self->has_view = false;
        PyBuffer_Release(&self->view);
    }
}

void
transport_view_unused(kolk_call *call)
{
    transport_release_view(KOLK_CONTAINER_OF(call, TransportObject, view_call));
}

/* Asks the protocol for a buffer. 0, or -1 with an exception set, and in
 * `*message` what failed. */
static int
read_ask_for_buffer(TransportObject *self, const char **message)
{
    PyObject *args[] = {self->protocol, self->loop->state->minus_one};
    PyObject *buffer = PyObject_VectorcallMethod(
        self->loop->state->str.get_buffer, args, 2, NULL);
    Py_ssize_t size = buffer != NULL ? PyObject_Size(buffer) : -1;

    *message = "Fatal error: protocol.get_buffer() call failed.";
    if (size == 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "get_buffer() returned an empty buffer");
    }
    if (size <= 0) {
        Py_XDECREF(buffer);
        return -1;
    }
    *message = "Fatal read error on socket transport";
    int err = PyObject_GetBuffer(buffer, &self->view, PyBUF_WRITABLE);
    Py_DECREF(buffer);
    self->has_view = err == 0;
    return err;
}

size_t
transport_get_buffer(kolk_protocol *node, kolk_transport *transport,
                     size_t hint, void **buffer)
{
    TransportObject *self = transport_of(node);
    const char *message;
    TransportStep step;

    (void)transport;
    (void)hint;
    transport_release_view(self);
    if (self->protocol == NULL || self->is_closing
        || transport_enter(self, self->read_context, &step) < 0) {
        PyErr_Clear(); /* then it fails again, and is told, with the bytes */
        return 0;
    }
    if (read_ask_for_buffer(self, &message) < 0) {
        transport_failed(self, message);
    }
    transport_leave(self, &step);
    if (!self->has_view) {
        return 0;
    }
    if (!kolk_call_is_pending(&self->view_call)
        && kolk_step_end(self->loop->loop, &self->view_call) < 0) {
        transport_release_view(self);
        return 0; /* the loop's memory, then, from which it is copied */
    }
    *buffer = self->view.buf;
    return (size_t)self->view.len;
}

/* ---- bytes ---- */

static void
read_call(TransportObject *self, PyObject *method,
          PyObject *argument /* steals */, const char *message)
{
    TransportStep step;

    if (argument == NULL
        || transport_enter(self, self->read_context, &step) < 0) {
        Py_XDECREF(argument);
        if (PyErr_Occurred()) {
            transport_failed(self, message);
        }
        return;
    }
    PyObject *protocol = Py_NewRef(self->protocol);
    PyObject *args[] = {protocol, argument};
    PyObject *result = PyObject_VectorcallMethod(method, args, 2, NULL);

    Py_DECREF(argument);
    Py_DECREF(protocol);
    if (KOLK_LIKELY(result != NULL)) {
        Py_DECREF(result);
    } else if (self->is_pipe) {
        transport_report(self, NULL);
    } else {
        transport_failed(self, message);
    }
    transport_leave(self, &step);
}

void
transport_data_received(kolk_protocol *node, kolk_transport *transport,
                        const void *data, size_t size)
{
    TransportObject *self = transport_of(node);
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);

    (void)transport;
    transport_release_view(self);
    if (self->protocol == NULL || self->is_closing) {
        Py_XDECREF(bytes);
        return;
    }
    read_call(self, self->loop->state->str.data_received, bytes,
              "Fatal error: protocol.data_received() call failed.");
}

/* Bytes that are not in the protocol's buffer, because get_buffer() was not
 * asked or could not be held: asks for it, and copies. */
static bool
read_copy(TransportObject *self, const void *data, size_t size)
{
    const char *message;

    if (read_ask_for_buffer(self, &message) < 0) {
        transport_failed(self, message);
        return false;
    }
    if ((size_t)self->view.len < size) {
        PyErr_SetString(PyExc_BufferError, "get_buffer() returned too small "
                                           "a buffer");
        transport_failed(self, message);
        return false;
    }
    memcpy(self->view.buf, data, size);
    return true;
}

void
transport_buffer_updated(kolk_protocol *node, kolk_transport *transport,
                         const void *data, size_t size)
{
    TransportObject *self = transport_of(node);

    (void)transport;
    if (self->protocol == NULL || self->is_closing) {
        return;
    }
    if ((!self->has_view || data != self->view.buf)
        && !read_copy(self, data, size)) {
        return;
    }
    transport_release_view(self);
    read_call(self, self->loop->state->str.buffer_updated,
              PyLong_FromSize_t(size),
              "Fatal error: protocol.buffer_updated() call failed.");
}

/* ---- the end of the stream ---- */

/* Lets the protocol say whether it wants to go on writing. */
static void
read_tell_eof(TransportObject *self)
{
    PyObject *result = PyObject_CallMethodNoArgs(
        self->protocol, self->loop->state->str.eof_received);
    int keeps = result != NULL ? PyObject_IsTrue(result) : -1;

    Py_XDECREF(result);
    if (keeps < 0) {
        transport_failed(self,
                         "Fatal error: protocol.eof_received() call failed.");
    } else if (keeps == 0 && transport_close(self) < 0) {
        transport_report(self, NULL);
    }
}

/* asyncio tells a pipe's protocol in the next turn, and asks it nothing. */
static void
read_tell_pipe_eof(TransportObject *self)
{
    PyObject *result = PyObject_CallMethod((PyObject *)self, "_tell_eof", NULL);

    if (result == NULL) {
        transport_report(self, NULL);
    }
    Py_XDECREF(result);
    if (transport_close(self) < 0) {
        transport_report(self, NULL);
    }
}

bool
transport_eof_received(kolk_protocol *node, kolk_transport *transport)
{
    TransportObject *self = transport_of(node);
    TransportStep step;

    (void)transport;
    transport_release_view(self);
    if (self->protocol == NULL || self->is_closing) {
        return true; /* it closes by itself */
    }
    if (transport_enter(self, self->read_context, &step) < 0) {
        transport_failed(self, NULL);
        return true;
    }
    if (self->loop->debug) {
        loop_report_result(self->loop,
                           PyObject_CallMethod((PyObject *)self, "_log", "s",
                                               "%r received EOF"));
    }
    if (self->is_pipe) {
        read_tell_pipe_eof(self);
    } else {
        read_tell_eof(self);
    }
    transport_leave(self, &step);
    return true;
}

/* ---- methods ---- */

static bool
read_is_on(const TransportObject *self)
{
    return !self->is_closing && !self->is_paused;
}

/* Reads on, from now on in a context of its own. */
static int
read_resume(TransportObject *self)
{
    if (transport_note_context(self, &self->read_context) < 0) {
        return -1;
    }
    if (transport_is_open(self)) {
        kolk_transport_resume_reading(self->transport);
    }
    return 0;
}

PyDoc_STRVAR(transport_start_reading_doc,
             "_start_reading($self, /)\n--\n\n"
             "connection_made() has been called: read, unless it has paused.");

static PyObject *
transport_start_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    if (transport_check_init(self) < 0
        || (read_is_on(self) && read_resume(self) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
read_log(TransportObject *self, const char *message)
{
    if (self->loop->debug) {
        return PyObject_CallMethod((PyObject *)self, "_log", "s", message);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(transport_pause_reading_doc, "pause_reading($self, /)\n--\n\n"
                                          "Receive nothing until "
                                          "resume_reading().");

static PyObject *
transport_pause_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    if (transport_check_init(self) < 0) {
        return NULL;
    }
    if (!read_is_on(self)) {
        Py_RETURN_NONE;
    }
    self->is_paused = true;
    if (transport_is_open(self)) {
        kolk_transport_pause_reading(self->transport);
    }
    return read_log(self, "%r pauses reading");
}

PyDoc_STRVAR(transport_resume_reading_doc, "resume_reading($self, /)\n--\n\n"
                                           "Receive again.");

static PyObject *
transport_resume_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    if (transport_check_init(self) < 0) {
        return NULL;
    }
    if (self->is_closing || !self->is_paused) {
        Py_RETURN_NONE;
    }
    self->is_paused = false;
    if (read_resume(self) < 0) {
        return NULL;
    }
    return read_log(self, "%r resumes reading");
}

PyDoc_STRVAR(transport_is_reading_doc, "is_reading($self, /)\n--\n\n"
                                       "Is it neither paused nor closing?");

static PyObject *
transport_is_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(read_is_on((TransportObject *)op));
}

PyMethodDef transport_read_methods[] = {
    {"_start_reading", transport_start_reading, METH_NOARGS,
     transport_start_reading_doc},
    {"pause_reading", transport_pause_reading, METH_NOARGS,
     transport_pause_reading_doc},
    {"resume_reading", transport_resume_reading, METH_NOARGS,
     transport_resume_reading_doc},
    {"is_reading", transport_is_reading, METH_NOARGS, transport_is_reading_doc},
    {NULL, NULL, 0, NULL},
};
