/* transport_write.c - what is sent. See transport.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * The library joins small writes and copies them. Of a large bytes object it
 * borrows the memory, which nobody can change; other buffers may change as
 * soon as write() has returned, so what the kernel does not take at once is
 * copied.
 *
 * asyncio takes writes from any thread that has the GIL. The library does not;
 * so those of another thread than the loop's are handed over to it.
 */
#include "errors.h"
#include "transport.h"

#include <errno.h>

enum {
    WRITE_BORROWS = 64 * 1024, /* bytes, from which on nothing is copied */
    WRITE_PIECES = 16,         /* of writelines(), that need no memory */
};

#if PY_VERSION_HEX >= 0x030E0000
#define WRITE_TYPES "bytes, bytearray, or memoryview object"
#else
#define WRITE_TYPES "bytes-like object"
#endif

/* ---- errors ---- */

/* Nothing can be written any more. asyncio says so after a number of times. */
int
transport_write_lost(TransportObject *self)
{
    enum { WRITES_BEFORE_WARNING = 4 };

    self->is_broken = true;
    if (self->lost_writes++ < WRITES_BEFORE_WARNING) {
        return 0;
    }
    PyObject *result =
        PyObject_CallMethod((PyObject *)self, "_warn_lost", NULL);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

int
transport_call_in_loop(TransportObject *self, const char *method,
                       PyObject *args)
{
    PyObject *bound =
        args != NULL ? PyObject_GetAttrString((PyObject *)self, method) : NULL;
    PyObject *first = bound != NULL ? PyTuple_Pack(1, bound) : NULL;
    PyObject *all = first != NULL ? PySequence_Concat(first, args) : NULL;
    PyObject *soon = all != NULL ? PyObject_GetAttrString(
                         (PyObject *)self->loop, "call_soon_threadsafe")
                                 : NULL;
    PyObject *result = soon != NULL ? PyObject_CallObject(soon, all) : NULL;

    Py_XDECREF(soon);
    Py_XDECREF(all);
    Py_XDECREF(first);
    Py_XDECREF(bound);
    Py_XDECREF(args);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* What the library said of bytes that were to be written. */
static int
write_failed(TransportObject *self, int err, const void *data, size_t size)
{
    if (err == -KOLK_EMISUSE) {
        return transport_call_in_loop(
            self, "write", Py_BuildValue("(y#)", data, (Py_ssize_t)size));
    }
    if (err == -EPIPE || err == -ESHUTDOWN) {
        return transport_write_lost(self);
    }
    return error_set(err);
}

/* Objects to a write after the end, or during sendfile(). */
static int
write_check(TransportObject *self, const char *method)
{
    if (transport_check_init(self) < 0) {
        return -1;
    }
    if (self->is_eof && !self->is_pipe) {
        PyErr_Format(PyExc_RuntimeError, "Cannot call %s() after write_eof()",
                     method);
        return -1;
    }
    if (self->sendfile != NULL) {
        PyErr_Format(PyExc_RuntimeError,
                     "unable to %s; sendfile is in progress", method);
        return -1;
    }
    return 0;
}

/* ---- writing ---- */

typedef struct WriteChunk {
    kolk_chunk chunk;
    PyObject *bytes; /* strong */
} WriteChunk;

static void
write_released(kolk_chunk *chunk)
{
    WriteChunk *self = KOLK_CONTAINER_OF(chunk, WriteChunk, chunk);
    PyObject *bytes = self->bytes;

    PyMem_Free(self);
    Py_DECREF(bytes);
}

static int
write_borrowing(TransportObject *self, PyObject *bytes)
{
    WriteChunk *chunk = PyMem_Malloc(sizeof *chunk);

    if (chunk == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    *chunk = (WriteChunk){
        .chunk = {.data = PyBytes_AS_STRING(bytes),
                  .size = (size_t)PyBytes_GET_SIZE(bytes),
                  .released = write_released},
        .bytes = Py_NewRef(bytes),
    };
    int err = kolk_transport_write_chunk(self->transport, &chunk->chunk);
    if (err < 0) {
        PyMem_Free(chunk);
        Py_DECREF(bytes);
        return write_failed(self, err, PyBytes_AS_STRING(bytes),
                            (size_t)PyBytes_GET_SIZE(bytes));
    }
    return 0;
}

static int
write_bytes(TransportObject *self, const void *data, size_t size)
{
    int err = kolk_transport_write(self->transport, data, size);

    return KOLK_LIKELY(err == 0) ? 0 : write_failed(self, err, data, size);
}

static int
write_buffer(TransportObject *self, PyObject *data)
{
    Py_buffer view;

    if (!PyByteArray_Check(data) && !PyMemoryView_Check(data)
        && !PyBytes_Check(data)) {
        PyObject *name = PyType_GetName(Py_TYPE(data));

        if (name != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "data argument must be a " WRITE_TYPES ", not %R",
                         name);
            Py_DECREF(name);
        }
        return -1;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int err = view.len == 0 ? 0
              : transport_is_shut(self)
                  ? transport_write_lost(self)
                  : write_bytes(self, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return err;
}

PyDoc_STRVAR(transport_write_doc, "write($self, data, /)\n--\n\n"
                                  "Send data; never waits.");

static PyObject *
transport_write(PyObject *op, PyObject *data)
{
    TransportObject *self = (TransportObject *)op;
    int err;

    if (KOLK_UNLIKELY(!PyBytes_CheckExact(data))) {
        err = write_check(self, "write");
        err = err == 0 ? write_buffer(self, data) : err;
    } else if (KOLK_UNLIKELY(transport_is_shut(self) || self->is_eof
                             || self->sendfile != NULL
                             || self->transport == NULL)) {
        err = write_check(self, "write");
        err = err == 0 && PyBytes_GET_SIZE(data) > 0
                  ? transport_write_lost(self)
                  : err;
    } else if (PyBytes_GET_SIZE(data) >= WRITE_BORROWS) {
        err = write_borrowing(self, data);
    } else {
        err = write_bytes(self, PyBytes_AS_STRING(data),
                          (size_t)PyBytes_GET_SIZE(data));
    }
    if (err < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- several at once ---- */

typedef struct WriteLines {
    PyObject *list; /* strong: what PySequence_Fast() made */
    Py_buffer *views;
    struct iovec *pieces;
    Py_ssize_t count; /* of both */
    Py_buffer few_views[WRITE_PIECES];
    struct iovec few_pieces[WRITE_PIECES];
} WriteLines;

static void
lines_fini(WriteLines *self)
{
    for (Py_ssize_t i = 0; i < self->count; i++) {
        PyBuffer_Release(&self->views[i]);
    }
    if (self->views != self->few_views) {
        PyMem_Free(self->views);
        PyMem_Free(self->pieces);
    }
    Py_CLEAR(self->list);
}

static int
lines_init(WriteLines *self, PyObject *lines)
{
    self->count = 0;
    self->views = self->few_views;
    self->pieces = self->few_pieces;
    self->list = PySequence_Fast(lines, "can only join an iterable");
    if (self->list == NULL) {
        return -1;
    }
    Py_ssize_t size = PySequence_Fast_GET_SIZE(self->list);
    if (size > WRITE_PIECES) {
        self->views = PyMem_New(Py_buffer, size);
        self->pieces = PyMem_New(struct iovec, size);
        if (self->views == NULL || self->pieces == NULL) {
            lines_fini(self);
            (void)PyErr_NoMemory();
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        Py_buffer *view = &self->views[i];

        if (i >= PySequence_Fast_GET_SIZE(self->list)) {
            break; /* a buffer's own code has shortened the list */
        }
        if (PyObject_GetBuffer(PySequence_Fast_GET_ITEM(self->list, i), view,
                               PyBUF_SIMPLE)
            < 0) {
            lines_fini(self);
            return -1;
        }
        self->pieces[i] = (struct iovec){view->buf, (size_t)view->len};
        self->count++;
    }
    return 0;
}

/* From another thread: as one piece. */
static int
lines_elsewhere(TransportObject *self, const WriteLines *lines)
{
    PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
    PyObject *joined =
        empty != NULL ? PyObject_CallMethod(empty, "join", "O", lines->list)
                      : NULL;

    Py_XDECREF(empty);
    return joined != NULL ? transport_call_in_loop(self, "write",
                                                   Py_BuildValue("(N)", joined))
                          : -1;
}

static int
lines_write(TransportObject *self, const WriteLines *lines)
{
    int err = kolk_transport_writev(self->transport, lines->pieces,
                                    (int)lines->count);

    if (err == -KOLK_EMISUSE) {
        return lines_elsewhere(self, lines);
    }
    if (err == -EPIPE || err == -ESHUTDOWN) {
        return transport_write_lost(self);
    }
    return err < 0 ? error_set(err) : 0;
}

PyDoc_STRVAR(transport_writelines_doc,
             "writelines($self, list_of_data, /)\n--\n\n"
             "Send each of these; never waits.");

static PyObject *
transport_writelines(PyObject *op, PyObject *list)
{
    TransportObject *self = (TransportObject *)op;
    WriteLines lines;

    if (write_check(self, "writelines") < 0 || lines_init(&lines, list) < 0) {
        return NULL;
    }
    int err = lines.count == 0          ? 0
              : transport_is_shut(self) ? transport_write_lost(self)
                                        : lines_write(self, &lines);
    lines_fini(&lines);
    if (err < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- the end of the stream ---- */

PyDoc_STRVAR(transport_write_eof_doc,
             "write_eof($self, /)\n--\n\n"
             "End the stream behind what was written; reading goes on.");

static PyObject *
transport_write_eof(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    if (transport_check_init(self) < 0) {
        return NULL;
    }
    if (self->is_closing || self->is_eof) {
        Py_RETURN_NONE;
    }
    if (self->is_pipe) { /* has no other way to say so */
        if (transport_close(self) < 0) {
            return NULL;
        }
        Py_RETURN_NONE;
    }
    self->is_eof = true;
    int err = kolk_transport_write_eof(self->transport);
    if (err == -KOLK_EMISUSE) {
        self->is_eof = false;
        err = transport_call_in_loop(self, "write_eof", PyTuple_New(0));
    } else if (err == -ESHUTDOWN || err == -EPIPE) {
        err = 0;
    } else if (err < 0) {
        err = error_set(err);
    }
    if (err < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(transport_can_write_eof_doc, "can_write_eof($self, /)\n--\n\n"
                                          "True.");

static PyObject *
transport_can_write_eof(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_TRUE;
}

/* ---- marks ---- */

/* Calls a method of the protocol's that has no arguments. */
static void
write_tell(TransportObject *self, PyObject *method, const char *message)
{
    if (self->protocol == NULL) {
        return;
    }
    PyObject *protocol = Py_NewRef(self->protocol);
    PyObject *result = PyObject_CallMethodNoArgs(protocol, method);

    Py_DECREF(protocol);
    if (result != NULL) {
        Py_DECREF(result);
    } else {
        transport_report(self, message);
    }
}

void
transport_tell_pause(TransportObject *self)
{
    self->is_writing_paused = true;
    if (transport_note_context(self, &self->write_context) < 0) {
        transport_report(self, "protocol.pause_writing() failed");
        return;
    }
    write_tell(self, self->loop->state->str.pause_writing,
               "protocol.pause_writing() failed");
}

void
transport_pause_writing(kolk_protocol *node, kolk_transport *transport)
{
    TransportObject *self = transport_of(node);

    (void)transport;
    if (!self->is_draining) { /* then it is about the last bytes */
        transport_tell_pause(self);
    }
}

void
transport_tell_resume(TransportObject *self)
{
    PyObject *context = self->write_context;
    TransportStep step;

    self->is_writing_paused = false;
    self->write_context = NULL;
    if (transport_enter(self, context, &step) == 0) {
        write_tell(self, self->loop->state->str.resume_writing,
                   "protocol.resume_writing() failed");
        transport_leave(self, &step);
    } else {
        transport_report(self, "protocol.resume_writing() failed");
    }
    Py_XDECREF(context);
}

void
transport_resume_writing(kolk_protocol *node, kolk_transport *transport)
{
    TransportObject *self = transport_of(node);

    if (self->is_writing_paused) {
        transport_tell_resume(self); /* may write more */
    }
    if (self->is_draining && kolk_transport_buffer_size(transport) == 0) {
        self->is_draining = false;
        kolk_transport_close(transport);
    }
}

PyDoc_STRVAR(transport_set_limits_doc,
             "_set_limits($self, high, low, /)\n--\n\n"
             "Set the marks, in bytes.");

static PyObject *
transport_set_limits(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    TransportObject *self = (TransportObject *)op;

    if (transport_check_init(self) < 0) {
        return NULL;
    }
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "_set_limits() takes high and low");
        return NULL;
    }
    double high = PyFloat_AsDouble(args[0]); /* any number, however large */
    double low = PyErr_Occurred() == NULL ? PyFloat_AsDouble(args[1]) : 0;
    if (PyErr_Occurred() != NULL) {
        return NULL;
    }
    const double most = (double)(PY_SSIZE_T_MAX / 2);
    if (transport_is_open(self) && !self->is_draining) {
        int err = kolk_transport_set_write_limits(
            self->transport, high < most ? (size_t)high : SIZE_MAX / 4,
            low < most ? (size_t)low : SIZE_MAX / 4);
        if (err < 0) {
            (void)error_set(err);
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(transport_get_write_buffer_size_doc,
             "get_write_buffer_size($self, /)\n--\n\n"
             "How many bytes wait to be sent.");

static PyObject *
transport_get_write_buffer_size(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    return PyLong_FromSize_t(transport_is_open(self)
                                 ? kolk_transport_buffer_size(self->transport)
                                 : 0);
}

PyMethodDef transport_write_methods[] = {
    {"write", transport_write, METH_O, transport_write_doc},
    {"writelines", transport_writelines, METH_O, transport_writelines_doc},
    {"write_eof", transport_write_eof, METH_NOARGS, transport_write_eof_doc},
    {"can_write_eof", transport_can_write_eof, METH_NOARGS,
     transport_can_write_eof_doc},
    {"_set_limits", (PyCFunction)(void (*)(void))transport_set_limits,
     METH_FASTCALL, transport_set_limits_doc},
    {"get_write_buffer_size", transport_get_write_buffer_size, METH_NOARGS,
     transport_get_write_buffer_size_doc},
    {NULL, NULL, 0, NULL},
};
