"""sock_recv() and the like: wait until a socket is ready, then call.

Each tries at once, and waits only if the kernel has nothing yet.
"""

import errno
import functools
import io
import os
import socket
import stat
import sys
from asyncio import exceptions
from operator import methodcaller as call

# The most that one system call of sendfile() is asked to send.
_SENDFILE_MAX = 0x7FFF_F000
_FALLBACK_BLOCK = 256 * 1024


def _check_ssl_socket(sock):
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")


def _is_literal(family, host):
    """Is `host` an address that needs no look-up?"""
    try:
        socket.inet_pton(family, host)
    except (OSError, TypeError, ValueError):
        return False
    return True


class SocketsMixin:
    __slots__ = ()

    def _check_sock(self, sock):
        _check_ssl_socket(sock)
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")

    # ---- waiting ----

    def _sock_ready(self, future, sock, attempt):
        """The socket is ready: ends `future`, unless it is not after all."""
        if future.done():
            return
        try:
            result = attempt(sock)
        except (BlockingIOError, InterruptedError):
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            future = None  # the error leads here

    def _sock_read_done(self, fd, handle, future):
        if not handle.cancelled():
            self.remove_reader(fd)

    def _sock_write_done(self, fd, handle, future):
        if not handle.cancelled():
            self.remove_writer(fd)

    def _sock_when_readable(self, sock, attempt):
        """A future with the result of attempt(sock) once it does not block."""
        future = self.create_future()
        fd = sock.fileno()
        handle = self._add_reader(fd, self._sock_ready, future, sock, attempt)
        future.add_done_callback(
            functools.partial(self._sock_read_done, fd, handle))
        return future

    def _sock_when_writable(self, sock, attempt):
        future = self.create_future()
        fd = sock.fileno()
        handle = self._add_writer(fd, self._sock_ready, future, sock, attempt)
        future.add_done_callback(
            functools.partial(self._sock_write_done, fd, handle))
        return future

    # ---- receiving ----

    async def sock_recv(self, sock, n):
        """Receive up to `n` bytes."""
        self._check_sock(sock)
        try:
            return sock.recv(n)
        except (BlockingIOError, InterruptedError):
            pass
        return await self._sock_when_readable(sock, call("recv", n))

    async def sock_recv_into(self, sock, buf):
        """Receive into `buf`; return how many bytes."""
        self._check_sock(sock)
        try:
            return sock.recv_into(buf)
        except (BlockingIOError, InterruptedError):
            pass
        return await self._sock_when_readable(sock, call("recv_into", buf))

    async def sock_recvfrom(self, sock, bufsize):
        """Receive a datagram; return it and where it came from."""
        self._check_sock(sock)
        try:
            return sock.recvfrom(bufsize)
        except (BlockingIOError, InterruptedError):
            pass
        return await self._sock_when_readable(sock,
                                              call("recvfrom", bufsize))

    async def sock_recvfrom_into(self, sock, buf, nbytes=0):
        """Receive a datagram into `buf`; return its size and its origin."""
        self._check_sock(sock)
        if not nbytes:
            nbytes = len(buf)
        try:
            return sock.recvfrom_into(buf, nbytes)
        except (BlockingIOError, InterruptedError):
            pass
        return await self._sock_when_readable(
            sock, call("recvfrom_into", buf, nbytes))

    # ---- sending ----

    async def sock_sendall(self, sock, data):
        """Send all of `data`."""
        self._check_sock(sock)
        try:
            sent = sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent == len(data):
            return
        await self._sock_when_writable(sock, _Rest(data, sent))

    async def sock_sendto(self, sock, data, address):
        """Send `data` as one datagram; return how many bytes were sent."""
        self._check_sock(sock)
        try:
            return sock.sendto(data, address)
        except (BlockingIOError, InterruptedError):
            pass
        return await self._sock_when_writable(
            sock, call("sendto", data, 0, address))

    # ---- connections ----

    async def sock_connect(self, sock, address):
        """Connect `sock` to `address`."""
        self._check_sock(sock)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            address = await self._sock_resolve(sock, address)
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            # The kernel goes on by itself. The socket becomes writable when
            # it has succeeded or failed.
            await self._sock_when_writable(
                sock, functools.partial(_finish_connect, address))

    async def _sock_resolve(self, sock, address):
        host, port = address[:2]
        if _is_literal(sock.family, host) and isinstance(port, int):
            return address
        found = await self.getaddrinfo(host, port, family=sock.family,
                                       type=sock.type, proto=sock.proto)
        if not found:
            raise OSError("getaddrinfo() returned empty list")
        return found[0][4]

    async def sock_accept(self, sock):
        """Accept a connection; return its socket and the peer's address."""
        self._check_sock(sock)
        try:
            return _accept(sock)
        except (BlockingIOError, InterruptedError):
            pass
        return await self._sock_when_readable(sock, _accept)

    # ---- files ----

    async def sock_sendfile(self, sock, file, offset=0, count=None, *,
                            fallback=True):
        """Send a file's bytes; return how many were sent."""
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        _check_ssl_socket(sock)
        _check_sendfile(sock, file, offset, count)
        try:
            return await self._sock_sendfile_native(sock, file, offset, count)
        except exceptions.SendfileNotAvailableError:
            if not fallback:
                raise
        return await self._sock_sendfile_fallback(sock, file, offset, count)

    async def _sock_sendfile_native(self, sock, file, offset, count):
        try:
            fd = file.fileno()
            info = os.fstat(fd)
        except (AttributeError, io.UnsupportedOperation, OSError):
            raise exceptions.SendfileNotAvailableError("not a regular file")
        if not stat.S_ISREG(info.st_mode):
            raise exceptions.SendfileNotAvailableError("not a regular file")
        if not (count if count is not None else info.st_size):
            return 0  # an empty file
        work = _SendFile(fd, offset, count)
        try:
            try:
                work(sock)
            except (BlockingIOError, InterruptedError):
                await self._sock_when_writable(sock, work)
        finally:
            if work.sent > 0:
                os.lseek(fd, offset + work.sent, os.SEEK_SET)
        return work.sent

    async def _sock_sendfile_fallback(self, sock, file, offset, count):
        if hasattr(file, "seek"):
            file.seek(offset)
        size = (min(count, _FALLBACK_BLOCK) if count else _FALLBACK_BLOCK)
        block = memoryview(bytearray(size))
        total = 0
        try:
            while count is None or total < count:
                part = block if count is None else block[:count - total]
                read = await self.run_in_executor(None, file.readinto, part)
                if not read:
                    break
                await self.sock_sendall(sock, part[:read])
                total += read
            return total
        finally:
            if total > 0 and hasattr(file, "seek"):
                file.seek(offset + total)


class _Rest:
    """What is left to send; called until it does not block."""

    def __init__(self, data, sent):
        self._view = memoryview(data)[sent:]

    def __call__(self, sock):
        while self._view:
            sent = sock.send(self._view)
            self._view = self._view[sent:]


class _SendFile:
    """A file that is being sent; called until it does not block."""

    def __init__(self, fd, offset, count):
        self._fd = fd
        self._offset = offset
        self._count = count
        self.sent = 0

    def __call__(self, sock):
        while self._count is None or self.sent < self._count:
            size = (_SENDFILE_MAX if self._count is None
                    else min(self._count - self.sent, _SENDFILE_MAX))
            try:
                sent = os.sendfile(sock.fileno(), self._fd,
                                   self._offset + self.sent, size)
            except OSError as error:
                self._translate(error)
                raise
            if sent == 0:
                return
            self.sent += sent

    def _translate(self, error):
        if (error.errno == errno.ENOTCONN
                and not isinstance(error, ConnectionError)):
            raise ConnectionError("socket is not connected",
                                  errno.ENOTCONN) from error
        if self.sent == 0 and error.errno not in (
                errno.EAGAIN, errno.EINTR, errno.EPIPE, errno.ECONNRESET):
            raise exceptions.SendfileNotAvailableError(
                "os.sendfile call failed") from error


def _finish_connect(address, sock):
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error != 0:
        raise OSError(error, f"Connect call failed {address}")


def _accept(sock):
    connection, address = sock.accept()
    connection.setblocking(False)
    return connection, address


def _check_sendfile(sock, file, offset, count):
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if not sock.type == socket.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    if count is not None:
        if not isinstance(count, int):
            raise TypeError(
                f"count must be a positive integer (got {count!r})")
        if count <= 0:
            raise ValueError(
                f"count must be a positive integer (got {count!r})")
    if not isinstance(offset, int):
        raise TypeError(
            f"offset must be a non-negative integer (got {offset!r})")
    if offset < 0:
        raise ValueError(
            f"offset must be a non-negative integer (got {offset!r})")
