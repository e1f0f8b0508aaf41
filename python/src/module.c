/* module.c - the extension module kolk._kolk.
 *
 * SPDX-License-Identifier: MIT
 *
 * Everything is made anew for each module object. Sub-interpreters are refused
 * with a clear message, and free-threaded builds keep the GIL on, until both
 * have been tested.
 */
#include "state.h"

#include "handle.h"
#include "loop.h"
#include "task.h"
#include "transport.h"

static inline ModuleState *
module_state(PyObject *module)
{
    return PyModule_GetState(module);
}

ModuleState *
state_of_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &kolk_module);

    return module != NULL ? module_state(module) : NULL;
}

int
type_add_methods(PyObject *type, PyMethodDef *methods)
{
    for (; methods->ml_name != NULL; methods++) {
        PyObject *method = PyDescr_NewMethod((PyTypeObject *)type, methods);

        if (method == NULL
            || PyObject_SetAttrString(type, methods->ml_name, method) < 0) {
            Py_XDECREF(method);
            return -1;
        }
        Py_DECREF(method);
    }
    return 0;
}

/* ---- filling the state ---- */

static int
module_intern_names(ModuleState *state)
{
#define MODULE_INTERN(name)                                                    \
    state->str.name = PyUnicode_InternFromString(#name);                       \
    if (state->str.name == NULL) {                                             \
        return -1;                                                             \
    }
    STATE_NAMES(MODULE_INTERN)
#undef MODULE_INTERN
    state->context_keyword = PyTuple_Pack(1, state->str.context);
    state->msg_keyword = PyTuple_Pack(1, state->str.msg);
    state->loop_keyword = PyTuple_Pack(1, state->str.loop);
    state->minus_one = PyLong_FromLong(-1);
    return state->context_keyword != NULL && state->msg_keyword != NULL
                   && state->loop_keyword != NULL && state->minus_one != NULL
               ? 0
               : -1;
}

/* What is taken from a module of asyncio's. */
typedef struct ModuleImport {
    const char *module, *path; /* path: a name, or Class.name */
    size_t offset;
    bool is_optional; /* not in every version */
} ModuleImport;

#define MODULE_IMPORT(field, module, path, is_optional)                        \
    {                                                                          \
        module, path, offsetof(ModuleState, field), is_optional                \
    }

static const ModuleImport module_imports[] = {
    /* asyncio comes first: before 3.14, _asyncio alone breaks the process */
    MODULE_IMPORT(handle_base, "asyncio", "Handle", false),
    MODULE_IMPORT(timer_handle_base, "asyncio", "TimerHandle", false),
    MODULE_IMPORT(guarded_handle_base, "asyncio.events", "_ThreadSafeHandle",
                  true),
    MODULE_IMPORT(future_base, "asyncio", "Future", false),
    MODULE_IMPORT(task_base, "asyncio", "Task", false),
    MODULE_IMPORT(transport_base, "asyncio.transports", "_FlowControlMixin",
                  false),
    MODULE_IMPORT(read_transport_base, "asyncio", "ReadTransport", false),
    MODULE_IMPORT(buffered_protocol, "asyncio", "BufferedProtocol", false),
    MODULE_IMPORT(cancelled_error, "asyncio", "CancelledError", false),
    MODULE_IMPORT(invalid_state_error, "asyncio", "InvalidStateError", false),
    MODULE_IMPORT(is_coroutine, "asyncio", "iscoroutine", false),
    MODULE_IMPORT(eager_task_factory, "asyncio", "eager_task_factory", true),
    MODULE_IMPORT(extract_stack, "asyncio.format_helpers", "extract_stack",
                  false),
    MODULE_IMPORT(enter_task, "asyncio.tasks", "_enter_task", false),
    MODULE_IMPORT(leave_task, "asyncio.tasks", "_leave_task", false),
    MODULE_IMPORT(swap_current_task, "asyncio.tasks", "_swap_current_task",
                  true),
    MODULE_IMPORT(register_task, "asyncio.tasks", "_register_task", false),
    MODULE_IMPORT(unregister_task, "asyncio.tasks", "_unregister_task", false),
    MODULE_IMPORT(register_eager_task, "asyncio.tasks", "_register_eager_task",
                  true),
    MODULE_IMPORT(unregister_eager_task, "asyncio.tasks",
                  "_unregister_eager_task", true),
    MODULE_IMPORT(current_tasks, "asyncio.tasks", "_current_tasks", true),
    MODULE_IMPORT(awaited_by_add, "asyncio", "future_add_to_awaited_by", true),
    MODULE_IMPORT(awaited_by_discard, "asyncio",
                  "future_discard_from_awaited_by", true),
    MODULE_IMPORT(base_set_exception, "asyncio", "Future.set_exception", false),
    MODULE_IMPORT(base_cancel, "asyncio", "Future.cancel", false),
    MODULE_IMPORT(base_result, "asyncio", "Future.result", false),
    MODULE_IMPORT(base_add_done_callback, "asyncio", "Future.add_done_callback",
                  false),
    MODULE_IMPORT(base_remove_done_callback, "asyncio",
                  "Future.remove_done_callback", false),
    MODULE_IMPORT(base_callbacks, "asyncio", "Future._callbacks", false),
    MODULE_IMPORT(base_task_cancel, "asyncio", "Task.cancel", false),
};

static PyObject *
module_import(const ModuleImport *import)
{
    PyObject *object = PyImport_ImportModule(import->module);
    const char *name = import->path;

    while (object != NULL && *name != '\0') {
        const char *dot = strchr(name, '.');
        size_t length = dot != NULL ? (size_t)(dot - name) : strlen(name);
        PyObject *key = PyUnicode_FromStringAndSize(name, (Py_ssize_t)length);
        PyObject *next = key != NULL ? PyObject_GetAttr(object, key) : NULL;

        Py_XDECREF(key);
        Py_SETREF(object, next);
        name += length + (dot != NULL);
    }
    return object;
}

static int
module_import_all(ModuleState *state)
{
    size_t count = sizeof module_imports / sizeof *module_imports;

    for (size_t i = 0; i < count; i++) {
        const ModuleImport *import = &module_imports[i];
        PyObject *object = module_import(import);

        if (object == NULL) {
            if (!import->is_optional
                || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
                return -1;
            }
            PyErr_Clear();
        }
        *(PyObject **)((char *)state + import->offset) = object;
    }
    return 0;
}

/* ---- the module ---- */

static int
module_refuse_subinterpreter(void)
{
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) {
        return 0;
    }
    PyErr_SetString(PyExc_ImportError,
                    "kolk does not support sub-interpreters");
    return -1;
}

/* Does the running version's create_task() take any keyword? */
static int
module_find_signature(ModuleState *state)
{
    static const ModuleImport flags = {
        "asyncio", "BaseEventLoop.create_task.__code__.co_flags", 0, false};
    PyObject *value = module_import(&flags);

    if (value == NULL) {
        return -1;
    }
    state->create_task_takes_any = (PyLong_AsLong(value) & CO_VARKEYWORDS) != 0;
    Py_DECREF(value);
    return 0;
}

static int
module_add_version(PyObject *module)
{
    PyObject *version = PyUnicode_FromFormat(
        "%d.%d.%d", KOLK_VERSION_MAJOR, KOLK_VERSION_MINOR, KOLK_VERSION_PATCH);
    int err = version != NULL
                  ? PyModule_AddObjectRef(module, "__version__", version)
                  : -1;

    Py_XDECREF(version);
    return err;
}

static int
module_exec(PyObject *module)
{
    ModuleState *state = module_state(module);

    if (module_refuse_subinterpreter() < 0) {
        return -1;
    }
    state->module = module;
    if (module_intern_names(state) < 0 || module_import_all(state) < 0
        || module_find_signature(state) < 0 || module_add_version(module) < 0
        || PyModule_AddFunctions(module, layout_functions) < 0
        || PyModule_AddFunctions(module, registry_functions) < 0
        || PyModule_AddFunctions(module, loop_task_functions) < 0
        || handle_types_add(module, state) < 0
        || loop_type_add(module, state) < 0
        || transport_types_add(module, state) < 0) {
        return -1;
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    ModuleState *state = module_state(module);

#define MODULE_VISIT(name) Py_VISIT(state->name);
    STATE_OBJECTS(MODULE_VISIT)
#undef MODULE_VISIT
    return 0;
}

static void
module_free_pool(StatePool *pool)
{
    while (pool->head != NULL) {
        PyObject *op = pool->head;

        pool->head = STATE_POOL_NEXT(op);
        PyObject_GC_Del(op);
    }
    pool->count = STATE_POOL_MAX; /* nothing is kept from here on */
}

static int
module_clear(PyObject *module)
{
    ModuleState *state = module_state(module);

    /* The memory knows its type, which goes next. */
    for (size_t i = 0; i < sizeof state->handles / sizeof *state->handles;
         i++) {
        module_free_pool(&state->handles[i]);
    }
    module_free_pool(&state->futures);
    module_free_pool(&state->task_pool);
#define MODULE_CLEAR(name) Py_CLEAR(state->name);
    STATE_OBJECTS(MODULE_CLEAR)
#undef MODULE_CLEAR
#define MODULE_CLEAR(name) Py_CLEAR(state->str.name);
    STATE_NAMES(MODULE_CLEAR)
#undef MODULE_CLEAR
    return 0;
}

static void
module_free(void *module)
{
    (void)module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

struct PyModuleDef kolk_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "kolk._kolk",
    .m_doc = "What kolk does per event. Programs use the package kolk.",
    .m_size = sizeof(ModuleState),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__kolk(void);

PyMODINIT_FUNC
PyInit__kolk(void)
{
    return PyModuleDef_Init(&kolk_module);
}
