"""Connections and servers: what happens once per connection, in Python.

asyncio makes them in methods of its own loops that ask nothing of the loop
but the interface: they resolve names, try addresses in turn, bind sockets,
and check arguments. Those methods are taken as they are, so that signatures,
messages and order are those of the running version. Here is what they stand
on: which transports are made, and how connections are taken.
"""

import errno
import functools
import os
import weakref
from asyncio import (base_events, constants, exceptions, selector_events,
                     sslproto, trsock, unix_events)
from asyncio.log import logger

from kolk import unix_paths
from kolk.foreign import ForeignDatagramTransport, ForeignTransport
from kolk.transports import (DatagramTransport, ReadPipeTransport, Transport,
                             WritePipeTransport, is_plain_socket,
                             takes_datagrams)

# What out of descriptors or memory accept() says.
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS,
                        errno.ENOMEM))

# What follows the backlog in asyncio's calls, by default.
_TIMES_AND_CONTEXT = (constants.SSL_HANDSHAKE_TIMEOUT,
                      constants.SSL_SHUTDOWN_TIMEOUT)
if "context" in (selector_events.BaseSelectorEventLoop._accept_connection
                 .__code__.co_varnames[:10]):
    _TIMES_AND_CONTEXT += (None,)

_create_unix_server = unix_events._UnixSelectorEventLoop.create_unix_server

_BORROWED = {
    base_events.BaseEventLoop: (
        "_connect_sock", "_create_connection_transport",
        "_create_server_getaddrinfo", "_ensure_resolved", "_log_subprocess",
        "_getaddrinfo_debug", "_sendfile_fallback", "connect_accepted_socket", "connect_read_pipe",
        "connect_write_pipe", "create_connection", "create_datagram_endpoint",
        "create_server", "getaddrinfo", "getnameinfo", "sendfile",
        "start_tls", "subprocess_exec", "subprocess_shell"),
    selector_events.BaseSelectorEventLoop: (
        "_accept_connection2",),
    unix_events._UnixSelectorEventLoop: (
        "create_unix_connection",),
}


def _borrow(cls):
    """Puts asyncio's functions into `cls`, where it has none of its own."""
    for owner, names in _BORROWED.items():
        for name in names:
            if name not in vars(cls):
                setattr(cls, name, getattr(owner, name))
    return cls


@_borrow
class ConnectionsMixin:
    __slots__ = ()

    def _init_connections(self):
        self._unix_server_sockets = {}
        self._transports = weakref.WeakValueDictionary()
        self._exhausted = set()  # sockets that wait for descriptors

    # ---- transports ----

    def _make_socket_transport(self, sock, protocol, waiter=None, *,
                               extra=None, server=None, context=None):
        if is_plain_socket(sock):
            self._ensure_fd_no_transport(sock)
            return Transport(self, sock, protocol, waiter, extra, server,
                             context)
        # Only its own methods know how to read from it.
        self._ensure_fd_no_transport(sock)
        return ForeignTransport(
            self, sock, protocol, waiter, extra, server,
            **({} if context is None else {"context": context}))

    def _make_ssl_transport(self, rawsock, protocol, sslcontext, waiter=None,
                            *, server_side=False, server_hostname=None,
                            extra=None, server=None, context=None, **times):
        ssl_protocol = sslproto.SSLProtocol(
            self, protocol, sslcontext, waiter, server_side, server_hostname,
            **times)
        self._make_socket_transport(rawsock, ssl_protocol, extra=extra,
                                    server=server, context=context)
        return ssl_protocol._app_transport

    def _make_datagram_transport(self, sock, protocol, address=None,
                                 waiter=None, extra=None):
        if takes_datagrams(sock):
            self._ensure_fd_no_transport(sock)
            return DatagramTransport(self, sock, protocol, address, waiter,
                                     extra)
        self._ensure_fd_no_transport(sock)
        return ForeignDatagramTransport(self, sock, protocol, address, waiter,
                                        extra)

    def _make_read_pipe_transport(self, pipe, protocol, waiter=None,
                                  extra=None):
        return ReadPipeTransport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(self, pipe, protocol, waiter=None,
                                   extra=None):
        return WritePipeTransport(self, pipe, protocol, waiter, extra)

    def _ensure_fd_no_transport(self, fd):
        """Raises RuntimeError for a descriptor that a transport has."""
        number = fd
        if not isinstance(number, int):
            try:
                number = int(number.fileno())
            except (AttributeError, TypeError, ValueError):
                raise ValueError(f"Invalid file object: {fd!r}") from None
        transport = (self._transport_of(number)
                     or self._transports.get(number))
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport "
                               f"{transport!r}")

    async def _sendfile_native(self, transport, file, offset, count):
        if not isinstance(transport, Transport):
            raise exceptions.SendfileNotAvailableError(
                "sendfile syscall is not supported")
        return await transport.send_file(file, offset, count)

    # ---- servers ----

    @functools.wraps(_create_unix_server)
    async def create_unix_server(self, protocol_factory, path=None, *,
                                 sock=None, **options):
        if not path or sock is not None:
            return await _create_unix_server(self, protocol_factory, path,
                                             sock=sock, **options)
        # asyncio would take the path of a server that lives.
        path = os.fspath(path)
        sock = unix_paths.bind(path)
        try:
            return await _create_unix_server(self, protocol_factory, None,
                                             sock=sock, **options)
        except Exception:
            self._unix_server_sockets.pop(sock, None)
            unix_paths.unbind(sock)
            raise

    def _start_serving(self, protocol_factory, sock, *how, **keywords):
        """Take connections of `sock`, which listens."""
        how = [protocol_factory, sock, *how, *keywords.values()]
        self._add_reader(sock.fileno(), self._accept_connection, *how)

    def _accept_connection(self, protocol_factory, sock, sslcontext=None,
                           server=None, backlog=100, *times_and_context):
        """`sock` is readable: takes the connections that wait."""
        times_and_context = times_and_context or _TIMES_AND_CONTEXT
        for _ in range(backlog + 1):
            try:
                connection, address = sock.accept()
            except ConnectionAbortedError:
                continue
            except (BlockingIOError, InterruptedError):
                self._exhausted.discard(sock)
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause_serving(error, protocol_factory, sock, sslcontext,
                                    server, backlog, *times_and_context)
                return
            if self._debug:
                logger.debug("%r got a new connection from %r: %r",
                             server, address, connection)
            connection.setblocking(False)
            self._accepted(protocol_factory, connection, address, sslcontext,
                           server, *times_and_context)

    def _accepted(self, protocol_factory, connection, address, sslcontext,
                  server, *times_and_context):
        keywords = {}
        if len(times_and_context) > 2:
            # A context for each connection, which all its callbacks share.
            context = times_and_context[2]
            times_and_context = times_and_context[:2]
            if context is not None:
                keywords["context"] = context.copy()
        accept = self._accept_connection2(
            protocol_factory, connection, {"peername": address}, sslcontext,
            server, *times_and_context, **keywords)
        self.create_task(accept, **keywords)

    def _pause_serving(self, error, protocol_factory, sock, *how):
        """Leaves clients in the kernel's queue while there are no
        descriptors; it is said once until there are some again."""
        if sock not in self._exhausted:
            self._exhausted.add(sock)
            self.call_exception_handler({
                "message": "socket.accept() out of system resource",
                "exception": error,
                "socket": trsock.TransportSocket(sock),
            })
        self._remove_reader(sock.fileno())
        self.call_later(constants.ACCEPT_RETRY_DELAY, self._resume_serving,
                        protocol_factory, sock, *how)

    def _resume_serving(self, protocol_factory, sock, *how):
        if sock.fileno() >= 0:  # not closed meanwhile
            self._start_serving(protocol_factory, sock, *how)

    def _stop_serving(self, sock):
        self._exhausted.discard(sock)
        inode = self._unix_server_sockets.pop(sock, None)
        path = sock.getsockname() if inode is not None else None
        self._remove_reader(sock.fileno())
        sock.close()
        if path is not None:
            unix_paths.remove(path, inode)
