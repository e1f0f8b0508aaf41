"""Child processes: started by subprocess.Popen, watched by their pidfd.

Where the kernel has no pidfd, a thread waits for each child. From 3.14 on
asyncio's own watchers do just that, and are taken as they are. Before, it has
one for the whole process, of which nothing is used.
"""

import os
import threading
from asyncio import unix_events
from asyncio.log import logger

_HAS_WATCHERS = hasattr(unix_events, "_PidfdChildWatcher")


class ChildrenMixin:
    __slots__ = ()

    # In which turn a child's end is told is asyncio's, which has changed.
    _child_watcher_callback = (
        unix_events._UnixSelectorEventLoop._child_watcher_callback)

    def _init_children(self):
        if not _HAS_WATCHERS:
            return
        if unix_events.can_use_pidfd():
            self._watcher = unix_events._PidfdChildWatcher()
        else:
            self._watcher = unix_events._ThreadedChildWatcher()

    async def _make_subprocess_transport(self, protocol, args, shell, stdin,
                                         stdout, stderr, bufsize, extra=None,
                                         **kwargs):
        waiter = self.create_future()
        transport = unix_events._UnixSubprocessTransport(
            self, protocol, args, shell, stdin, stdout, stderr, bufsize,
            waiter=waiter, extra=extra, **kwargs)
        self._watch_child(transport)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    def _watch_child(self, transport):
        try:
            pidfd = os.pidfd_open(transport.get_pid())
        except OSError:
            threading.Thread(target=self._wait_in_thread, args=(transport,),
                             name=f"kolk-child-{transport.get_pid()}",
                             daemon=True).start()
            return
        self._add_reader(pidfd, self._child_ended, transport, pidfd)

    def _child_ended(self, transport, pidfd):
        self._remove_reader(pidfd)
        os.close(pidfd)
        pid = transport.get_pid()
        self._child_watcher_callback(pid, _exit_code(pid), transport)

    def _wait_in_thread(self, transport):
        pid = transport.get_pid()
        code = _exit_code(pid)
        if self.is_closed():
            logger.warning("Loop %r that handles pid %r is closed", self, pid)
        else:
            self.call_soon_threadsafe(self._child_watcher_callback, pid, code,
                                      transport)


if _HAS_WATCHERS:
    ChildrenMixin._make_subprocess_transport = (
        unix_events._UnixSelectorEventLoop._make_subprocess_transport)


def _exit_code(pid):
    """How a child has ended, which is waited for."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        logger.warning(
            "child process pid %d exit status already read: "
            " will report returncode 255", pid)
        return 255
    return os.waitstatus_to_exitcode(status)
