/* handle.h - one scheduled call: this loop's asyncio.Handle, TimerHandle.
 *
 * SPDX-License-Identifier: MIT
 *
 * Both are true subclasses of asyncio's. Those are classes of Python with
 * slots, which stay empty here: fields of ours, under the same names, take
 * their place. While the loop has a handle it owns a reference to it. As long
 * as it is the only one that does, the handle is not tracked by the collector:
 * the loop shows what is in it. Handles that the program has are tracked,
 * because they lead to the loop, and what keeps them may be kept by the loop.
 */
#pragma once

#include "state.h"

/* What asyncio.TimerHandle's slots take, and the list of weak references. */
#if PY_VERSION_HEX < 0x030C0000
enum { HANDLE_BASE_SIZE = sizeof(PyObject) + 10 * sizeof(PyObject *) };
#else
enum { HANDLE_BASE_SIZE = sizeof(PyObject) + 9 * sizeof(PyObject *) };
#endif

typedef enum HandleKind {
    HANDLE_SOON,
    HANDLE_TIMER,
    HANDLE_GUARDED, /* of call_soon_threadsafe(), from 3.14 on */
} HandleKind;

/* Somebody who waits in another thread until the callback has returned. */
typedef struct HandleWaiter HandleWaiter;

struct HandleObject {
    PyObject_HEAD char
        base[HANDLE_BASE_SIZE - sizeof(PyObject)]; /* asyncio's, unused */
    LoopObject *loop;                              /* strong */
    PyObject *callback;         /* strong; NULL once cancelled */
    PyObject *args;             /* strong: the only one, or a tuple; or NULL */
    PyObject *context;          /* strong */
    PyObject *source_traceback; /* strong, or NULL */
    PyObject *repr;             /* strong, or NULL */
    PyObject *when_object;      /* strong: what was given, if no float */
    HandleWaiter *waiters;      /* others that wait for the end of the run */
    unsigned long thread;       /* that runs it, or 0; thread-safe ones only */
    double when;                /* seconds, of timers */
    unsigned char kind;         /* HandleKind */
    bool has_one_arg;
    bool is_cancelled;
    bool is_lent; /* the loop has a reference */
    union {
        kolk_call call;
        kolk_timer timer;
    } node;
};

static inline bool
handle_check(const ModuleState *state, PyObject *op)
{
    PyObject *type = (PyObject *)Py_TYPE(op);

    return type == state->handle_type || type == state->timer_handle_type
           || type == state->guarded_handle_type;
}

/* A handle for `callback(*args)`, new, not scheduled. `context` NULL: a copy
 * of the current one. Returns NULL with an exception set. */
HandleObject *handle_new(LoopObject *loop, HandleKind kind, PyObject *callback,
                         PyObject *const *args, Py_ssize_t nargs,
                         PyObject *context);

/* Cancels it, as its method does. Returns 0, or -1 with an exception set. */
int handle_cancel(HandleObject *self);

/* Runs the callback now unless it is cancelled; what it raises goes to the
 * exception handler, or ends the run. Never leaves an exception set. */
void handle_run(HandleObject *self);

/* The loop's nodes: what the handle's is set to. */
void handle_call_ready(kolk_call *call);
void handle_call_dropped(kolk_call *call);
void handle_timer_ready(kolk_timer *timer);
void handle_timer_dropped(kolk_timer *timer);

/* `self` becomes an ordinary object: it goes to the program, which may make
 * cycles of it. */
static inline void
handle_track(HandleObject *self)
{
    if (!PyObject_GC_IsTracked((PyObject *)self)) {
        PyObject_GC_Track(self);
    }
}

/* Lets those go that wait for the end of the callback. */
void handle_wake_waiters(HandleObject *self);

/* The arguments as a tuple, new. */
PyObject *handle_args(const HandleObject *self);

/* For the loop's traverse: shows what the loop owns of `self`. */
int handle_visit(HandleObject *self, visitproc visit, void *arg);

/* `callback(*args)` in `context`; the result, new, or NULL. */
PyObject *context_call(PyObject *context, PyObject *callback,
                       PyObject *const *args, size_t nargsf);

int handle_types_add(PyObject *module, ModuleState *state);
