/* loop_watch.c - readers and writers: callbacks on descriptors.
 *
 * SPDX-License-Identifier: MIT
 *
 * One watch of the library serves a descriptor's reader and its writer, so
 * that the reader runs first when both are ready, as in asyncio. The struct
 * stays when both have gone: programs come back with the same number, and a
 * callback may be on the stack.
 */
#include "args.h"
#include "convert.h"
#include "datagram.h"
#include "errors.h"
#include "handle.h"
#include "loop.h"

#include <errno.h>

struct LoopWatch {
    kolk_watch watch;
    LoopObject *loop;     /* borrowed: it owns us */
    unsigned background;  /* KOLK_BACKGROUND, or 0 */
    HandleObject *reader; /* strong, or NULL */
    HandleObject *writer; /* strong, or NULL */
};

static int
watch_update(LoopWatch *self)
{
    unsigned events = (self->reader != NULL ? KOLK_READABLE : 0)
                      | (self->writer != NULL ? KOLK_WRITABLE : 0);

    if (events == 0) {
        kolk_watch_stop(self->loop->loop, &self->watch);
        return 0;
    }
    return kolk_watch_start(self->loop->loop, &self->watch,
                            events | self->background);
}

/* Runs the handle in `slot`, unless it is not `expected` any more. */
static void
watch_run_slot(LoopWatch *self, HandleObject **slot, HandleObject *expected)
{
    if (expected == NULL || *slot != expected) {
        return;
    }
    if (expected->is_cancelled) {
        *slot = NULL;
        if (self->loop->loop != NULL) {
            (void)watch_update(self); /* fewer events: cannot fail */
        }
        Py_DECREF(expected);
        return;
    }
    if (self->loop->hooked == NULL
        || !loop_hook_add(self->loop, (PyObject *)expected)) {
        handle_run(expected);
    }
}

static void
watch_ready(kolk_watch *watch)
{
    LoopWatch *self = KOLK_CONTAINER_OF(watch, LoopWatch, watch);
    unsigned ready = watch->ready;
    HandleObject *reader = ready & KOLK_READABLE ? self->reader : NULL;
    HandleObject *writer = ready & KOLK_WRITABLE ? self->writer : NULL;

    /* Either callback may replace or remove the other. */
    Py_XINCREF(reader);
    Py_XINCREF(writer);
    watch_run_slot(self, &self->reader, reader);
    if (self->loop->raised == NULL) {
        watch_run_slot(self, &self->writer, writer);
    }
    Py_XDECREF(reader);
    Py_XDECREF(writer);
}

/* ---- by number ---- */

static LoopWatch *
watch_find(LoopObject *loop, int fd)
{
    return fd < loop->watches_size ? loop->watches[fd] : NULL;
}

static int
watch_grow(LoopObject *loop, int fd)
{
    int size = loop->watches_size > 0 ? loop->watches_size : 64;

    while (size <= fd) {
        size *= 2;
    }
    LoopWatch **watches = PyMem_Resize(loop->watches, LoopWatch *, size);
    if (watches == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    for (int i = loop->watches_size; i < size; i++) {
        watches[i] = NULL;
    }
    loop->watches = watches;
    loop->watches_size = size;
    return 0;
}

static LoopWatch *
watch_get(LoopObject *loop, int fd)
{
    LoopWatch *self = watch_find(loop, fd);

    if (self != NULL) {
        return self;
    }
    if (fd >= loop->watches_size && watch_grow(loop, fd) < 0) {
        return NULL;
    }
    self = PyMem_Calloc(1, sizeof *self);
    if (self == NULL) {
        (void)PyErr_NoMemory();
        return NULL;
    }
    kolk_watch_init(&self->watch, fd, watch_ready, NULL);
    self->loop = loop;
    loop->watches[fd] = self;
    return self;
}

int
loop_watches_visit(LoopObject *self, visitproc visit, void *arg)
{
    for (int fd = 0; fd < self->watches_size; fd++) {
        if (self->watches[fd] != NULL) {
            Py_VISIT(self->watches[fd]->reader);
            Py_VISIT(self->watches[fd]->writer);
        }
    }
    return 0;
}

void
loop_watches_free(LoopObject *self)
{
    LoopWatch **watches = self->watches;
    int size = self->watches_size;

    self->watches = NULL;
    self->watches_size = 0;
    for (int fd = 0; fd < size; fd++) {
        if (watches[fd] != NULL) {
            Py_XDECREF(watches[fd]->reader);
            Py_XDECREF(watches[fd]->writer);
            PyMem_Free(watches[fd]);
        }
    }
    PyMem_Free(watches);
}

/* ---- transports' descriptors ---- */

typedef struct WatchSearch {
    kolk_visitor visitor;
    int fd;
    PyObject *found; /* borrowed */
} WatchSearch;

static int
watch_search(kolk_visitor *visitor, kolk_node_kind kind, void *node)
{
    WatchSearch *self = KOLK_CONTAINER_OF(visitor, WatchSearch, visitor);

    PyObject *object = kind == KOLK_NODE_TRANSPORT  ? transport_object(node)
                       : kind == KOLK_NODE_DATAGRAM ? datagram_object(node)
                                                    : NULL;

    self->found =
        object != NULL && transport_has_fd(object, self->fd) ? object : NULL;
    return self->found != NULL;
}

PyDoc_STRVAR(loop_transport_of_doc, "_transport_of($self, fd, /)\n--\n\n"
                                    "The open transport that has fd, or None.");

static PyObject *
loop_transport_of(PyObject *op, PyObject *arg)
{
    LoopObject *self = (LoopObject *)op;
    int fd = fd_from_py(self->state, arg);
    WatchSearch search = {.visitor = {watch_search}, .fd = fd};

    if (fd < 0) {
        return NULL;
    }
    if (self->loop != NULL) {
        (void)kolk_loop_visit(self->loop, &search.visitor);
    }
    return Py_NewRef(search.found != NULL ? search.found : Py_None);
}

/* Raises RuntimeError, as asyncio does, if a transport has `fd`. */
static int
watch_check_transport(LoopObject *loop, int fd)
{
    PyObject *result = PyObject_CallMethod((PyObject *)loop,
                                           "_ensure_fd_no_transport", "i", fd);

    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* ---- methods ---- */

/* Puts `handle`, or NULL, into a slot of `self`. Returns whether another one
 * was there, which is cancelled; -1 with an exception set. */
static int
watch_set(LoopWatch *self, HandleObject **slot, HandleObject *handle)
{
    HandleObject *old = *slot;

    *slot = handle;
    int err = watch_update(self);
    if (err < 0) {
        *slot = old;
        if (err == -EBUSY
            && watch_check_transport(self->loop, self->watch.fd) < 0) {
            return -1;
        }
        return error_set(err);
    }
    Py_XINCREF(handle);
    if (old == NULL) {
        return 0;
    }
    err = handle_cancel(old);
    Py_DECREF(old);
    return err < 0 ? -1 : 1;
}

static const char *const watch_names[] = {"fd", "callback", NULL};

/* A handle for (fd, callback, *args), which is watched for from now on. */
static PyObject *
loop_watch_add(LoopObject *loop, bool is_writer, const char *method,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ArgsCall call;

    if (args_split(loop->state, method, watch_names, 2, args, nargs, kwnames,
                   &call)
            < 0
        || loop_check_open(loop) < 0) {
        return NULL;
    }
    int fd = fd_from_py(loop->state, call.first[0]);
    LoopWatch *self = fd >= 0 ? watch_get(loop, fd) : NULL;
    if (self == NULL) {
        return NULL;
    }
    HandleObject *handle = handle_new(loop, HANDLE_SOON, call.first[1],
                                      call.args, call.nargs, call.context);
    if (handle == NULL) {
        return NULL;
    }
    handle_track(handle); /* it is not lent itself */
    if (watch_set(self, is_writer ? &self->writer : &self->reader, handle)
        < 0) {
        Py_DECREF(handle);
        return NULL;
    }
    return (PyObject *)handle;
}

/* None for a handle that nobody asked for, or NULL. */
static PyObject *
loop_none(PyObject *handle /* steals */)
{
    if (handle == NULL) {
        return NULL;
    }
    Py_DECREF(handle);
    Py_RETURN_NONE;
}

static PyObject *
loop_watch_remove(LoopObject *loop, bool is_writer, PyObject *arg)
{
    if (loop->loop == NULL) {
        Py_RETURN_FALSE;
    }
    int fd = fd_from_py(loop->state, arg);
    if (fd < 0) {
        return NULL;
    }
    LoopWatch *self = watch_find(loop, fd);
    if (self == NULL) {
        Py_RETURN_FALSE;
    }
    int was = watch_set(self, is_writer ? &self->writer : &self->reader, NULL);
    return was < 0 ? NULL : PyBool_FromLong(was);
}

/* For transports of asyncio's own, whose descriptor may be no number. */
static PyObject *
loop_watch_remove_any(LoopObject *loop, bool is_writer, PyObject *arg)
{
    PyObject *was = loop_watch_remove(loop, is_writer, arg);

    if (was == NULL && PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    return was;
}

/* The same for the program, which may not meddle with transports. */
static PyObject *
loop_watch_remove_checked(LoopObject *loop, bool is_writer, PyObject *arg)
{
    int fd = loop->loop != NULL ? fd_from_py(loop->state, arg) : -1;
    LoopWatch *self = fd >= 0 ? watch_find(loop, fd) : NULL;

    if (fd >= 0
        && (self == NULL || (self->reader == NULL && self->writer == NULL))
        && watch_check_transport(loop, fd) < 0) {
        return NULL;
    }
    PyErr_Clear(); /* said again below */
    return loop_watch_remove(loop, is_writer, arg);
}

PyDoc_STRVAR(loop_add_reader_doc,
             "add_reader($self, fd, callback, /, *args)\n--\n\n"
             "Call callback(*args) whenever fd is readable.");

static PyObject *
loop_add_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return loop_none(loop_watch_add((LoopObject *)op, false, "add_reader", args,
                                    nargs, NULL));
}

PyDoc_STRVAR(loop__add_reader_doc,
             "_add_reader($self, fd, callback, /, *args, context=None)\n--\n\n"
             "The same; return the Handle.");

static PyObject *
loop__add_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    return loop_watch_add((LoopObject *)op, false, "_add_reader", args, nargs,
                          kwnames);
}

PyDoc_STRVAR(loop_watched_doc, "_watched($self, fd, /)\n--\n\n"
                               "What fd is watched for: 1 reading, 2 writing.");

static PyObject *
loop_watched(PyObject *op, PyObject *arg)
{
    LoopObject *loop = (LoopObject *)op;
    int fd = fd_from_py(loop->state, arg);

    if (fd < 0) {
        PyErr_Clear(); /* no number, so it is not watched */
        return PyLong_FromLong(0);
    }
    LoopWatch *self = watch_find(loop, fd);
    return PyLong_FromLong(self == NULL ? 0
                                        : (self->reader != NULL ? 1 : 0)
                                              + (self->writer != NULL ? 2 : 0));
}

PyDoc_STRVAR(loop_set_background_doc,
             "_set_background($self, fd, on, /)\n--\n\n"
             "Is watching fd no reason to poll while there is work?");

static PyObject *
loop_set_background(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    LoopObject *loop = (LoopObject *)op;

    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "_set_background() takes fd and on");
        return NULL;
    }
    int on = PyObject_IsTrue(args[1]);
    if (on < 0 || loop_check_open(loop) < 0) {
        return NULL;
    }
    int fd = fd_from_py(loop->state, args[0]);
    LoopWatch *self = fd >= 0 ? watch_get(loop, fd) : NULL;
    if (self == NULL) {
        return NULL;
    }
    self->background = on ? KOLK_BACKGROUND : 0;
    int err = watch_update(self);
    if (err < 0) {
        (void)error_set(err);
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(loop_add_writer_doc,
             "add_writer($self, fd, callback, /, *args)\n--\n\n"
             "Call callback(*args) whenever fd is writable.");

static PyObject *
loop_add_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return loop_none(loop_watch_add((LoopObject *)op, true, "add_writer", args,
                                    nargs, NULL));
}

PyDoc_STRVAR(loop__add_writer_doc,
             "_add_writer($self, fd, callback, /, *args, context=None)\n--\n\n"
             "The same; return the Handle.");

static PyObject *
loop__add_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    return loop_watch_add((LoopObject *)op, true, "_add_writer", args, nargs,
                          kwnames);
}

PyDoc_STRVAR(loop_remove_reader_doc,
             "remove_reader($self, fd, /)\n--\n\n"
             "Stop calling fd's reader; was there one?");

static PyObject *
loop_remove_reader(PyObject *op, PyObject *arg)
{
    return loop_watch_remove_checked((LoopObject *)op, false, arg);
}

static PyObject *
loop__remove_reader(PyObject *op, PyObject *arg)
{
    return loop_watch_remove_any((LoopObject *)op, false, arg);
}

PyDoc_STRVAR(loop_remove_writer_doc,
             "remove_writer($self, fd, /)\n--\n\n"
             "Stop calling fd's writer; was there one?");

static PyObject *
loop_remove_writer(PyObject *op, PyObject *arg)
{
    return loop_watch_remove_checked((LoopObject *)op, true, arg);
}

static PyObject *
loop__remove_writer(PyObject *op, PyObject *arg)
{
    return loop_watch_remove_any((LoopObject *)op, true, arg);
}

PyMethodDef loop_watch_methods[] = {
    {"add_reader", ARGS_METHOD(loop_add_reader), METH_FASTCALL,
     loop_add_reader_doc},
    {"add_writer", ARGS_METHOD(loop_add_writer), METH_FASTCALL,
     loop_add_writer_doc},
    {"remove_reader", loop_remove_reader, METH_O, loop_remove_reader_doc},
    {"remove_writer", loop_remove_writer, METH_O, loop_remove_writer_doc},
    {"_add_reader", ARGS_METHOD(loop__add_reader), ARGS_FLAGS,
     loop__add_reader_doc},
    {"_add_writer", ARGS_METHOD(loop__add_writer), ARGS_FLAGS,
     loop__add_writer_doc},
    {"_remove_reader", loop__remove_reader, METH_O, loop_remove_reader_doc},
    {"_remove_writer", loop__remove_writer, METH_O, loop_remove_writer_doc},
    {"_transport_of", loop_transport_of, METH_O, loop_transport_of_doc},
    {"_watched", loop_watched, METH_O, loop_watched_doc},
    {"_set_background", ARGS_METHOD(loop_set_background), METH_FASTCALL,
     loop_set_background_doc},
    {NULL, NULL, 0, NULL},
};
