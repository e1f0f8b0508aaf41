/* task.c - this loop's asyncio.Task: making and freeing tasks.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whether a task is driven by us is decided when it is made. asyncio's code
 * makes and drives it in all other cases, and what it finds in the fields is
 * what it would have put there.
 */
#include "task.h"

#include <stddef.h>

#include "args.h"
#include "errors.h"

static inline TaskObject *
task_of(PyObject *op)
{
    return (TaskObject *)op;
}

PyObject *
task_of_call(kolk_call *call)
{
    return call->fn == task_ready
               ? (PyObject *)KOLK_CONTAINER_OF(call, TaskObject, call)
               : NULL;
}

/* ---- making ---- */

/* What a task is made of; all borrowed, NULL where nothing was given. */
typedef struct TaskArgs {
    PyObject *coro, *name, *context;
    bool is_eager;
} TaskArgs;

static int
task_check_coro(const ModuleState *state, TaskObject *self, PyObject *coro)
{
    if (KOLK_LIKELY(PyCoro_CheckExact(coro))) {
        return 0;
    }
    PyObject *answer = PyObject_CallOneArg(state->is_coroutine, coro);
    int is_one = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    if (is_one == 0) {
        self->log_destroy_pending = 0;
        PyErr_Format(PyExc_TypeError, "a coroutine was expected, got %R", coro);
    }
    return is_one > 0 ? 0 : -1;
}

/* The name; one that is made up is a number until somebody asks. */
static PyObject *
task_make_name(ModuleState *state, PyObject *name)
{
    if (KOLK_LIKELY(name == NULL || name == Py_None)) {
        return PyLong_FromUnsignedLongLong(++state->task_count);
    }
    return PyUnicode_CheckExact(name) ? Py_NewRef(name) : PyObject_Str(name);
}

/* Makes a task of `self`, whose future's part is there, and queues it, or runs
 * it until it waits. */
static int
task_start(TaskObject *self, LoopObject *loop, const TaskArgs *args)
{
    ModuleState *state = loop->state;

    if (task_check_coro(state, self, args->coro) < 0) {
        return -1;
    }
    self->context = args->context != NULL && args->context != Py_None
                        ? Py_NewRef(args->context)
                        : PyContext_CopyCurrent();
    if (self->context == NULL) {
        return -1;
    }
    self->name = task_make_name(state, args->name);
    if (self->name == NULL) {
        return -1;
    }
    self->coro = Py_NewRef(args->coro);
    self->log_destroy_pending = 1;
#if PY_VERSION_HEX >= 0x030E0000
    self->is_task = 1;
#endif
    kolk_call_init(&self->call, task_ready, task_dropped);
    self->is_driven = true;
    if (registry_add(state, self) < 0) {
        return -1;
    }
    if (args->is_eager && loop->thread != 0) {
        return task_step_eager(self);
    }
    if (loop_push(loop, &self->call) < 0) {
        registry_remove(state, self);
        return -1;
    }
    Py_INCREF(self); /* the queue's */
    return 0;
}

static TaskObject *
task_alloc(ModuleState *state)
{
    PyTypeObject *type = (PyTypeObject *)state->task_type;
    PyObject *op = pool_take(&state->task_pool, type);

    if (KOLK_LIKELY(op != NULL)) {
        memset((char *)op + sizeof(PyObject), 0,
               sizeof(TaskObject) - sizeof(PyObject));
        PyObject_GC_Track(op);
    } else {
        op = type->tp_alloc(type, 0);
    }
    return (TaskObject *)op;
}

/* May a task with these arguments be driven by us? */
static bool
task_can_drive(const LoopObject *loop, const TaskArgs *args)
{
    return loop != NULL && loop_is_plain(loop)
           && (args->context == NULL || args->context == Py_None
               || PyContext_CheckExact(args->context));
}

/* Takes the keywords of create_task(); false if only asyncio's code can. */
static bool
task_take_keywords(const ModuleState *state, PyObject *const *values,
                   PyObject *kwnames, TaskArgs *out)
{
    Py_ssize_t nkw = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;

    for (Py_ssize_t i = 0; i < nkw; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);

        if (name == state->str.name) {
            out->name = values[i];
        } else if (name == state->str.context) {
            out->context = values[i];
        } else if (name == state->str.eager_start
                   && (PyBool_Check(values[i]) || values[i] == Py_None)) {
            out->is_eager = values[i] == Py_True;
        } else {
            return false;
        }
    }
    return true;
}

/* The keywords of a call, and which loop it is for, as a dictionary. */
static PyObject *
task_keywords(LoopObject *loop, PyObject *const *values, PyObject *kwnames,
              bool is_eager)
{
    Py_ssize_t nkw = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    const StateNames *str = &loop->state->str;
    PyObject *keywords = PyDict_New();

    if (keywords == NULL
        || PyDict_SetItem(keywords, str->loop, (PyObject *)loop) < 0
        || (is_eager
            && PyDict_SetItem(keywords, str->eager_start, Py_True) < 0)) {
        goto fail;
    }
    for (Py_ssize_t i = 0; i < nkw; i++) {
        if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(kwnames, i), values[i])
            < 0) {
            goto fail;
        }
    }
    return keywords;

fail:
    Py_XDECREF(keywords);
    return NULL;
}

/* The same by calling the type, whichever it is. */
static PyObject *
task_new_by_type(LoopObject *loop, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames, bool is_eager)
{
    ModuleState *state = loop->state;
    PyObject *type = state->has_tasks ? state->task_type : state->task_base;
    PyObject *keywords = task_keywords(loop, args + nargs, kwnames, is_eager);
    PyObject *positional = keywords != NULL ? PyTuple_Pack(1, args[0]) : NULL;
    PyObject *task = NULL;

    if (positional != NULL) {
        task = PyObject_Call(type, positional, keywords);
    }
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return task;
}

PyObject *
task_new(LoopObject *loop, PyObject *const *args, Py_ssize_t nargs,
         PyObject *kwnames, bool is_eager)
{
    ModuleState *state = loop->state;
    TaskArgs made = {.coro = args[0], .is_eager = is_eager};

    if (KOLK_UNLIKELY(
            !state->has_tasks || loop->debug
            || !task_take_keywords(state, args + nargs, kwnames, &made)
            || !task_can_drive(loop, &made))) {
        return task_new_by_type(loop, args, nargs, kwnames, is_eager);
    }
    TaskObject *self = task_alloc(state);
    if (self == NULL) {
        return NULL;
    }
    self->fut_loop = Py_NewRef((PyObject *)loop);
    if (task_start(self, loop, &made) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* ---- Task(coro, loop=...) ---- */

/* A task that is made a second time: takes it out of wherever it is. False if
 * that is refused by asyncio's code, from 3.15 on. */
static bool
task_reset(TaskObject *self)
{
#if PY_VERSION_HEX >= 0x030F0000
    return self->fut_loop == NULL;
#else
    LoopObject *loop = self->fut_loop != NULL ? loop_of(self->fut_loop) : NULL;

    if (!self->is_driven || loop == NULL) {
        return true;
    }
    self->is_driven = false;
    registry_remove(loop->state, self);
    Py_CLEAR(self->thrown);
    if (kolk_call_is_pending(&self->call) && loop->lender != NULL) {
        kolk_call_cancel(loop->lender, &self->call);
        Py_DECREF(self); /* the queue's; the caller has one, too */
    }
    return true;
#endif
}

/* The future's part, by asyncio's code: Future.__init__(loop=loop). */
static int
task_init_future(TaskObject *self, PyTypeObject *future_base, PyObject *loop)
{
    PyObject *args = PyTuple_New(0);
    PyObject *keywords = Py_BuildValue("{sO}", "loop", loop);
    int err = args != NULL && keywords != NULL
                  ? future_base->tp_init((PyObject *)self, args, keywords)
                  : -1;

    Py_XDECREF(args);
    Py_XDECREF(keywords);
    return err;
}

/* A borrowed value of a dictionary, or NULL. */
static PyObject *
task_keyword(PyObject *keywords, PyObject *name)
{
    return keywords != NULL ? PyDict_GetItemWithError(keywords, name) : NULL;
}

/* Takes the arguments apart; false if only asyncio's code can. */
static bool
task_take_init(const ModuleState *state, PyObject *args, PyObject *keywords,
               TaskArgs *out)
{
    const StateNames *str = &state->str;
    PyObject *eager = task_keyword(keywords, str->eager_start);
    Py_ssize_t known = 1 + (eager != NULL);

    if (PyTuple_GET_SIZE(args) != 1
        || (eager != NULL && PyObject_IsTrue(eager) != 0)) {
        PyErr_Clear(); /* asyncio's code asks it again */
        return false;
    }
    out->coro = PyTuple_GET_ITEM(args, 0);
    out->name = task_keyword(keywords, str->name);
    out->context = task_keyword(keywords, str->context);
    known += (out->name != NULL) + (out->context != NULL);
    return PyDict_GET_SIZE(keywords) == known;
}

static int
task_init(PyObject *op, PyObject *args, PyObject *keywords)
{
    TaskObject *self = task_of(op);
    ModuleState *state = state_of_type(Py_TYPE(op));
    TaskArgs made = {.is_eager = false};

    if (state == NULL) {
        return -1;
    }
    PyObject *loop = task_keyword(keywords, state->str.loop);
    if (!task_reset(self) || loop == NULL || loop_of(loop) == NULL
        || !task_take_init(state, args, keywords, &made)
        || !task_can_drive(loop_of(loop), &made)) {
        return ((PyTypeObject *)state->task_base)->tp_init(op, args, keywords);
    }
    if (task_init_future(self, (PyTypeObject *)state->future_base, loop) < 0) {
        return -1;
    }
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->coro);
    Py_CLEAR(self->name);
    Py_CLEAR(self->context);
    self->must_cancel = 0;
    self->num_cancels = 0;
    return task_start(self, loop_of(loop), &made);
}

/* ---- methods ---- */

#if PY_VERSION_HEX < 0x030D0000
PyDoc_STRVAR(task_get_name_doc, "get_name($self, /)\n--\n\n"
                                "The task's name.");

/* From 3.13 on, asyncio has numbers as names, too. */
static PyObject *
task_get_name(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TaskObject *self = task_of(op);

    if (self->name == NULL) {
        Py_RETURN_NONE;
    }
    if (PyLong_CheckExact(self->name)) {
        PyObject *name = PyUnicode_FromFormat("Task-%S", self->name);

        if (name == NULL) {
            return NULL;
        }
        Py_SETREF(self->name, name);
    }
    return Py_NewRef(self->name);
}
#endif

static PyMethodDef task_methods[] = {
#if PY_VERSION_HEX < 0x030D0000
    {"get_name", task_get_name, METH_NOARGS, task_get_name_doc},
#endif
    {"__await__", future_dunder_await, METH_NOARGS | METH_COEXIST, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef task_getsets[] = {
    {"_callbacks", future_get_callbacks, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- memory ---- */

static int
task_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(task_of(op)->thrown);
#if PY_VERSION_HEX < 0x030C0000
    Py_VISIT(Py_TYPE(op)); /* a static base does not */
#endif
    return future_base_of(op, task_traverse)->tp_traverse(op, visit, arg);
}

static int
task_clear(PyObject *op)
{
    Py_CLEAR(task_of(op)->thrown);
    return future_base_of(op, task_traverse)->tp_clear(op);
}

/* The state of the module, or NULL: the collector has taken task and type
 * apart together. An exception that is set stays. */
static ModuleState *
task_state(PyObject *op)
{
    PyObject *loop = task_of(op)->fut_loop;
    PyObject *type, *value, *traceback;

    if (KOLK_LIKELY(loop != NULL && loop_of(loop) != NULL)) {
        return loop_of(loop)->state;
    }
    PyErr_Fetch(&type, &value, &traceback);
    ModuleState *state = state_of_type(Py_TYPE(op));
    PyErr_Restore(type, value, traceback);
    return state;
}

/* Has the finaliser anything to report? */
static bool
task_must_report(const TaskObject *self)
{
    return self->log_tb
           || (self->state == LAYOUT_PENDING && self->log_destroy_pending);
}

/* A pending task that nothing can wake: asyncio's finaliser says so. It may
 * come to life again, but it is none of all_tasks() any more. */
static void
task_finalize(PyObject *op)
{
    registry_remove(task_state(op), task_of(op));
    future_base_of(op, task_traverse)->tp_finalize(op);
}

static void
task_dealloc(PyObject *op)
{
    TaskObject *self = task_of(op);
    PyTypeObject *type = Py_TYPE(op);
    ModuleState *state = task_state(op);
    bool is_exact = state != NULL && (PyObject *)type == state->task_type;

    if (is_exact && task_must_report(self)
        && PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;
    }
    PyObject_GC_UnTrack(op);
    registry_remove(state, self);
    PyObject_ClearWeakRefs(op);
    future_clear_fields((FutureObject *)self);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->coro);
    Py_CLEAR(self->name);
    Py_CLEAR(self->context);
    Py_CLEAR(self->thrown);
    PyObject *module = is_exact ? Py_NewRef(state->module) : NULL;
    Py_CLEAR(self->fut_loop);
    if (!is_exact || PyObject_GC_IsFinalized(op)
        || !pool_give(&state->task_pool, op)) {
        type->tp_free(op);
    }
    Py_DECREF(type);
    Py_XDECREF(module);
}

static PyType_Slot task_slots[] = {
    {Py_tp_doc, "A coroutine that runs: an asyncio.Task."},
    {Py_tp_init, task_init},
    {Py_tp_dealloc, task_dealloc},
    {Py_tp_finalize, task_finalize},
    {Py_tp_traverse, task_traverse},
    {Py_tp_clear, task_clear},
    {Py_am_await, future_await},
    {Py_am_send, future_send},
    {Py_tp_iternext, future_iternext},
    {Py_tp_methods, task_methods},
    {Py_tp_getset, task_getsets},
    {0, NULL},
};

static PyType_Spec task_spec = {
    .name = "_asyncio.Task",
    .basicsize = sizeof(TaskObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = task_slots,
};

int
task_type_add(PyObject *module, ModuleState *state)
{
    PyObject *bases = PyTuple_Pack(2, state->task_base, state->future_type);

    if (bases == NULL) {
        return -1;
    }
    state->task_type = PyType_FromModuleAndSpec(module, &task_spec, bases);
    Py_DECREF(bases);
    return state->task_type != NULL && future_hide_next(state->task_type) == 0
               ? PyModule_AddObjectRef(module, "Task", state->task_type)
               : -1;
}
