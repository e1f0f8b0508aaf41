/* loop_run.c - running the loop, and what surrounds a run.
 *
 * SPDX-License-Identifier: MIT
 *
 * The GIL is let go around a system call that sleeps, and nowhere else. Right
 * after it signals are looked for, since a handler may have to run. The clock
 * is always ours, so that the loop looks at its timers in every turn and polls
 * only while something is watched: a program that counts turns gets asyncio's
 * count.
 */
#include "convert.h"
#include "errors.h"
#include "loop.h"
#include "task.h" /* which task runs */

#include <errno.h>

/* ---- exceptions ---- */

void
loop_park(LoopObject *self, PyObject *exception)
{
    if (self->raised != NULL) {
        Py_DECREF(exception); /* the first one is raised */
    } else {
        self->raised = exception;
    }
    if (self->loop != NULL) {
        kolk_loop_break(self->loop);
    }
}

PyObject *
loop_raise_parked(LoopObject *self)
{
    PyObject *exception = self->raised;

    self->raised = NULL;
    error_raise(exception);
    return NULL;
}

void
loop_report_result(LoopObject *self, PyObject *result)
{
    if (KOLK_LIKELY(result != NULL)) {
        Py_DECREF(result);
        return;
    }
    PyObject *exception = error_take();
    if (error_ends_run(exception)) {
        loop_park(self, exception);
        return;
    }
    error_raise(exception);
    PyErr_WriteUnraisable((PyObject *)self);
}

/* Hands {"message": message, "exception": exception} to the exception handler;
 * without an exception only the message. */
static void
loop_call_handler(LoopObject *self, const char *message, PyObject *exception)
{
    PyObject *context = exception != NULL
                            ? Py_BuildValue("{sssO}", "message", message,
                                            "exception", exception)
                            : Py_BuildValue("{ss}", "message", message);
    PyObject *result = NULL;

    if (context != NULL) {
        result = PyObject_CallMethodOneArg(
            (PyObject *)self, self->state->str.call_exception_handler, context);
        Py_DECREF(context);
    }
    loop_report_result(self, result);
}

void
loop_report_error(LoopObject *self, const char *message)
{
    PyObject *exception = error_take();

    if (error_ends_run(exception)) {
        loop_park(self, exception);
        return;
    }
    registry_settle(self);
    loop_call_handler(self, message, exception);
    Py_DECREF(exception);
}

/* What the library could tell nobody else. */
static void
loop_report(kolk_error_handler *handler, kolk_loop *Py_UNUSED(loop),
            const kolk_report *report)
{
    loop_call_handler(KOLK_CONTAINER_OF(handler, LoopObject, error_handler),
                      report->message, NULL);
}

/* ---- around a system call that sleeps ---- */

static void
loop_before_block(kolk_hooks *hooks)
{
    LoopObject *self = KOLK_CONTAINER_OF(hooks, LoopObject, hooks);

    registry_settle(self);
    self->thread_state = PyEval_SaveThread();
}

static void
loop_after_block(kolk_hooks *hooks)
{
    LoopObject *self = KOLK_CONTAINER_OF(hooks, LoopObject, hooks);

    PyEval_RestoreThread(self->thread_state);
    if (KOLK_UNLIKELY(PyErr_CheckSignals() < 0)) {
        loop_park(self, error_take());
    }
}

/* ---- the clock ---- */

/* What the program's own time() says; a failure ends the run. Outside of one,
 * where the loop only wants to know where to start, nobody is told: __init__
 * of a subclass may not have got far enough for its time(). */
static kolk_time
loop_ask_time(LoopObject *self)
{
    PyObject *result =
        PyObject_CallMethodNoArgs((PyObject *)self, self->state->str.time);
    double seconds = 0;

    if (result == NULL || seconds_from_py(result, &seconds) < 0) {
        if (loop_is_turning(self)) {
            loop_park(self, error_take());
        } else {
            PyErr_Clear();
        }
    }
    Py_XDECREF(result);
    return time_from_seconds(seconds);
}

static kolk_time
loop_clock_now(kolk_clock *clock)
{
    LoopObject *self = KOLK_CONTAINER_OF(clock, LoopObject, clock);

    if (KOLK_UNLIKELY(self->overridden & LOOP_OVERRIDES_TIME)) {
        return loop_ask_time(self);
    }
    return kolk_monotonic();
}

void
loop_run_init(LoopObject *self)
{
    self->hooks = (kolk_hooks){.before_block = loop_before_block,
                               .after_block = loop_after_block};
    self->clock = (kolk_clock){.now = loop_clock_now};
    self->error_handler = (kolk_error_handler){.fn = loop_report};
    kolk_loop_set_hooks(self->loop, &self->hooks);
    kolk_loop_set_clock(self->loop, &self->clock);
    kolk_loop_set_error_handler(self->loop, &self->error_handler);
}

/* ---- debug mode ---- */

void
loop_step_begin(LoopObject *self, LoopStep *step, PyObject *what)
{
    *step = (LoopStep){.begin = self->debug ? kolk_monotonic() : 0,
                       .outer = self->current_handle};
    self->current_handle = what;
}

void
loop_step_end(LoopObject *self, const LoopStep *step, PyObject *what)
{
    self->current_handle = step->outer;
    if (!self->debug || step->begin == 0) {
        return;
    }
    double took = time_to_seconds(kolk_monotonic() - step->begin);
    PyObject *seconds = PyFloat_FromDouble(took);
    PyObject *result = NULL;

    if (seconds != NULL) {
        result = PyObject_CallMethodObjArgs((PyObject *)self,
                                            self->state->str._debug_slow, what,
                                            seconds, NULL);
        Py_DECREF(seconds);
    }
    loop_report_result(self, result);
}

/* ---- runs ---- */

/* The end of a run: raises what was parked, or what the library says. */
static PyObject *
loop_run_end(LoopObject *self, int err)
{
    self->turning--;
    registry_settle(self);
    if (self->raised != NULL) {
        return loop_raise_parked(self);
    }
    if (err < 0 && err != -EINTR) {
        (void)error_set(err);
        return NULL;
    }
    return PyBool_FromLong(err > 0);
}

PyDoc_STRVAR(loop_run_doc, "_run($self, /)\n--\n\n"
                           "Run turns until stop().");

static PyObject *
loop_run(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *self = (LoopObject *)op;

    if (loop_check_open(self) < 0) {
        return NULL;
    }
    self->turning++;
    return loop_run_end(self, kolk_run_forever(self->loop));
}

PyDoc_STRVAR(loop_turn_doc, "_turn($self, /)\n--\n\n"
                            "Run one turn without blocking; is there more to "
                            "run at once?");

static PyObject *
loop_turn(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *self = (LoopObject *)op;

    if (loop_check_open(self) < 0) {
        return NULL;
    }
    self->turning++;
    return loop_run_end(self, kolk_run_once(self->loop));
}

PyDoc_STRVAR(loop_fileno_doc,
             "fileno($self, /)\n--\n\n"
             "A descriptor that is readable whenever run_once() has something "
             "to do.");

static PyObject *
loop_fileno(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *self = (LoopObject *)op;

    if (loop_check_open(self) < 0) {
        return NULL;
    }
    int fd = kolk_loop_fileno(self->loop);
    if (fd < 0) {
        (void)error_set(fd);
        return NULL;
    }
    return PyLong_FromLong(fd);
}

PyDoc_STRVAR(loop_stop_doc, "stop($self, /)\n--\n\n"
                            "End the run after this turn.");

static PyObject *
loop_stop(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LoopObject *self = (LoopObject *)op;

    if (self->loop != NULL) {
        kolk_loop_stop(self->loop);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(loop_is_running_doc, "is_running($self, /)\n--\n\n"
                                  "Does the loop run, in any thread?");

static PyObject *
loop_is_running(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((LoopObject *)op)->thread != 0);
}

PyMethodDef loop_run_methods[] = {
    {"_run", loop_run, METH_NOARGS, loop_run_doc},
    {"_turn", loop_turn, METH_NOARGS, loop_turn_doc},
    {"fileno", loop_fileno, METH_NOARGS, loop_fileno_doc},
    {"stop", loop_stop, METH_NOARGS, loop_stop_doc},
    {"is_running", loop_is_running, METH_NOARGS, loop_is_running_doc},
    {NULL, NULL, 0, NULL},
};
