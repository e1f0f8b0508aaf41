"""Is asyncio's Task what kolk's Task is built on?

Stock futures and tasks are driven through what they can do, and the extension
looks whether each field is where it has to be. Only then are Task and Future
of kolk's made; else loops make stock ones, and `reason` says why.
"""

import asyncio
import concurrent.futures
import contextvars
import os
import sys
import sysconfig

from kolk import _kolk

reason = None  # why tasks are asyncio's; None: they are ours


class _Difference(Exception):
    pass


class _ProbeLoop:
    """As much of a loop as a task needs to be made."""

    def __init__(self):
        self.scheduled = []

    def get_debug(self):
        return False

    def is_running(self):
        return False

    def call_soon(self, callback, *args, context=None):
        self.scheduled.append((callback, args))

    def call_exception_handler(self, context):
        pass


def _expect(task, **fields):
    for field, value in fields.items():
        if not _kolk.layout_has(task, field, value):
            raise _Difference(f"asyncio.Task.{field} is not where it was")


def _new_task(loop, name="probe"):
    async def probe():
        await future

    future = asyncio.Future(loop=loop)
    coro = probe()
    task = asyncio.Task(coro, loop=loop, name=name)
    return task, coro, future


def _step(loop):
    callback, args = loop.scheduled.pop()
    callback(*args)


def _verify_fresh(loop):
    name = "probe name"
    task, coro, _ = _new_task(loop, name)
    _expect(task, fut_loop=loop, callback0=None, context0=None, callbacks=None,
            exception=None, exception_tb=None, result=None, source_tb=None,
            cancel_msg=None, cancelled_exc=None, waiter=None, coro=coro,
            name=name, state=0, log_tb=0, blocking=0, must_cancel=0,
            log_destroy_pending=1, num_cancels=0)
    if hasattr(task, "get_context"):
        _expect(task, context=task.get_context())
    task._asyncio_future_blocking = True
    _expect(task, blocking=1)
    task._log_destroy_pending = False
    _expect(task, log_destroy_pending=0)

    context = contextvars.copy_context()
    callbacks = [lambda future: None for _ in range(3)]
    for callback in callbacks:
        task.add_done_callback(callback, context=context)
    _expect(task, callback0=callbacks[0], context0=context)
    message = object()
    task.cancel(message)
    _expect(task, must_cancel=1, num_cancels=1, cancel_msg=message)
    _finish(task, coro)


def _verify_done(loop):
    result = object()
    task, coro, _ = _new_task(loop)
    asyncio.tasks._unregister_task(task)
    asyncio.Future.set_result(task, result)
    _expect(task, state=2, result=result)
    _finish(task, coro)

    error = ValueError()
    task, coro, _ = _new_task(loop)
    asyncio.tasks._unregister_task(task)
    asyncio.Future.set_exception(task, error)
    _expect(task, state=2, exception=error, log_tb=1)
    task.exception()
    _expect(task, log_tb=0)
    _finish(task, coro)

    task, coro, _ = _new_task(loop)
    asyncio.tasks._unregister_task(task)
    asyncio.Future.cancel(task)
    _expect(task, state=1)
    _finish(task, coro)


def _finish(task, coro):
    """Leaves nothing behind: no warning, no entry in all_tasks()."""
    asyncio.tasks._unregister_task(task)
    if not task.done():
        asyncio.Future.cancel(task)
    task._log_destroy_pending = False
    coro.close()


def _verify_waiting(loop):
    """A step, for which the running loop has to be the probe's."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        task, coro, future = _new_task(loop)
        _step(loop)
    finally:
        asyncio._set_running_loop(running)
    _expect(task, waiter=future)
    if sys.version_info >= (3, 14):
        _expect(task, is_task=1, is_linked=1, awaited_by=None,
                awaited_by_is_set=0)
        asyncio.future_add_to_awaited_by(task, future)
        _expect(task, awaited_by=future, awaited_by_is_set=0)
        asyncio.future_discard_from_awaited_by(task, future)
    _finish(task, coro)


def _verify():
    if os.environ.get("KOLK_INTERNALS") == "0":
        return "KOLK_INTERNALS=0"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a free-threaded build"
    if asyncio.Task.__module__ != "_asyncio":
        return "asyncio.Task is written in Python here"
    sizes = asyncio.Future.__basicsize__, asyncio.Task.__basicsize__
    if sizes != _kolk.layout_sizes():
        return f"asyncio.Future and Task have {sizes} bytes"
    loop = _ProbeLoop()
    try:
        _verify_fresh(loop)
        _verify_done(loop)
        _verify_waiting(loop)
    except _Difference as difference:
        return str(difference)
    _kolk.layout_adopt()
    return None


def _find():
    """_verify(), in a thread of its own if a loop runs in this one."""
    if asyncio._get_running_loop() is None:
        return _verify()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(_verify).result()


reason = _find()
