"""Transports: what happens once per connection, in Python.

What happens per event is in the extension. Here connections begin and end,
and say what they are.
"""

import errno
import os
import socket
import stat
import warnings
from asyncio import (base_events, constants, exceptions, futures, transports,
                     trsock)
from asyncio.log import logger

from kolk import _kolk


def is_plain_socket(sock):
    """Is `sock` a socket of the kernel's, without methods of its own?"""
    kind = type(sock)
    return (issubclass(kind, socket.socket)
            and kind.recv is socket.socket.recv
            and kind.recv_into is socket.socket.recv_into
            and kind.send is socket.socket.send)


def _socket_extra(sock, extra):
    """What get_extra_info() knows of a socket."""
    extra = {} if extra is None else extra
    extra["socket"] = trsock.TransportSocket(sock)
    try:
        extra["sockname"] = sock.getsockname()
    except OSError:
        extra["sockname"] = None
    if "peername" not in extra:
        try:
            extra["peername"] = sock.getpeername()
        except OSError:
            extra["peername"] = None
    return extra


class _Base:
    """What all transports have in common."""

    __slots__ = ()

    _source_traceback = None  # for debug mode, which takes it for a handle
    _file = None  # the socket or file, until it is closed
    _number = None  # its descriptor

    def _begin(self, protocol, waiter, context):
        """Tells the protocol, then reads, then wakes `waiter`."""
        call_soon = self._loop.call_soon
        call_soon(protocol.connection_made, self, context=context)
        # only start reading when connection_made() has been called
        call_soon(self._start_reading, context=context)
        if waiter is not None:
            # only wake up the waiter when connection_made() has been called
            call_soon(futures._set_result_unless_cancelled, waiter, None,
                      context=context)

    def _call_connection_lost(self, exc):
        """The last call of the protocol's; then everything is let go."""
        protocol = self.get_protocol()
        try:
            if protocol is not None:
                protocol.connection_lost(exc)
        finally:
            self._forget()
            self._close_file()

    def _close_file(self):
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def __del__(self, _warn=warnings.warn):
        if self._file is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning,
                  source=self)
            self._close_file()

    def _fatal_error(self, exc, message="Fatal error on transport"):
        """Something of the protocol's or the kernel's has failed."""
        if isinstance(exc, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._tell(exc, message)
        self._force_close(exc)

    def _tell(self, exc, message):
        self._loop.call_exception_handler({
            "message": message,
            "exception": exc,
            "transport": self,
            "protocol": self.get_protocol(),
        })

    def _report(self, exc, message):
        """A callback has failed, and the connection goes on."""
        self._tell(exc, message or f"Exception in callback of {self!r}")

    def _log(self, message):
        logger.debug(message, self)

    def _describe(self):
        """The words of repr(): what it is and how far it has come."""
        yield self.__class__.__name__
        if self._file is None:
            yield "closed"
        elif self.is_closing():
            yield "closing"
        yield f"fd={self._number}"


class _Writing:
    """What transports that write have in common."""

    __slots__ = ()

    def _begin_limits(self):
        self._high_water = 64 * 1024
        self._low_water = 16 * 1024

    def set_write_buffer_limits(self, high=None, low=None):
        """Set when pause_writing() and resume_writing() are called."""
        self._set_write_buffer_limits(high=high, low=low)
        self._set_limits(self._high_water, self._low_water)


class Transport(_kolk.TransportBase, _Base, _Writing):
    """A connection: an asyncio.Transport of a stream socket."""

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE
    _server = None
    _held = None  # the socket, which others cannot close

    def __init__(self, loop, sock, protocol, waiter=None, extra=None,
                 server=None, context=None):
        self._extra = _socket_extra(sock, extra)
        self._begin_limits()
        self._number = sock.fileno()
        try:
            self._open(loop, self._number, protocol, context, "s")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # Somebody watches it, who gives way, as in asyncio.
            loop._remove_reader(self._number)
            loop._remove_writer(self._number)
            self._open(loop, self._number, protocol, context, "s")
        self._file = sock
        # A close() of the program's is put off until ours.
        self._held = sock
        sock._io_refs += 1
        if server is not None:
            self._server = server
            _attach(server, self)
        self._begin(protocol, waiter, context)

    @property
    def _sock(self):
        return self._file

    @_sock.setter
    def _sock(self, sock):
        self._file = sock

    @property
    def _read_ready_cb(self):
        return None if self.is_closing() else self._start_reading

    @property
    def _sock_fd(self):
        return self._number

    def _close_file(self):
        held, self._held = self._held, None
        if held is not None:
            held._io_refs -= 1
        super()._close_file()
        server, self._server = self._server, None
        if server is not None:
            _detach(server, self)

    def _warn_lost(self):
        logger.warning("socket.send() raised exception.")

    def __repr__(self):
        info = list(self._describe())
        if self._loop is not None and not self._loop.is_closed():
            info.append("read=polling" if self.is_reading() else "read=idle")
            size = self.get_write_buffer_size()
            state = "polling" if size else "idle"
            info.append(f"write=<{state}, bufsize={size}>")
        return f"<{' '.join(info)}>"

    # ---- files ----

    async def send_file(self, file, offset, count):
        """sendfile(2); return how many bytes were sent."""
        fd = _regular_file(file)
        if not (count or os.fstat(fd).st_size):
            return 0
        future = self._loop.create_future()
        total = 0

        def ended(error, sent):
            nonlocal total
            total = sent
            if future.done():
                return
            if error == 0:
                future.set_result(None)
            else:
                future.set_exception(_sendfile_error(error))

        was_reading = self.is_reading()
        self.pause_reading()
        try:
            self._sendfile(fd, offset, count or -1, ended)
            try:
                await future
            except exceptions.CancelledError:
                self._cancel_sendfile()
                raise
        finally:
            os.lseek(fd, offset + total, os.SEEK_SET)
            if was_reading:
                self.resume_reading()
        return total


class DatagramTransport(_kolk.DatagramBase, _Base, _Writing,
                        transports.DatagramTransport):
    """A datagram socket: an asyncio.DatagramTransport."""

    def __init__(self, loop, sock, protocol, address=None, waiter=None,
                 extra=None, context=None):
        self._extra = _socket_extra(sock, extra)
        self._begin_limits()
        self._address = address
        self._number = sock.fileno()
        self._open_datagram(loop, self._number, protocol, context,
                            sock.family,
                            self._extra["peername"] is not None, address)
        self._file = self._held = sock
        sock._io_refs += 1
        self._begin(protocol, waiter, context)

    def _send_late(self, data, address):
        """sendto() between close() and the last callback."""
        try:
            if self._extra["peername"]:
                self._file.send(data)
            else:
                self._file.sendto(data, address)
        except (BlockingIOError, InterruptedError):
            pass  # it would be closed before it could be sent
        except OSError as error:
            self.get_protocol().error_received(error)

    _held = None
    _sock = property(lambda self: self._file)
    _sock_fd = property(lambda self: self._number)

    def _close_file(self):
        held, self._held = self._held, None
        if held is not None:
            held._io_refs -= 1
        super()._close_file()

    def _warn_lost(self):
        logger.warning("socket.send() raised exception.")

    def __repr__(self):
        info = list(self._describe())
        if self._loop is not None and not self._loop.is_closed():
            info.append("read=polling" if self.is_reading() else "read=idle")
            size = self.get_write_buffer_size()
            state = "polling" if size else "idle"
            info.append(f"write=<{state}, bufsize={size}>")
        return f"<{' '.join(info)}>"


def takes_datagrams(sock):
    """Is `sock` a datagram socket that DatagramTransport knows?"""
    return (is_plain_socket(sock)
            and sock.type == socket.SOCK_DGRAM
            and sock.family in (socket.AF_INET, socket.AF_INET6,
                                socket.AF_UNIX)
            and type(sock).recvfrom is socket.socket.recvfrom
            and type(sock).sendto is socket.socket.sendto)


class _Pipe(_Base):
    """A transport of a pipe, or of what is used as one."""

    __slots__ = ()

    _copy = None  # a descriptor of ours, where the file's is in use already

    def _begin_pipe(self, loop, pipe, protocol, waiter, extra, kind, message):
        self._extra = extra = {} if extra is None else extra
        extra["pipe"] = pipe
        number = pipe.fileno()
        mode = os.fstat(number).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
                or stat.S_ISCHR(mode)):
            raise ValueError(message)
        self._number = number
        try:
            self._open(loop, number, protocol, None, kind)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # The other direction of the same file has a transport.
            self._copy = os.dup(number)
            self._open(loop, self._copy, protocol, None, kind)
        self._file = pipe
        self._begin(protocol, waiter, None)

    @property
    def _pipe(self):
        return self._file

    @_pipe.setter
    def _pipe(self, file):
        self._file = file

    @property
    def _fileno(self):
        return self._number

    def _close_file(self):
        copy, self._copy = self._copy, None
        if copy is not None:
            os.close(copy)
        super()._close_file()

    def _tell_eof(self):
        self._loop.call_soon(self.get_protocol().eof_received)

    def __repr__(self):
        info = list(self._describe())
        if self._file is None:
            info.append("closed")
        elif self._loop is None or self._loop.is_closed():
            info.append("open")
        else:
            info.append(self._activity())
        return f"<{' '.join(info)}>"


class ReadPipeTransport(_kolk.ReadPipeBase, _Pipe):
    """The reading end of a pipe: an asyncio.ReadTransport."""

    def __init__(self, loop, pipe, protocol, waiter=None, extra=None):
        self._begin_pipe(loop, pipe, protocol, waiter, extra, "r",
                         "Pipe transport is for pipes/sockets only.")

    def _call_connection_lost(self, exc):
        if exc is not None and getattr(exc, "errno", None) != errno.EIO:
            self._tell(exc, "Fatal read error on pipe transport")
        super()._call_connection_lost(exc)

    def _activity(self):
        return "polling" if self.is_reading() else "idle"


class WritePipeTransport(_kolk.TransportBase, _Pipe, _Writing):
    """The writing end of a pipe: an asyncio.WriteTransport."""

    def __init__(self, loop, pipe, protocol, waiter=None, extra=None):
        self._begin_limits()
        self._begin_pipe(loop, pipe, protocol, waiter, extra, "w",
                         "Pipe transport is only for "
                         "pipes, sockets and character devices")

    def _warn_lost(self):
        logger.warning("pipe closed by peer or "
                       "os.write(pipe, data) raised exception.")

    def _activity(self):
        size = self.get_write_buffer_size()
        return f"{'polling' if size else 'idle'} bufsize={size}"


def _regular_file(file):
    """The descriptor of a file that sendfile(2) takes."""
    try:
        fd = file.fileno()
        is_regular = stat.S_ISREG(os.fstat(fd).st_mode)
    except (AttributeError, OSError):  # io.UnsupportedOperation is one
        is_regular = False
    if not is_regular:
        raise exceptions.SendfileNotAvailableError("not a regular file")
    return fd


def _sendfile_error(error):
    failure = OSError(error, os.strerror(error))
    if isinstance(failure, ConnectionError):
        return failure
    return ConnectionError("Connection is closed by peer")


# Since 3.12.1 servers know their transports, before only how many there are.
_IS_COUNTING = "transport" not in (
    base_events.Server._attach.__code__.co_varnames)


def _attach(server, transport):
    if _IS_COUNTING:
        server._attach()
    else:
        server._attach(transport)


def _detach(server, transport):
    if _IS_COUNTING:
        server._detach()
    else:
        server._detach(transport)
