"""Transports of sockets that have methods of their own."""

import asyncio
import gc
import re
import socket
import warnings

import pytest

from conftest import spin


class Foreign(socket.socket):
    """What is sent is capitals; what comes is counted."""

    received = 0

    def recv(self, size, flags=0):
        data = super().recv(size, flags)
        self.received += len(data)
        return data

    def send(self, data, flags=0):
        return super().send(bytes(data).upper(), flags)

    def recvfrom(self, size, flags=0):
        data, address = super().recvfrom(size, flags)
        self.received += len(data)
        return data, address


class Recorder(asyncio.Protocol):
    def __init__(self):
        self.data = b""
        self.lost = None

    def data_received(self, data):
        self.data += data

    def datagram_received(self, data, address):
        self.data += data

    def error_received(self, error):
        raise error

    def connection_lost(self, error):
        self.lost = [error]


@pytest.fixture
def sockets():
    """One of its own kind, and a plain one at the other end."""
    ours, theirs = socket.socketpair()
    ours = Foreign(fileno=ours.detach())
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def until(loop, condition):
    async def wait():
        while not condition():
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(wait(), 20))


def shape(transport):
    """What repr() says after the name."""
    found = re.fullmatch(r"<\w+ (.*)>", repr(transport))
    return found[1]


def test_a_socket_with_methods_of_its_own_is_used_by_them(loop, errors,
                                                            sockets):
    ours, theirs = sockets
    transport, protocol = loop.run_until_complete(
        loop.create_connection(Recorder, sock=ours))
    transport.write(b"some text")
    theirs.send(b"an answer")
    until(loop, lambda: protocol.data)
    assert protocol.data == b"an answer" and ours.received == 9
    assert theirs.recv(100) == b"SOME TEXT"
    transport.close()
    spin(loop, 2)
    assert protocol.lost == [None]


def test_repr_tells_how_far_it_has_come(loop, errors, sockets):
    ours, theirs = sockets
    fd = ours.fileno()
    transport, protocol = loop.run_until_complete(
        loop.create_connection(Recorder, sock=ours))
    assert shape(transport) == f"fd={fd} read=polling write=<idle, bufsize=0>"
    transport.pause_reading()
    assert shape(transport) == f"fd={fd} read=idle write=<idle, bufsize=0>"
    transport.resume_reading()
    transport.write(bytes(10_000_000))
    size = transport.get_write_buffer_size()
    assert shape(transport) == (
        f"fd={fd} read=polling write=<polling, bufsize={size}>")
    transport.close()
    assert shape(transport) == (
        f"closing fd={fd} read=idle write=<polling, bufsize={size}>")
    transport.abort()
    spin(loop, 2)
    assert shape(transport) == f"closed fd={fd}"
    assert protocol.lost == [None]


def test_repr_after_the_loop(loop, sockets):
    ours, theirs = sockets
    fd = ours.fileno()
    transport, protocol = loop.run_until_complete(
        loop.create_connection(Recorder, sock=ours))
    loop.close()
    assert shape(transport) == f"fd={fd}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody has closed it
        del transport, protocol
        gc.collect()


def test_datagrams_of_such_a_socket(loop, errors, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
        ours = Foreign(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.bind(str(tmp_path / "socket"))
        ours.setblocking(False)
        fd = ours.fileno()
        transport, protocol = loop.run_until_complete(
            loop.create_datagram_endpoint(Recorder, sock=ours))
        theirs.sendto(b"hello", str(tmp_path / "socket"))
        until(loop, lambda: protocol.data)
        assert protocol.data == b"hello" and ours.received == 5
        assert shape(transport) == (
            f"fd={fd} read=polling write=<idle, bufsize=0>")
        transport.close()
        assert shape(transport).startswith(f"closing fd={fd} read=idle")
        spin(loop, 2)
        assert shape(transport) == f"closed fd={fd}"
