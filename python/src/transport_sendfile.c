/* transport_sendfile.c - files on their way into a connection. See transport.h.
 *
 * SPDX-License-Identifier: MIT
 *
 * The file's descriptor is duplicated: the program may close its own as soon
 * as it has cancelled the task that waits.
 */
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "errors.h"

struct TransportSendfile {
    kolk_sendfile node;
    TransportObject *transport; /* strong */
    PyObject *ended;            /* strong: called with error, or 0, and sent */
    int fd;                     /* ours */
};

static void
sendfile_free(TransportSendfile *self)
{
    TransportObject *transport = self->transport;
    PyObject *ended = self->ended;

    if (transport->sendfile == self) {
        transport->sendfile = NULL;
    }
    (void)close(self->fd);
    PyMem_Free(self);
    Py_DECREF(ended);
    Py_DECREF(transport);
}

static void
sendfile_ended(kolk_sendfile *node)
{
    TransportSendfile *self = KOLK_CONTAINER_OF(node, TransportSendfile, node);
    LoopObject *loop =
        (LoopObject *)Py_NewRef((PyObject *)self->transport->loop);
    PyObject *ended = Py_NewRef(self->ended);
    int error = node->result < 0 ? -node->result : 0;
    unsigned long long sent = node->sent;

    sendfile_free(self);
    PyObject *result = PyObject_CallFunction(ended, "iK", error, sent);
    Py_DECREF(ended);
    if (result != NULL) {
        Py_DECREF(result);
    } else {
        loop_report_error(loop, "Exception in sendfile()");
    }
    Py_DECREF(loop);
}

static void
sendfile_dropped(kolk_sendfile *node)
{
    sendfile_free(KOLK_CONTAINER_OF(node, TransportSendfile, node));
}

PyDoc_STRVAR(transport_sendfile_doc,
             "_sendfile($self, fd, offset, count, ended, /)\n--\n\n"
             "Send count bytes, or all for -1, of a regular file; call "
             "ended(errno, sent) then.");

static PyObject *
transport_sendfile(PyObject *op, PyObject *args)
{
    TransportObject *transport = (TransportObject *)op;
    PyObject *ended;
    int fd;
    long long offset, count;

    if (!PyArg_ParseTuple(args, "iLLO:_sendfile", &fd, &offset, &count, &ended)
        || transport_check_init(transport) < 0) {
        return NULL;
    }
    TransportSendfile *self = PyMem_Malloc(sizeof *self);
    if (self == NULL) {
        return PyErr_NoMemory();
    }
    self->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (self->fd < 0) {
        PyMem_Free(self);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    self->transport = (TransportObject *)Py_NewRef(op);
    self->ended = Py_NewRef(ended);
    kolk_sendfile_init(&self->node, sendfile_ended, NULL, sendfile_dropped);
    int err = kolk_transport_sendfile(transport->transport, &self->node,
                                      self->fd, offset,
                                      count < 0 ? UINT64_MAX : (uint64_t)count);
    if (err < 0) {
        sendfile_free(self);
        (void)error_set(err);
        return NULL;
    }
    transport->sendfile = self;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(transport_cancel_sendfile_doc, "_cancel_sendfile($self, /)\n--\n\n"
                                            "Send no more of the file.");

static PyObject *
transport_cancel_sendfile(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = (TransportObject *)op;

    if (self->sendfile != NULL) {
        kolk_sendfile_cancel(&self->sendfile->node);
    }
    Py_RETURN_NONE;
}

PyMethodDef transport_sendfile_methods[] = {
    {"_sendfile", transport_sendfile, METH_VARARGS, transport_sendfile_doc},
    {"_cancel_sendfile", transport_cancel_sendfile, METH_NOARGS,
     transport_cancel_sendfile_doc},
    {NULL, NULL, 0, NULL},
};
