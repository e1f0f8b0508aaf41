/* state.h - what one import of the extension owns.
 *
 * SPDX-License-Identifier: MIT
 *
 * There are no globals: each module object has a state of its own, and every
 * object of ours reaches it through its loop or its type.
 */
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#include <kolk.h>

typedef struct LoopObject LoopObject;
typedef struct HandleObject HandleObject;
typedef struct TaskObject TaskObject;

#define KOLK_LIKELY(x) __builtin_expect(!!(x), 1)
#define KOLK_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Attribute and keyword names, interned once: `state->str.NAME`. */
#define STATE_NAMES(X)                                                         \
    X(_asyncio_future_blocking)                                                \
    X(_debug_slow)                                                             \
    X(_handle_failed)                                                          \
    X(_create_task_with)                                                       \
    X(_loop)                                                                   \
    X(_source_traceback)                                                       \
    X(_call_connection_lost)                                                   \
    X(add_done_callback)                                                       \
    X(buffer_updated)                                                          \
    X(call_at)                                                                 \
    X(call_exception_handler)                                                  \
    X(call_soon)                                                               \
    X(cancel)                                                                  \
    X(context)                                                                 \
    X(data_received)                                                           \
    X(datagram_received)                                                       \
    X(eager_start)                                                             \
    X(eof_received)                                                            \
    X(error_received)                                                          \
    X(exception)                                                               \
    X(fileno)                                                                  \
    X(get_buffer)                                                              \
    X(get_debug)                                                               \
    X(get_loop)                                                                \
    X(loop)                                                                    \
    X(message)                                                                 \
    X(msg)                                                                     \
    X(name)                                                                    \
    X(pause_writing)                                                           \
    X(resume_writing)                                                          \
    X(result)                                                                  \
    X(run)                                                                     \
    X(send)                                                                    \
    X(task)                                                                    \
    X(throw)                                                                   \
    X(time)

typedef struct StateNames {
#define STATE_FIELD(name) PyObject *name;
    STATE_NAMES(STATE_FIELD)
#undef STATE_FIELD
} StateNames;

/* Objects of others that are needed again and again; all strong. */
#define STATE_OBJECTS(X)                                                       \
    /* types of ours */                                                        \
    X(loop_type)                                                               \
    X(handle_type)                                                             \
    X(timer_handle_type)                                                       \
    X(guarded_handle_type)                                                     \
    X(future_type)                                                             \
    X(future_iter_type)                                                        \
    X(task_type)                                                               \
    X(task_list_type)                                                          \
    X(transport_type)                                                          \
    X(read_pipe_type)                                                          \
    X(datagram_type)                                                           \
    /* of asyncio */                                                           \
    X(handle_base)                                                             \
    X(timer_handle_base)                                                       \
    X(guarded_handle_base)                                                     \
    X(future_base)                                                             \
    X(task_base)                                                               \
    X(cancelled_error)                                                         \
    X(invalid_state_error)                                                     \
    X(eager_task_factory)                                                      \
    X(own_eager_task_factory) /* kolk.eager_task_factory */                    \
    X(transport_base)                                                          \
    X(read_transport_base)                                                     \
    X(buffered_protocol)                                                       \
    X(extract_stack)                                                           \
    X(is_coroutine)                                                            \
    X(enter_task)                                                              \
    X(leave_task)                                                              \
    X(swap_current_task)                                                       \
    X(register_task)                                                           \
    X(unregister_task)                                                         \
    X(register_eager_task)                                                     \
    X(unregister_eager_task)                                                   \
    X(current_tasks)                                                           \
    X(awaited_by_add)                                                          \
    X(awaited_by_discard)                                                      \
    /* methods of asyncio.Future and asyncio.Task, for what is rare */         \
    X(base_set_exception)                                                      \
    X(base_cancel)                                                             \
    X(base_result)                                                             \
    X(base_add_done_callback)                                                  \
    X(base_remove_done_callback)                                               \
    X(base_callbacks)                                                          \
    X(base_task_cancel)                                                        \
    /* ready-made arguments */                                                 \
    X(context_keyword)                                                         \
    X(msg_keyword)                                                             \
    X(loop_keyword)                                                            \
    X(minus_one)

typedef struct ModuleState {
    StateNames str;
#define STATE_FIELD(name) PyObject *name;
    STATE_OBJECTS(STATE_FIELD)
#undef STATE_FIELD

    /* Is the layout of asyncio.Future and Task the one we know? If not, loops
     * make stock ones. */
    bool has_tasks;
    bool create_task_takes_any; /* create_task(coro, **kwargs) */

    PyObject *module;    /* borrowed: this one */
    uint64_t task_count; /* names of tasks: Task-1, Task-2... */
    /* Tasks of ours that are not done, before 3.14: task_registry.c. */
    TaskObject *tasks;
    bool tasks_are_shown; /* asyncio.all_tasks() looks at `tasks` */
    /* From 3.14: a task that is in the list of asyncio's of the thread that
     * has this number, or NULL. */
    TaskObject *anchor;
    uint64_t anchor_thread;

    /* Memory of handles, futures and tasks that are gone, linked by their
     * first word after the head. */
    struct StatePool {
        PyObject *head;
        unsigned count;
    } handles[3], futures, task_pool;
} ModuleState;

typedef struct StatePool StatePool;

enum { STATE_POOL_MAX = 4096 };

extern struct PyModuleDef kolk_module;

/* The state of the module that made `type` or one of its bases, borrowed;
 * NULL with an exception set if there is none. */
ModuleState *state_of_type(PyTypeObject *type);

/* Adds methods to `type`, for those of one concept are in that concept's
 * file. Returns 0, or -1 with an exception set. */
int type_add_methods(PyObject *type, PyMethodDef *methods);

/* ---- pools of memory ---- */

#define STATE_POOL_NEXT(op) (*(PyObject **)((char *)(op) + sizeof(PyObject)))

/* Memory for an object of exactly `type`, or NULL without an exception. Its
 * fields behind the head have yet to be set; it is not tracked. */
static inline PyObject *
pool_take(StatePool *pool, PyTypeObject *type)
{
    PyObject *op = pool->head;

    if (KOLK_LIKELY(op != NULL)) {
        pool->head = STATE_POOL_NEXT(op);
        pool->count--;
        (void)PyObject_Init(op, type);
    }
    return op;
}

/* Keeps the memory of `op`, which is untracked and has nothing left in it;
 * false if there is enough of it. */
static inline bool
pool_give(StatePool *pool, PyObject *op)
{
    if (pool->count >= STATE_POOL_MAX) {
        return false;
    }
    STATE_POOL_NEXT(op) = pool->head;
    pool->head = op;
    pool->count++;
    return true;
}
