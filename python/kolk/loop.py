"""The event loop: what happens once per run, in Python.

What happens per event is in the extension, LoopBase. Here is what surrounds
a run: the checks before it, the hooks of asynchronous generators, debug mode,
closing.
"""

import asyncio
import os
import sys
import threading
import warnings
import weakref
from asyncio import base_events, coroutines, events, futures, tasks

from kolk import _kolk
from kolk.children import ChildrenMixin
from kolk.connections import ConnectionsMixin
from kolk.executor import ExecutorMixin
from kolk.reports import ReportsMixin
from kolk.signals import SignalsMixin
from kolk.sockets import SocketsMixin

# How many frames of a coroutine's creation debug mode keeps.
_ORIGIN_DEPTH = 10


def _is_debug_mode():
    """Is asyncio's debug mode asked for, by the command line or environment?"""
    return sys.flags.dev_mode or (
        not sys.flags.ignore_environment
        and bool(os.environ.get("PYTHONASYNCIODEBUG")))


def _run_until_complete_cb(future):
    """Ends the run that waits for `future`."""
    if not future.cancelled():
        error = future.exception()
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            return  # it has ended the run already
    futures._get_loop(future).stop()


class Loop(_kolk.LoopBase, ReportsMixin, ExecutorMixin, SignalsMixin,
           SocketsMixin, ConnectionsMixin, ChildrenMixin,
           asyncio.AbstractEventLoop):
    """An asyncio event loop on libkolk.

    backend -- "epoll" or "io_uring"; by default what the environment variable
        KOLK_BACKEND says, or epoll
    nested -- may run_forever() and run_until_complete() be called while the
        loop runs, in its own callbacks?
    """

    def __init__(self, *, backend=None, nested=False):
        self._open(backend, nested)
        self.slow_callback_duration = 0.1
        self._init_reports()
        self._init_executor()
        self._init_signals()
        self._init_connections()
        self._init_children()
        self._asyncgens = weakref.WeakSet()
        self._asyncgens_shutdown_called = False
        self._old_agen_hooks = None
        self._saved_origin_depth = None
        self._debug = _is_debug_mode()

    def __repr__(self):
        return (f"<{self.__class__.__name__} running={self.is_running()} "
                f"closed={self.is_closed()} debug={self.get_debug()}>")

    def __del__(self, _warn=warnings.warn):
        if not self.is_closed():
            _warn(f"unclosed event loop {self!r}", ResourceWarning,
                  source=self)
            if not self.is_running():
                self.close()

    # ---- checks ----

    def _check_closed(self):
        if self.is_closed():
            raise RuntimeError("Event loop is closed")

    def _check_running(self):
        if self.is_running():
            if self._is_nested and self._thread_id == threading.get_ident():
                return
            raise RuntimeError("This event loop is already running")
        if events._get_running_loop() is not None:
            raise RuntimeError(
                "Cannot run the event loop while another loop is running")

    def _check_callback(self, callback, method):
        if (coroutines.iscoroutine(callback)
                or _iscoroutinefunction(callback)):
            raise TypeError(f"coroutines cannot be used with {method}()")
        if not callable(callback):
            raise TypeError(
                f"a callable object was expected by {method}(), "
                f"got {callback!r}")

    # ---- running ----

    def _run_forever_setup(self):
        """Prepares a run; for subclasses that run turns themselves."""
        self._check_closed()
        self._check_running()
        self._track_origins(self._debug)
        self._old_agen_hooks = sys.get_asyncgen_hooks()
        self._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook,
                               finalizer=self._asyncgen_finalizer_hook)
        events._set_running_loop(self)
        self._begin_signals()

    def _run_forever_cleanup(self):
        """Undoes _run_forever_setup()."""
        self._end_signals()
        self._thread_id = None
        events._set_running_loop(None)
        self._track_origins(False)
        if self._old_agen_hooks is not None:
            sys.set_asyncgen_hooks(*self._old_agen_hooks)
            self._old_agen_hooks = None

    def run_forever(self):
        """Run until stop() is called."""
        if self._is_nested and self.is_running():
            self._run_nested()
            return
        self._run_forever_setup()
        try:
            self._run()
        finally:
            self._run_forever_cleanup()

    def _run_nested(self):
        """Runs turns inside of a callback or a task's step."""
        self._check_closed()
        self._check_running()
        task = tasks.current_task(self)
        if task is not None:
            tasks._leave_task(self, task)
        try:
            self._run()
        finally:
            if task is not None:
                tasks._enter_task(self, task)

    def run_once(self):
        """Run one turn without blocking; return whether more is ready.

        For a loop that is a guest of another one, which polls fileno(). The
        other one may be an asyncio loop that runs in this thread.
        """
        host = events._get_running_loop()
        events._set_running_loop(None)
        try:
            self._run_forever_setup()
            try:
                return self._turn()
            finally:
                self._run_forever_cleanup()
        finally:
            events._set_running_loop(host)

    def run_until_complete(self, future):
        """Run until `future` is done; return its result, or raise it.

        A coroutine is wrapped in a Task.
        """
        self._check_closed()
        self._check_running()
        is_new = not futures.isfuture(future)
        future = tasks.ensure_future(future, loop=self)
        if is_new:
            # It is this method that says so if the task did not end.
            future._log_destroy_pending = False
        future.add_done_callback(_run_until_complete_cb)
        try:
            self.run_forever()
        except:
            if is_new and future.done() and not future.cancelled():
                future.exception()  # it is raised here, so it is retrieved
            raise
        finally:
            future.remove_done_callback(_run_until_complete_cb)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def close(self):
        """Close the loop. What was scheduled does not run any more."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if self._debug:
            base_events.logger.debug("Close %r", self)
        self._close_signals()
        self._close()
        self._close_executor()

    # ---- asynchronous generators ----

    def _asyncgen_finalizer_hook(self, agen):
        self._asyncgens.discard(agen)
        if not self.is_closed():
            self.call_soon_threadsafe(self.create_task, agen.aclose())

    def _asyncgen_firstiter_hook(self, agen):
        if self._asyncgens_shutdown_called:
            warnings.warn(
                f"asynchronous generator {agen!r} was scheduled after "
                f"loop.shutdown_asyncgens() call",
                ResourceWarning, source=self)
        self._asyncgens.add(agen)

    async def shutdown_asyncgens(self):
        """Close all asynchronous generators that are not exhausted."""
        self._asyncgens_shutdown_called = True
        closing = list(self._asyncgens)
        if not closing:
            return
        self._asyncgens.clear()
        results = await tasks.gather(*[agen.aclose() for agen in closing],
                                     return_exceptions=True)
        for result, agen in zip(results, closing):
            if isinstance(result, Exception):
                self.call_exception_handler({
                    "message": f"an error occurred during closing of "
                               f"asynchronous generator {agen!r}",
                    "exception": result,
                    "asyncgen": agen,
                })

    # ---- debug mode ----

    def set_debug(self, enabled):
        """Switch debug mode on or off."""
        self._debug = enabled
        if self.is_running():
            self.call_soon_threadsafe(self._track_origins, enabled)

    def _track_origins(self, enabled):
        """Lets coroutines know where they were created, while debugging."""
        if bool(enabled) == (self._saved_origin_depth is not None):
            return
        if enabled:
            self._saved_origin_depth = (
                sys.get_coroutine_origin_tracking_depth())
            sys.set_coroutine_origin_tracking_depth(_ORIGIN_DEPTH)
        else:
            sys.set_coroutine_origin_tracking_depth(self._saved_origin_depth)
            self._saved_origin_depth = None

    def _debug_slow(self, what, took):
        """Debug mode: `what`, a handle or a task, took so many seconds."""
        if took >= self.slow_callback_duration:
            base_events.logger.warning("Executing %s took %.3f seconds",
                                       _describe_step(what), took)

    # ---- tasks ----

    def _create_task_with(self, factory, coro, keywords):
        """The task that `factory` makes, called as this version calls it."""
        if _FACTORY_TAKES_ANY:
            return factory(self, coro, **keywords)
        context = keywords.get("context")
        if context is None:
            task = factory(self, coro)
        else:
            task = factory(self, coro, context=context)
        if _SET_TASK_NAME is not None:
            _SET_TASK_NAME(task, keywords.get("name"))
        else:
            task.set_name(keywords.get("name"))
        return task


# Before 3.13, factories may make tasks that have no names.
_SET_TASK_NAME = getattr(tasks, "_set_task_name", None)
_FACTORY_TAKES_ANY = bool(
    asyncio.BaseEventLoop.create_task.__code__.co_flags & 0x08)

try:
    _iscoroutinefunction = coroutines._iscoroutinefunction
except AttributeError:
    _iscoroutinefunction = coroutines.iscoroutinefunction


def _describe_step(what):
    """What debug mode calls a callback: a task's step is the task."""
    owner = getattr(getattr(what, "_callback", None), "__self__", None)
    if isinstance(owner, tasks.Task):
        return repr(owner)
    return repr(what) if isinstance(what, tasks.Task) else str(what)


def new_event_loop():
    """A new kolk.Loop; what asyncio.Runner and others take as a factory."""
    return Loop()
