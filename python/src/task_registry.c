/* task_registry.c - asyncio.all_tasks() and current_task() see our tasks.
 *
 * SPDX-License-Identifier: MIT
 *
 * From 3.14 on asyncio has a linked list of tasks per thread, whose links are
 * in the tasks. The first task of ours that a thread makes goes in by asyncio's
 * own function; as long as it is there it is the anchor, next to which others
 * are put by hand. The number of a thread state is never used again, its
 * address is.
 *
 * Before, all_tasks() walks weak sets, which cost several times what a task
 * does. So ours are in a list here, and once the first one is made, a view
 * that shows both takes the place of asyncio's set (kolk/task_list.py).
 *
 * The current task is in a dictionary before 3.14, and in the thread's state
 * from then on. A loop without a task must not be found in the dictionary. But
 * taking it out and putting it in makes the dictionary grow again every few
 * steps, so between two steps of ours, where no other code runs, it is there
 * with None.
 */
#include "task.h"

#if PY_VERSION_HEX >= 0x030E0000

/* A place in asyncio's list, as the layout has it: next and previous. */
typedef struct RegistryNode RegistryNode;
struct RegistryNode {
    RegistryNode *next, *previous;
};

static inline RegistryNode *
registry_node(TaskObject *self)
{
    return (RegistryNode *)(void *)self->node;
}

/* Is the anchor in the list of this thread? asyncio's own function may have
 * taken it out. */
static inline bool
registry_has_anchor(const ModuleState *state, uint64_t thread)
{
    return state->anchor != NULL && state->anchor_thread == thread
           && registry_node(state->anchor)->next != NULL;
}

int
registry_add(ModuleState *state, TaskObject *self)
{
    uint64_t thread = PyThreadState_GetID(PyThreadState_Get());

    if (KOLK_LIKELY(registry_has_anchor(state, thread))) {
        RegistryNode *node = registry_node(self);
        RegistryNode *anchor = registry_node(state->anchor);

        node->previous = anchor;
        node->next = anchor->next;
        anchor->next->previous = node;
        anchor->next = node;
        return 0;
    }
    PyObject *result =
        PyObject_CallOneArg(state->register_task, (PyObject *)self);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    if (registry_node(self)->next != NULL) {
        state->anchor = self;
        state->anchor_thread = thread;
    }
    return 0;
}

void
registry_remove(ModuleState *state, TaskObject *self)
{
    RegistryNode *node = registry_node(self);

    if (state != NULL && state->anchor == self) {
        state->anchor = NULL;
    }
    if (node->next == NULL) {
        return;
    }
    node->previous->next = node->next;
    node->next->previous = node->previous;
    node->next = NULL;
    node->previous = NULL;
}

static int
registry_call(PyObject *function, TaskObject *self)
{
    PyObject *args[3] = {NULL, self->fut_loop, (PyObject *)self};
    PyObject *result = PyObject_Vectorcall(
        function, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);

    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

int
registry_enter(ModuleState *state, TaskObject *self)
{
    return registry_call(state->enter_task, self);
}

int
registry_leave(ModuleState *state, TaskObject *self)
{
    return registry_call(state->leave_task, self);
}

#else

/* asyncio.all_tasks() walks what is in place of asyncio's set from now on. */
static int
registry_show(ModuleState *state)
{
    PyObject *module = PyImport_ImportModule("kolk.task_list");
    PyObject *result =
        module != NULL ? PyObject_CallMethod(module, "show", NULL) : NULL;

    Py_XDECREF(module);
    Py_XDECREF(result);
    state->tasks_are_shown = result != NULL;
    return result != NULL ? 0 : -1;
}

int
registry_add(ModuleState *state, TaskObject *self)
{
    if (KOLK_UNLIKELY(!state->tasks_are_shown) && registry_show(state) < 0) {
        return -1;
    }
    self->is_listed = true;
    self->previous = NULL;
    self->next = state->tasks;
    if (self->next != NULL) {
        self->next->previous = self;
    }
    state->tasks = self;
    return 0;
}

void
registry_remove(ModuleState *state, TaskObject *self)
{
    if (!self->is_listed) {
        return;
    }
    self->is_listed = false;
    if (self->previous != NULL) {
        self->previous->next = self->next;
    } else if (state != NULL) {
        state->tasks = self->next;
    }
    if (self->next != NULL) {
        self->next->previous = self->previous;
    }
}

/* The first step of several: nobody else may be in one. */
static int
registry_enter_first(ModuleState *state, TaskObject *self)
{
    PyObject *task = PyDict_SetDefault(state->current_tasks, self->fut_loop,
                                       (PyObject *)self);

    if (KOLK_LIKELY(task == (PyObject *)self)) {
        return 0;
    }
    if (task != NULL) {
        PyErr_Format(PyExc_RuntimeError,
                     "Cannot enter into task %R while another task %R is "
                     "being executed.",
                     self, task);
    }
    return -1;
}

int
registry_enter(ModuleState *state, TaskObject *self)
{
    LoopObject *loop = (LoopObject *)self->fut_loop;

    if (KOLK_UNLIKELY(!loop->has_current)) {
        return registry_enter_first(state, self);
    }
    loop->has_current = false; /* until the step ends */
    return PyDict_SetItem(state->current_tasks, self->fut_loop,
                          (PyObject *)self);
}

int
registry_leave(ModuleState *state, TaskObject *self)
{
    LoopObject *loop = (LoopObject *)self->fut_loop;

    loop->has_current = true;
    return PyDict_SetItem(state->current_tasks, self->fut_loop, Py_None);
}

void
registry_forget_current(LoopObject *loop)
{
    loop->has_current = false;
    if (PyDict_DelItem(loop->state->current_tasks, (PyObject *)loop) < 0) {
        PyErr_Clear(); /* somebody else has taken it out */
    }
}

#endif

PyDoc_STRVAR(registry_tasks_doc, "tasks()\n--\n\n"
                                 "The tasks of ours that are not done, where "
                                 "asyncio has no list of them.");

/* How many tasks are listed. */
static Py_ssize_t
registry_count(const ModuleState *state)
{
    Py_ssize_t count = 0;

    for (TaskObject *task = state->tasks; task != NULL; task = task->next) {
        count++;
    }
    return count;
}

static PyObject *
registry_tasks(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    ModuleState *state = PyModule_GetState(module);
    PyObject *list = PyList_New(registry_count(state));
    Py_ssize_t filled = 0;

    if (list == NULL) {
        return NULL;
    }
    /* Making the list may have run the collector, and so freed tasks; nothing
     * can from here on. None takes the places that are left. */
    for (TaskObject *task = state->tasks;
         task != NULL && filled < PyList_GET_SIZE(list); task = task->next) {
        PyList_SET_ITEM(list, filled++, Py_NewRef((PyObject *)task));
    }
    Py_ssize_t size = PyList_GET_SIZE(list);
    for (Py_ssize_t i = filled; i < size; i++) {
        PyList_SET_ITEM(list, i, Py_NewRef(Py_None));
    }
    if (PyList_SetSlice(list, filled, size, NULL) < 0) {
        Py_CLEAR(list);
    }
    return list;
}

PyMethodDef registry_functions[] = {
    {"tasks", registry_tasks, METH_NOARGS, registry_tasks_doc},
    {NULL, NULL, 0, NULL},
};
