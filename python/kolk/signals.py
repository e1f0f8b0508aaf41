"""Signals: handlers of the program's, and waking the loop for Python's own.

CPython's handler writes each signal's number to one descriptor. In the main
thread that is a socket pair of the loop's while it runs, so that no signal is
slept over. Only while the program has signal handlers is it a reason to poll
while there is work; else it waits in the background.
"""

import asyncio
import errno
import signal
import socket
import sys
import threading
import warnings
from asyncio import coroutines
from asyncio.log import logger


def _do_nothing(number, frame):
    """A handler, so that Python writes the signal's number."""


class SignalsMixin:
    __slots__ = ()

    def _init_signals(self):
        self._signal_handlers = {}
        self._signal_pair = None
        self._outer_wakeup_fd = None

    # ---- the socket pair ----

    def _open_signal_pair(self):
        if self._signal_pair is None:
            pair = socket.socketpair()
            for end in pair:
                end.setblocking(False)
            self._signal_pair = pair
            self._add_reader(pair[0].fileno(), self._read_signals)
            self._set_background(pair[0].fileno(),
                                 not self._signal_handlers)
        return self._signal_pair[1].fileno()

    def _set_signals_background(self):
        if self._signal_pair is not None and not self.is_closed():
            self._set_background(self._signal_pair[0].fileno(),
                                 not self._signal_handlers)

    def _read_signals(self):
        while True:
            try:
                numbers = self._signal_pair[0].recv(4096)
            except InterruptedError:
                continue
            except BlockingIOError:
                return
            for number in numbers:
                self._handle_signal(number)
            if len(numbers) < 4096:
                return

    def _begin_signals(self):
        """A run begins: CPython's handler wakes this loop, unless the program
        has set another descriptor."""
        if threading.current_thread() is not threading.main_thread():
            return
        try:
            outer = signal.set_wakeup_fd(self._open_signal_pair(),
                                         warn_on_full_buffer=False)
            if outer != -1 and outer != self._signal_pair[1].fileno():
                signal.set_wakeup_fd(outer)
            else:
                self._outer_wakeup_fd = outer
        except (ValueError, OSError):
            pass  # not the main interpreter; then nothing wakes it early

    def _end_signals(self):
        outer, self._outer_wakeup_fd = self._outer_wakeup_fd, None
        if outer == -1 and not self._signal_handlers:
            signal.set_wakeup_fd(-1)

    def _close_signals(self):
        if sys.is_finalizing():
            if self._signal_handlers:
                warnings.warn(f"Closing the loop {self!r} "
                              f"on interpreter shutdown "
                              f"stage, skipping signal handlers removal",
                              ResourceWarning, source=self)
                self._signal_handlers.clear()
        else:
            for number in list(self._signal_handlers):
                self.remove_signal_handler(number)
        if self._signal_pair is not None:
            self._remove_reader(self._signal_pair[0].fileno())
            for end in self._signal_pair:
                end.close()
            self._signal_pair = None

    # ---- the program's handlers ----

    def _check_signal(self, sig):
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")

    def add_signal_handler(self, sig, callback, *args):
        """Call callback(*args) in the loop when the process gets `sig`."""
        if (coroutines.iscoroutine(callback)
                or _iscoroutinefunction(callback)):
            raise TypeError("coroutines cannot be used "
                            "with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        try:
            signal.set_wakeup_fd(self._open_signal_pair())
        except (ValueError, OSError) as error:
            raise RuntimeError(str(error))  # not the main thread
        self._signal_handlers[sig] = asyncio.Handle(callback, args, self)
        self._set_signals_background()
        try:
            signal.signal(sig, _do_nothing)
            signal.siginterrupt(sig, False)
        except OSError as error:
            del self._signal_handlers[sig]
            self._release_wakeup()
            if error.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught")
            raise

    def remove_signal_handler(self, sig):
        """Stop handling `sig`; return whether it was handled."""
        self._check_signal(sig)
        try:
            del self._signal_handlers[sig]
        except KeyError:
            return False
        handler = (signal.default_int_handler if sig == signal.SIGINT
                   else signal.SIG_DFL)
        try:
            signal.signal(sig, handler)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise RuntimeError(f"sig {sig} cannot be caught")
            raise
        self._release_wakeup()
        return True

    def _release_wakeup(self):
        """Without handlers, Python's signals wake the loop only as it runs."""
        if self._signal_handlers:
            return
        self._set_signals_background()
        if self.is_running() and self._outer_wakeup_fd is not None:
            return
        try:
            signal.set_wakeup_fd(-1)
        except (ValueError, OSError) as error:
            logger.info("set_wakeup_fd(-1) failed: %s", error)

    def _handle_signal(self, sig):
        handle = self._signal_handlers.get(sig)
        if handle is None:
            return  # Python's own handler has run already
        if handle._cancelled:
            self.remove_signal_handler(sig)
        else:
            self.call_soon(handle._callback, *handle._args,
                           context=handle._context)


try:
    _iscoroutinefunction = coroutines._iscoroutinefunction
except AttributeError:
    _iscoroutinefunction = coroutines.iscoroutinefunction
