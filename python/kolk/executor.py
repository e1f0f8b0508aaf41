"""Blocking work in threads: executors."""

import concurrent.futures
import sys
import threading
import warnings
from asyncio import futures, timeouts


class ExecutorMixin:
    __slots__ = ()

    def _init_executor(self):
        self._default_executor = None
        self._executor_shutdown_called = False

    def _close_executor(self):
        self._executor_shutdown_called = True
        executor, self._default_executor = self._default_executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def _check_default_executor(self):
        if self._executor_shutdown_called:
            raise RuntimeError("Executor shutdown has been called")

    def run_in_executor(self, executor, func, *args):
        """Call func(*args) in `executor`, or the default one for None."""
        self._check_closed()
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None:
            executor = self._default_executor
            self._check_default_executor()
            if executor is None:
                executor = concurrent.futures.ThreadPoolExecutor(
                    thread_name_prefix="asyncio")
                self._default_executor = executor
        return futures.wrap_future(executor.submit(func, *args), loop=self)

    def set_default_executor(self, executor):
        """Use `executor`, a ThreadPoolExecutor, where none is named."""
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")
        self._default_executor = executor

    if sys.version_info >= (3, 12):
        async def shutdown_default_executor(self, timeout=None):
            """Wait until the default executor's threads have ended."""
            await self._shutdown_executor(timeout)
    else:
        async def shutdown_default_executor(self):
            """Wait until the default executor's threads have ended."""
            await self._shutdown_executor(None)

    async def _shutdown_executor(self, timeout):
        self._executor_shutdown_called = True
        if self._default_executor is None:
            return
        future = self.create_future()
        thread = threading.Thread(target=self._do_shutdown, args=(future,))
        thread.start()
        try:
            async with timeouts.timeout(timeout):
                await future
        except TimeoutError:
            warnings.warn("The executor did not finishing joining "
                          f"its threads within {timeout} seconds.",
                          RuntimeWarning, stacklevel=3)
            self._default_executor.shutdown(wait=False)
        else:
            thread.join()

    def _do_shutdown(self, future):
        """In a thread of its own: joins the executor's."""
        try:
            self._default_executor.shutdown(wait=True)
            if not self.is_closed():
                self.call_soon_threadsafe(
                    futures._set_result_unless_cancelled, future, None)
        except Exception as error:
            if not self.is_closed() and not future.cancelled():
                self.call_soon_threadsafe(future.set_exception, error)
