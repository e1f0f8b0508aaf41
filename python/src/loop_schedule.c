/* loop_schedule.c - call_soon and its kin.
 *
 * SPDX-License-Identifier: MIT
 *
 * asyncio lets any thread that has the GIL put things into a loop's queue,
 * and only its debug mode objects. So what the library refuses to a thread
 * that does not run the loop goes through the inbox instead, which wakes the
 * loop, too.
 */
#include "args.h"
#include "convert.h"
#include "errors.h"
#include "loop.h"
#include "task.h" /* futures have tasks among their callbacks */

#include <errno.h>

static const char *const soon_names[] = {"callback", NULL};
static const char *const later_names[] = {"delay", "callback", NULL};
static const char *const at_names[] = {"when", "callback", NULL};

int
loop_check_open(LoopObject *self)
{
    if (KOLK_UNLIKELY(self->loop == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    return 0;
}

int
loop_push(LoopObject *self, kolk_call *call)
{
    if (loop_check_open(self) < 0) {
        return -1;
    }
    int err = kolk_call_soon(self->loop, call);
    if (KOLK_UNLIKELY(err == -KOLK_EMISUSE)) {
        err = kolk_inbox_push(self->inbox, call);
    }
    return KOLK_LIKELY(err == 0) ? 0 : error_set(err);
}

/* ---- debug mode's checks ---- */

static int
loop_check_thread(LoopObject *self)
{
    if (self->thread != 0 && self->thread != PyThread_get_thread_ident()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Non-thread-safe operation invoked on an event loop "
                        "other than the current one");
        return -1;
    }
    return 0;
}

/* Debug mode: may `callback` be scheduled by `method`, in this thread? */
static int
loop_check_debug(LoopObject *self, PyObject *callback, const char *method,
                 bool any_thread)
{
    if (!any_thread && loop_check_thread(self) < 0) {
        return -1;
    }
    PyObject *result = PyObject_CallMethod((PyObject *)self, "_check_callback",
                                           "Os", callback, method);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* ---- as soon as possible ---- */

HandleObject *
loop_schedule(LoopObject *self, HandleKind kind, PyObject *callback,
              PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    HandleObject *handle =
        handle_new(self, kind, callback, args, nargs, context);

    if (handle == NULL) {
        return NULL;
    }
    if (loop_push(self, &handle->node.call) < 0) {
        Py_DECREF(handle);
        return NULL;
    }
    handle->is_lent = true;
    return (HandleObject *)Py_NewRef((PyObject *)handle);
}

/* The same for the program. */
static PyObject *
loop_schedule_given(LoopObject *self, HandleKind kind, const ArgsCall *call)
{
    HandleObject *handle = loop_schedule(self, kind, call->first[0], call->args,
                                         call->nargs, call->context);

    if (handle != NULL) {
        handle_track(handle);
    }
    return (PyObject *)handle;
}

/* asyncio's code has found a task of ours in a future's first callback. */
static bool
loop_wake_task(PyObject *task, PyObject *future)
{
    if (!task_wake((TaskObject *)task, future)) {
        return false;
    }
    Py_INCREF(task); /* the queue's */
    return true;
}

PyDoc_STRVAR(loop_call_soon_doc,
             "call_soon($self, callback, /, *args, context=None)\n--\n\n"
             "Call callback(*args) in the next turn; return a Handle.");

static PyObject *
loop_call_soon(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    LoopObject *self = (LoopObject *)op;
    ArgsCall call;

    if (args_split(self->state, "call_soon", soon_names, 1, args, nargs,
                   kwnames, &call)
            < 0
        || loop_check_open(self) < 0) {
        return NULL;
    }
    if (KOLK_UNLIKELY((PyObject *)Py_TYPE(call.first[0])
                      == self->state->task_type)
        && call.nargs == 1 && loop_wake_task(call.first[0], call.args[0])) {
        Py_RETURN_NONE;
    }
    if (KOLK_UNLIKELY(self->debug)
        && loop_check_debug(self, call.first[0], "call_soon", false) < 0) {
        return NULL;
    }
    return loop_schedule_given(self, HANDLE_SOON, &call);
}

PyDoc_STRVAR(
    loop_call_soon_threadsafe_doc,
    "call_soon_threadsafe($self, callback, /, *args, context=None)\n--\n\n"
    "Like call_soon(), from any thread.");

static PyObject *
loop_call_soon_threadsafe(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    LoopObject *self = (LoopObject *)op;
    ArgsCall call;

    if (args_split(self->state, "call_soon_threadsafe", soon_names, 1, args,
                   nargs, kwnames, &call)
            < 0
        || loop_check_open(self) < 0) {
        return NULL;
    }
    if (KOLK_UNLIKELY(self->debug)
        && loop_check_debug(self, call.first[0], "call_soon_threadsafe", true)
               < 0) {
        return NULL;
    }
    HandleKind kind =
        self->state->guarded_handle_type != NULL ? HANDLE_GUARDED : HANDLE_SOON;
    return loop_schedule_given(self, kind, &call);
}

/* ---- at a time ---- */

/* From a thread that does not run the loop: starts the timer in the one that
 * does. */
typedef struct LoopTimerStart {
    kolk_call call;
    HandleObject *handle; /* strong */
} LoopTimerStart;

static void
loop_timer_start_dropped(kolk_call *call)
{
    LoopTimerStart *start = KOLK_CONTAINER_OF(call, LoopTimerStart, call);
    HandleObject *handle = start->handle;

    PyMem_Free(start);
    Py_DECREF(handle);
}

static void
loop_timer_start_ready(kolk_call *call)
{
    LoopTimerStart *start = KOLK_CONTAINER_OF(call, LoopTimerStart, call);
    HandleObject *handle = start->handle;

    if (!handle->is_cancelled
        && kolk_call_at(handle->loop->loop, &handle->node.timer,
                        time_from_seconds(handle->when))
               == 0) {
        handle->is_lent = true;
        Py_INCREF(handle);
    }
    loop_timer_start_dropped(call);
}

HandleObject *
loop_timer_of_call(kolk_call *call)
{
    return call->fn == loop_timer_start_ready
               ? KOLK_CONTAINER_OF(call, LoopTimerStart, call)->handle
               : NULL;
}

static int
loop_start_elsewhere(LoopObject *self, HandleObject *handle)
{
    LoopTimerStart *start = PyMem_Malloc(sizeof *start);

    if (start == NULL) {
        return -ENOMEM;
    }
    kolk_call_init(&start->call, loop_timer_start_ready,
                   loop_timer_start_dropped);
    start->handle = (HandleObject *)Py_NewRef((PyObject *)handle);
    int err = kolk_inbox_push(self->inbox, &start->call);
    if (err < 0) {
        loop_timer_start_dropped(&start->call);
    }
    return err;
}

/* A handle that is due at `when`; `when_object` if that was no float. */
static PyObject *
loop_schedule_at(LoopObject *self, double when, PyObject *when_object,
                 const ArgsCall *call)
{
    HandleObject *handle = handle_new(self, HANDLE_TIMER, call->first[1],
                                      call->args, call->nargs, call->context);

    if (handle == NULL) {
        return NULL;
    }
    handle->when = when;
    handle->when_object = Py_XNewRef(when_object);
    handle_track(handle);
    int err =
        kolk_call_at(self->loop, &handle->node.timer, time_from_seconds(when));
    if (KOLK_LIKELY(err == 0)) {
        handle->is_lent = true;
        return Py_NewRef((PyObject *)handle);
    }
    if (err == -KOLK_EMISUSE) {
        err = loop_start_elsewhere(self, handle);
    }
    if (err < 0) {
        Py_DECREF(handle);
        (void)error_set(err);
        return NULL;
    }
    return (PyObject *)handle;
}

PyDoc_STRVAR(loop_call_at_doc,
             "call_at($self, when, callback, /, *args, context=None)\n--\n\n"
             "Call callback(*args) when the loop's clock shows `when`; return "
             "a TimerHandle.");

static PyObject *
loop_call_at(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    LoopObject *self = (LoopObject *)op;
    ArgsCall call;
    double when;

    if (args_split(self->state, "call_at", at_names, 2, args, nargs, kwnames,
                   &call)
        < 0) {
        return NULL;
    }
    if (call.first[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return NULL;
    }
    if (loop_check_open(self) < 0
        || seconds_from_py(call.first[0], &when) < 0) {
        return NULL;
    }
    if (KOLK_UNLIKELY(self->debug)
        && loop_check_debug(self, call.first[1], "call_at", false) < 0) {
        return NULL;
    }
    PyObject *object = PyFloat_CheckExact(call.first[0]) ? NULL : call.first[0];
    return loop_schedule_at(self, when, object, &call);
}

/* call_later() where call_at() or time() is the program's own. */
static PyObject *
loop_call_later_by_methods(LoopObject *self, const ArgsCall *call)
{
    PyObject *now =
        PyObject_CallMethodNoArgs((PyObject *)self, self->state->str.time);
    PyObject *when = now != NULL ? PyNumber_Add(now, call->first[0]) : NULL;
    PyObject *method = when != NULL ? PyObject_GetAttr((PyObject *)self,
                                                       self->state->str.call_at)
                                    : NULL;
    PyObject *args = method != NULL ? PyTuple_New(call->nargs + 2) : NULL;
    PyObject *keywords = NULL;
    PyObject *result = NULL;

    if (args != NULL) {
        PyTuple_SET_ITEM(args, 0, Py_NewRef(when));
        PyTuple_SET_ITEM(args, 1, Py_NewRef(call->first[1]));
        for (Py_ssize_t i = 0; i < call->nargs; i++) {
            PyTuple_SET_ITEM(args, i + 2, Py_NewRef(call->args[i]));
        }
        keywords =
            Py_BuildValue("{OO}", self->state->str.context,
                          call->context != NULL ? call->context : Py_None);
        if (keywords != NULL) {
            result = PyObject_Call(method, args, keywords);
        }
    }
    Py_XDECREF(keywords);
    Py_XDECREF(args);
    Py_XDECREF(method);
    Py_XDECREF(when);
    Py_XDECREF(now);
    return result;
}

PyDoc_STRVAR(
    loop_call_later_doc,
    "call_later($self, delay, callback, /, *args, context=None)\n--\n\n"
    "Call callback(*args) after delay seconds; return a TimerHandle.");

static PyObject *
loop_call_later(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    LoopObject *self = (LoopObject *)op;
    ArgsCall call;
    double delay;

    if (args_split(self->state, "call_later", later_names, 2, args, nargs,
                   kwnames, &call)
        < 0) {
        return NULL;
    }
    if (call.first[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "delay must not be None");
        return NULL;
    }
    if (KOLK_UNLIKELY(self->debug
                      || (self->overridden
                          & (LOOP_OVERRIDES_CALL_AT | LOOP_OVERRIDES_TIME)))) {
        return loop_call_later_by_methods(self, &call);
    }
    if (loop_check_open(self) < 0
        || seconds_from_py(call.first[0], &delay) < 0) {
        return NULL;
    }
    double now = time_to_seconds(kolk_monotonic());
    return loop_schedule_at(self, now + delay, NULL, &call);
}

PyDoc_STRVAR(loop_time_doc, "time($self, /)\n--\n\n"
                            "The seconds of the loop's clock.");

static PyObject *
loop_time_method(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(time_to_seconds(kolk_monotonic()));
}

PyDoc_STRVAR(loop_timer_handle_cancelled_doc,
             "_timer_handle_cancelled($self, handle, /)\n--\n\n"
             "asyncio's handles tell it; ours leave by themselves.");

static PyObject *
loop_timer_handle_cancelled(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(arg))
{
    Py_RETURN_NONE;
}

PyMethodDef loop_schedule_methods[] = {
    {"call_soon", ARGS_METHOD(loop_call_soon), ARGS_FLAGS, loop_call_soon_doc},
    {"call_soon_threadsafe", ARGS_METHOD(loop_call_soon_threadsafe), ARGS_FLAGS,
     loop_call_soon_threadsafe_doc},
    {"call_at", ARGS_METHOD(loop_call_at), ARGS_FLAGS, loop_call_at_doc},
    {"call_later", ARGS_METHOD(loop_call_later), ARGS_FLAGS,
     loop_call_later_doc},
    {"time", loop_time_method, METH_NOARGS, loop_time_doc},
    {"_timer_handle_cancelled", loop_timer_handle_cancelled, METH_O,
     loop_timer_handle_cancelled_doc},
    {NULL, NULL, 0, NULL},
};
