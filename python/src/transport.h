/* transport.h - connections: what happens to them per event.
 *
 * SPDX-License-Identifier: MIT
 *
 * A TransportObject is the protocol of one of the library's transports, and
 * the base of kolk.Transport and of the transports of pipes, which are in
 * Python (kolk/transports.py) and make them, describe them and bury them.
 *
 * While the connection is open, the library's transport has a reference to the
 * object, which the loop shows to the collector. The descriptor is that of a
 * socket or a file of Python's, which is closed in the end by its own close().
 *
 * Each callback of the program's runs in a context: one for the whole
 * connection if the running version has it so, else a copy of what was current
 * when asyncio would have registered the callback.
 */
#pragma once

#include "loop.h"
#include "state.h"

/* The most that slots of asyncio's transports take. */
enum { TRANSPORT_BASE_SIZE = sizeof(PyObject) + 5 * sizeof(PyObject *) };

typedef struct TransportSendfile TransportSendfile;

typedef struct TransportObject {
    PyObject_HEAD char
        base[TRANSPORT_BASE_SIZE - sizeof(PyObject)]; /* asyncio's, unused */
    kolk_protocol node;
    kolk_transport *transport; /* a reference; NULL before _open() */
    LoopObject *loop;          /* strong; NULL before _open() */
    PyObject *protocol;        /* strong; NULL once it has heard the last */
    int fd;                    /* borrowed */

    /* asyncio's slots, by their names there */
    PyObject *extra;      /* strong dictionary */
    PyObject *high, *low; /* strong: marks, as they were given */

    /* contexts; all strong or NULL */
    PyObject *context;       /* of every callback; NULL: see above */
    PyObject *read_context;  /* of what is received */
    PyObject *write_context; /* of resume_writing() */
    PyObject *lost_context;  /* of the last callback */

    PyObject *lost_error; /* strong: what connection_lost() is told, or NULL */
    Py_buffer view;       /* the protocol's buffer, from get_buffer() */
    kolk_call view_call;  /* gives it up where nothing was read */
    TransportSendfile *sendfile;
    unsigned lost_writes; /* were asked for when nothing could be written */
    bool has_view;
    bool is_pipe;     /* with what asyncio does differently for pipes */
    bool is_paused;   /* reading is, by the program */
    bool is_closing;  /* close() or the like was called, or had to be */
    bool is_draining; /* and it is waited until all is sent */
    bool is_failed;   /* and it is not */
    bool is_eof;      /* write_eof() was called */
    bool is_broken;   /* a write has failed; what came before may be left */
    bool is_over;     /* the library's transport is lost */
    bool is_writing_paused; /* pause_writing() was called */
} TransportObject;

/* ---- transport.c ---- */

/* The object whose protocol `node` is; borrowed. */
static inline TransportObject *
transport_of(kolk_protocol *node)
{
    return KOLK_CONTAINER_OF(node, TransportObject, node);
}

/* Is the connection open, as far as the library is concerned? */
static inline bool
transport_is_open(const TransportObject *self)
{
    return self->transport != NULL && !self->is_over;
}

/* The object that the library's `transport` belongs to, borrowed; NULL if it
 * is none of ours. */
PyObject *transport_object(const kolk_transport *transport);

/* Is it open, and over `fd`? */
bool transport_has_fd(PyObject *op, int fd);

/* Stops reading; what was written is sent, then connection_lost(None). 0, or
 * -1 with an exception set. */
int transport_close(TransportObject *self);

/* Can nothing be written any more? */
static inline bool
transport_is_shut(const TransportObject *self)
{
    return self->is_closing && (!self->is_draining || self->is_pipe);
}

/* Closes at once; connection_lost() is told `error`, or None for NULL. */
void transport_force_close(TransportObject *self, PyObject *error);

/* Takes the exception that is set: it ends the run, or is reported with
 * `message`, and the connection is closed at once. */
void transport_failed(TransportObject *self, const char *message);

/* The same, where the connection goes on. */
void transport_report(TransportObject *self, const char *message);

/* Around a callback: debug mode looks on, and `context` is the current one.
 * Returns 0, or -1 with an exception set. */
typedef struct TransportStep {
    LoopStep step;     /* while debug mode looks on */
    PyObject *context; /* strong, or NULL */
    bool is_observed;
} TransportStep;
int transport_enter(TransportObject *self, PyObject *context,
                    TransportStep *step);
void transport_leave(TransportObject *self, TransportStep *step);

/* The context that a callback which is registered now will run in, new. */
PyObject *transport_context(const TransportObject *self);

/* Puts it into `slot`. 0, or -1 with an exception set. */
int transport_note_context(TransportObject *self, PyObject **slot);

/* 0, or -1 with RuntimeError if the object was never opened. */
int transport_check_init(const TransportObject *self);

int transport_types_add(PyObject *module, ModuleState *state);

/* The library's transport is lost, by `error`: tells the program. */
void transport_tell_end(TransportObject *self, int error);

/* For transports of another kind, whose type is derived. */
int transport_traverse(PyObject *op, visitproc visit, void *arg);
int transport_clear(PyObject *op);
void transport_dealloc(PyObject *op);

/* ---- transport_read.c ---- */

size_t transport_get_buffer(kolk_protocol *node, kolk_transport *transport,
                            size_t hint, void **buffer);
void transport_buffer_updated(kolk_protocol *node, kolk_transport *transport,
                              const void *data, size_t size);
void transport_data_received(kolk_protocol *node, kolk_transport *transport,
                             const void *data, size_t size);
bool transport_eof_received(kolk_protocol *node, kolk_transport *transport);

/* Gives up the protocol's buffer, if there is one. */
void transport_release_view(TransportObject *self);
void transport_view_unused(kolk_call *call);

extern PyMethodDef transport_read_methods[];

/* ---- transport_write.c ---- */

/* More than the high mark waits; no more than the low mark does. */
void transport_tell_pause(TransportObject *self);
void transport_tell_resume(TransportObject *self);

/* Nothing can be written any more. Returns 0, or -1 with an exception set. */
int transport_write_lost(TransportObject *self);

/* In a thread that does not run the loop: lets that one call `method`. Returns
 * 0, or -1 with an exception set. */
int transport_call_in_loop(TransportObject *self, const char *method,
                           PyObject *args /* steals */);

void transport_pause_writing(kolk_protocol *node, kolk_transport *transport);
void transport_resume_writing(kolk_protocol *node, kolk_transport *transport);

extern PyMethodDef transport_write_methods[];

/* ---- transport_sendfile.c ---- */

extern PyMethodDef transport_sendfile_methods[];
