"""Datagram transports."""

import asyncio
import gc
import os
import socket
import sys
import weakref

import pytest

import kolk
from conftest import spin
from test_transport import until


class Recorder(asyncio.DatagramProtocol):
    def __init__(self):
        self.told = []
        self.got = []

    def connection_made(self, transport):
        self.transport = transport
        self.told.append("made")

    def datagram_received(self, data, address):
        assert type(data) is bytes
        self.got.append((data, address))

    def error_received(self, error):
        self.told.append(error)

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")

    def connection_lost(self, error):
        self.told.append("lost" if error is None else error)


def open_endpoint(loop, protocol=None, **options):
    protocol = protocol or Recorder()
    transport, _ = loop.run_until_complete(
        loop.create_datagram_endpoint(lambda: protocol, **options))
    return transport, protocol


def close(loop, *transports):
    for transport in transports:
        transport.close()
    spin(loop, 2)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_come_with_their_senders(loop, errors, host):
    one, told_one = open_endpoint(loop, local_addr=(host, 0))
    two, told_two = open_endpoint(loop, local_addr=(host, 0))
    name_one = one.get_extra_info("sockname")
    name_two = two.get_extra_info("sockname")
    if isinstance(loop, kolk.Loop) or sys.version_info >= (3, 13):
        assert isinstance(one, asyncio.DatagramTransport)
    assert one.get_extra_info("peername") is None
    one.sendto(b"hello", name_two)
    one.sendto(bytearray(b"again"), addr=name_two)
    one.sendto(data=memoryview(b"third"), addr=name_two)
    until(loop, lambda: len(told_two.got) == 3)
    assert told_two.got == [(b"hello", name_one), (b"again", name_one),
                            (b"third", name_one)]
    two.sendto(b"back", name_one)
    until(loop, lambda: told_one.got)
    assert told_one.got == [(b"back", name_two)]
    assert "fd=" in repr(one) and "bufsize=0" in repr(one)
    close(loop, one, two)
    assert told_one.told == ["made", "lost"]
    assert "closed" in repr(one)


def test_the_receiver_may_be_a_name(loop, errors):
    one, _ = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    two, told = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    port = two.get_extra_info("sockname")[1]
    one.sendto(b"data", ("localhost", port))
    until(loop, lambda: told.got)
    close(loop, one, two)


def test_a_connected_socket_sends_to_nobody_else(loop, errors):
    server, told = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    client, _ = open_endpoint(loop, remote_addr=address)
    assert client.get_extra_info("peername") == address
    client.sendto(b"one")
    client.sendto(b"two", address)
    with pytest.raises(ValueError, match="Invalid address: must be None or"):
        client.sendto(b"three", ("127.0.0.1", 9))
    until(loop, lambda: len(told.got) == 2)
    close(loop, client, server)


def test_nobody_there_is_an_error_and_no_end(loop, errors):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
    client, told = open_endpoint(loop, remote_addr=address)
    client.sendto(b"anybody?")
    until(loop, lambda: len(told.told) > 1)
    assert isinstance(told.told[1], ConnectionRefusedError)
    assert not client.is_closing()
    close(loop, client)


def test_too_big_a_datagram_is_an_error_and_no_end(loop, errors):
    server, got = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    client, told = open_endpoint(
        loop, remote_addr=server.get_extra_info("sockname"))
    client.sendto(b"x" * 100_000)
    assert isinstance(told.told[1], OSError)
    client.sendto(b"small")
    until(loop, lambda: got.got)
    close(loop, client, server)


def test_a_closing_endpoint_still_sends(loop, errors):
    server, told = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    client, _ = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    client.close()
    client.sendto(b"late", server.get_extra_info("sockname"))
    until(loop, lambda: told.got)
    close(loop, server)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="they were dropped")
def test_empty_datagrams_are_datagrams(loop, errors):
    server, told = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    server.sendto(b"", server.get_extra_info("sockname"))
    until(loop, lambda: told.got)
    assert told.got[0][0] == b""
    close(loop, server)


def test_unix_datagrams(loop, errors, tmp_path):
    path = str(tmp_path / "socket")
    server, told = open_endpoint(loop, local_addr=path,
                                 family=socket.AF_UNIX)
    client, _ = open_endpoint(loop, remote_addr=path, family=socket.AF_UNIX)
    other, got = open_endpoint(loop, local_addr=path + "2",
                               family=socket.AF_UNIX)
    client.sendto(b"nameless")
    other.sendto(b"named", path)
    until(loop, lambda: len(told.got) == 2)
    assert told.got == [(b"nameless", None), (b"named", path + "2")]
    server.sendto(b"answer", path + "2")
    until(loop, lambda: got.got)
    close(loop, client, server, other)


def test_receiving_is_paused_and_resumed(loop, pausing_loop, errors):
    server, told = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    server.pause_reading()
    server.sendto(b"early", address)
    spin(loop, 5)
    assert told.got == [] and not server.is_reading()
    server.resume_reading()
    until(loop, lambda: told.got)
    server.pause_reading()
    close(loop, server)
    assert told.told == ["made", "lost"]


def test_what_the_kernel_does_not_take_waits(kolk_loop, errors):
    loop = kolk_loop  # asyncio's takes the nameless peer for none
    ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    transport, told = open_endpoint(loop, sock=ours)
    transport.set_write_buffer_limits(high=10_000)
    for i in range(500):
        transport.sendto(b"%d" % i + b"x" * 1000)
    assert told.told[:2] == ["made", "pause"]
    assert transport.get_write_buffer_size() > 10_000
    other.setblocking(False)
    got = []

    def receive():
        try:
            while True:
                got.append(int(other.recv(2000).rstrip(b"x")))
        except BlockingIOError:
            return len(got) == 500

    until(loop, receive)
    assert got == list(range(500))
    until(loop, lambda: told.told[-1] == "resume")
    close(loop, transport)
    other.close()


def test_close_sends_what_waits_and_abort_does_not(kolk_loop, errors):
    loop = kolk_loop  # asyncio's takes the nameless peer for none
    ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    transport, told = open_endpoint(loop, sock=ours)
    for _ in range(500):
        transport.sendto(b"x" * 1000)
    transport.close()
    spin(loop, 3)
    assert "lost" not in told.told
    transport.abort()
    transport.abort()
    spin(loop, 2)
    assert told.told[-1] == "lost"
    other.close()


@pytest.mark.parametrize("data", [None, "text", 5])
def test_what_is_no_bytes_is_refused(loop, errors, data):
    server, _ = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    with pytest.raises(TypeError, match="data argument must be a bytes-like"):
        server.sendto(data, ("127.0.0.1", 9))
    close(loop, server)


def test_errors_of_the_protocols_are_reported(loop, errors):
    class Failing(Recorder):
        def datagram_received(self, data, address):
            raise ValueError("wrong")

    server, told = open_endpoint(loop, Failing(), local_addr=("127.0.0.1", 0))
    server.sendto(b"data", server.get_extra_info("sockname"))
    until(loop, lambda: errors)
    assert isinstance(errors[0]["exception"], ValueError)
    errors.clear()
    assert not server.is_closing()
    close(loop, server)


@pytest.mark.parametrize("address", [None, 5, ("127.0.0.1",),
                                     ("127.0.0.1", "port")])
def test_a_wrong_address_ends_the_endpoint(loop, errors, address):
    server, told = open_endpoint(loop, local_addr=("127.0.0.1", 0))
    server.sendto(b"data", address)
    spin(loop, 2)
    assert isinstance(told.told[-1], TypeError)
    assert errors[0]["message"] == "Fatal write error on datagram transport"
    errors.clear()


def test_endpoints_leave_nothing_behind(loop, errors):
    def one():
        server, told = open_endpoint(loop, local_addr=("127.0.0.1", 0))
        server.sendto(b"data", server.get_extra_info("sockname"))
        until(loop, lambda: told.got)
        close(loop, server)
        return weakref.ref(server)

    references = [one() for _ in range(10)]
    gc.collect()
    assert [r() for r in references] == [None] * 10
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        one()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("call", [
    lambda t: t.sendto(), lambda t: t.sendto(b"", None, 1),
    lambda t: t.sendto(b"", wrong=1), lambda t: t._open_datagram(1),
    lambda t: t._set_limits("1", "2")])
def test_wrong_arguments_are_errors(kolk_loop, call):
    server, _ = open_endpoint(kolk_loop, local_addr=("127.0.0.1", 0))
    with pytest.raises(TypeError):
        call(server)
    close(kolk_loop, server)


def test_a_transport_that_was_never_opened_is_of_no_use():
    import kolk.transports
    kind = kolk.transports.DatagramTransport
    transport = kind.__new__(kind)
    for call in (transport.close, transport.abort, transport.pause_reading,
                 transport.resume_reading, lambda: transport.sendto(b"data"),
                 lambda: transport.write(b"data"), transport._start_reading):
        with pytest.raises(RuntimeError):
            call()
