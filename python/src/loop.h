/* loop.h - the loop object, and what the files about it share.
 *
 * SPDX-License-Identifier: MIT
 *
 * LoopBase is what happens per event. kolk.Loop, in Python, is made of it and
 * of asyncio.AbstractEventLoop, and adds what happens per run, per connection
 * or per process.
 */
#pragma once

#include "handle.h"
#include "state.h"

/* Methods that the fast paths have to know of when a subclass or an instance
 * has its own: LoopObject.overridden. */
enum {
    LOOP_OVERRIDES_CALL_SOON = 1,
    LOOP_OVERRIDES_CALL_AT = 2,
    LOOP_OVERRIDES_TIME = 4,
};

/* A descriptor that is watched for its reader and its writer: loop_watch.c. */
typedef struct LoopWatch LoopWatch;

struct LoopObject {
    PyObject_HEAD ModuleState *state; /* the module's */
    PyObject *module;  /* strong, and not shown to the collector, so that the
                          module goes after its loops and what is theirs */
    kolk_loop *loop;   /* NULL once closed */
    kolk_loop *lender; /* the same, until the last node has been given back */
    kolk_inbox *inbox; /* a reference */

    /* what runs */
    unsigned long thread; /* that runs it, or 0 */
    unsigned turning;     /* runs of the library that are under way */
    bool debug;
    bool is_nested; /* may be run inside of its own callbacks */
    unsigned overridden;
    PyObject *raised;         /* strong: ends the run */
    PyObject *current_handle; /* borrowed, in debug mode only */
    bool has_current; /* task_registry.c: asyncio has noted that no task runs */
    PyThreadState *thread_state; /* while the GIL is let go */
    kolk_hooks hooks;
    kolk_clock clock;
    kolk_error_handler error_handler;

    /* what the program has set */
    PyObject *task_factory; /* strong, or NULL */
    PyObject *hooked;       /* strong: orders the handles of a turn; or NULL */
    PyObject *hook_handles; /* strong list: this turn's, or NULL */
    kolk_call hook_call;

    /* descriptors, by number */
    LoopWatch **watches;
    int watches_size;
};

static inline bool
loop_check(const ModuleState *state, PyObject *op)
{
    return PyObject_TypeCheck(op, (PyTypeObject *)state->loop_type);
}

/* The object as a loop of ours, borrowed, or NULL. Knows them by a slot that
 * all subclasses inherit; one with a __setattr__ of its own is not known, and
 * gets what asyncio's loops get. */
int loop_setattro(PyObject *op, PyObject *name, PyObject *value);
static inline LoopObject *
loop_of(PyObject *op)
{
    return Py_TYPE(op)->tp_setattro == loop_setattro ? (LoopObject *)op : NULL;
}

/* Does `self` run tasks by their own nodes? If call_soon() is the program's,
 * or a hook orders the handles, tasks have to be handles, too. */
static inline bool
loop_is_plain(const LoopObject *self)
{
    return (self->overridden & LOOP_OVERRIDES_CALL_SOON) == 0
           && self->hooked == NULL;
}

/* 0, or -1 and RuntimeError if the loop is closed. */
int loop_check_open(LoopObject *self);

/* Is a run of the library under way? */
static inline bool
loop_is_turning(const LoopObject *self)
{
    return self->turning > 0;
}

/* ---- loop_schedule.c ---- */

/* Queues `call`, from whichever thread has the GIL. Returns 0, or -1 with an
 * exception set. */
int loop_push(LoopObject *self, kolk_call *call);

/* call_soon() as the loop's own code uses it: no check, no override. The
 * handle is not for the program yet: see handle_track(). */
HandleObject *loop_schedule(LoopObject *self, HandleKind kind,
                            PyObject *callback, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *context);

/* The timer that `call` brings from another thread, borrowed; NULL if it is
 * none of those. */
HandleObject *loop_timer_of_call(kolk_call *call);

extern PyMethodDef loop_schedule_methods[];

/* ---- loop_run.c ---- */

/* Ends the run with `exception`, whose reference is taken. */
void loop_park(LoopObject *self, PyObject *exception /* steals */);

/* Raises what was parked; returns NULL. */
PyObject *loop_raise_parked(LoopObject *self);

/* `result` of code that may not raise here is let go; if it is NULL, the
 * exception ends the run or is written to standard error. */
void loop_report_result(LoopObject *self, PyObject *result /* steals */);

/* Takes the exception that is set to the exception handler. */
void loop_report_error(LoopObject *self, const char *message);

/* Around a callback or a task's step, in debug mode. */
typedef struct LoopStep {
    kolk_time begin;
    PyObject *outer; /* borrowed */
} LoopStep;
void loop_step_begin(LoopObject *self, LoopStep *step, PyObject *what);
void loop_step_end(LoopObject *self, const LoopStep *step, PyObject *what);

/* Puts the hooks and the clock into a loop that was opened. */
void loop_run_init(LoopObject *self);

extern PyMethodDef loop_run_methods[];

/* ---- loop_hook.c ---- */

/* Puts `handle` among those of this turn; false if that is not possible. */
bool loop_hook_add(LoopObject *self, PyObject *handle);

extern PyMethodDef loop_hook_methods[];

/* ---- loop_watch.c ---- */

extern PyMethodDef loop_watch_methods[];
int loop_watches_visit(LoopObject *self, visitproc visit, void *arg);
void loop_watches_free(LoopObject *self);

/* ---- loop_task.c ---- */

extern PyMethodDef loop_task_methods[];
extern PyMethodDef loop_task_functions[]; /* of the module */

/* ---- loop.c ---- */

int loop_type_add(PyObject *module, ModuleState *state);
