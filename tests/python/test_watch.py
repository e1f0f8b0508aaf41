"""add_reader, add_writer and the sock_ methods."""

import os
import socket

import pytest

from conftest import spin


@pytest.fixture
def pair():
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


def test_a_reader_runs_in_every_turn_that_finds_it_ready(loop, pair):
    got = []
    loop.add_reader(pair[0], lambda: got.append(len(got)))
    pair[1].send(b"x")
    spin(loop, 3)
    assert got == [0, 1, 2]
    assert loop.remove_reader(pair[0]) is True
    assert loop.remove_reader(pair[0]) is False
    spin(loop, 2)
    assert got == [0, 1, 2]


def test_a_reader_is_replaced(loop, pair):
    got = []
    loop.add_reader(pair[0], got.append, "old")
    loop.add_reader(pair[0].fileno(), got.append, "new")
    pair[1].send(b"x")
    spin(loop)
    loop.remove_reader(pair[0])
    assert got == ["new"]


def test_the_reader_runs_before_the_writer(loop, pair):
    got = []
    loop.add_writer(pair[0], got.append, "writer")
    loop.add_reader(pair[0], got.append, "reader")
    pair[1].send(b"x")
    spin(loop)
    assert got == ["reader", "writer"]
    loop.remove_reader(pair[0])
    loop.remove_writer(pair[0])


def test_a_reader_may_remove_the_writer(loop, pair):
    got = []
    loop.add_reader(pair[0], lambda: (got.append("reader"),
                                      loop.remove_writer(pair[0])))
    loop.add_writer(pair[0], got.append, "writer")
    pair[1].send(b"x")
    spin(loop)
    loop.remove_reader(pair[0])
    assert got == ["reader"]


def test_a_callback_comes_two_turns_after_a_send_to_oneself(loop, pair):
    turns = []
    loop.add_reader(pair[0], lambda: turns.append("ready"))

    def send():
        pair[1].send(b"x")
        loop.call_soon(turns.append, 1)

    loop.call_soon(send)
    spin(loop, 2)
    loop.remove_reader(pair[0])
    assert turns == [1, "ready"] or turns == ["ready", 1]


def test_a_reader_that_fails_is_reported_and_goes_on(loop, pair, errors):
    loop.add_reader(pair[0], lambda: 1 / 0)
    pair[1].send(b"x")
    spin(loop, 2)
    loop.remove_reader(pair[0])
    assert [type(e["exception"]) for e in errors] == [ZeroDivisionError] * 2
    errors.clear()


def test_hang_ups_reach_reader_and_writer(loop, pair):
    got = []
    loop.add_reader(pair[0], got.append, "reader")
    loop.add_writer(pair[0], got.append, "writer")
    pair[1].close()
    spin(loop)
    loop.remove_reader(pair[0])
    loop.remove_writer(pair[0])
    assert got == ["reader", "writer"]


@pytest.mark.parametrize("wrong", [-1, "x", object(), 1.5, None])
def test_wrong_descriptors_are_value_errors(loop, wrong):
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError):
            method(wrong, print)


def test_a_regular_file_is_refused(loop, tmp_path):
    with open(tmp_path / "file", "w") as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, print)


def test_sockets_are_received_from_and_sent_to(loop, pair):
    async def main():
        await loop.sock_sendall(pair[0], b"hello")
        assert await loop.sock_recv(pair[1], 10) == b"hello"
        receiving = loop.create_task(loop.sock_recv(pair[1], 10))
        await loop.sock_sendall(pair[0], b"again")
        assert await receiving == b"again"
        buffer = bytearray(4)
        receiving = loop.create_task(loop.sock_recv_into(pair[1], buffer))
        await loop.sock_sendall(pair[0], b"into")
        assert (await receiving, buffer) == (4, b"into")

    loop.run_until_complete(main())


def test_much_is_sent_while_the_peer_reads(loop, pair):
    data = os.urandom(1 << 20)

    async def read():
        got = b""
        while len(got) < len(data):
            got += await loop.sock_recv(pair[1], 1 << 16)
        return got

    async def main():
        reading = loop.create_task(read())
        await loop.sock_sendall(pair[0], data)
        assert await reading == data

    loop.run_until_complete(main())


def test_connections_are_made_and_accepted(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as server, \
                socket.socket() as client:
            server.setblocking(False)
            client.setblocking(False)
            accepting = loop.create_task(loop.sock_accept(server))
            await loop.sock_connect(client, server.getsockname())
            peer, address = await accepting
            assert address == client.getsockname()
            with peer:
                await loop.sock_sendall(client, b"x")
                assert await loop.sock_recv(peer, 1) == b"x"

    loop.run_until_complete(main())


def test_a_cancelled_receive_leaves_the_bytes(loop, pair):
    async def main():
        receiving = loop.create_task(loop.sock_recv(pair[1], 10))
        await _turns(2)
        receiving.cancel()
        pair[0].send(b"kept")
        await _turns(2)
        assert receiving.cancelled()
        assert await loop.sock_recv(pair[1], 10) == b"kept"

    async def _turns(count):
        import asyncio
        for _ in range(count):
            await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_files_are_sent(loop, pair, tmp_path):
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)

    async def read(size):
        got = b""
        while len(got) < size:
            got += await loop.sock_recv(pair[1], 1 << 16)
        return got

    async def main():
        for offset, count in ((0, None), (10, 1000)):
            size = len(data) if count is None else count
            with open(tmp_path / "file", "rb") as file:
                reading = loop.create_task(read(size))
                sent = await loop.sock_sendfile(pair[0], file, offset, count)
                assert sent == size
                assert await reading == data[offset:offset + size]
                assert file.tell() == offset + size

    loop.run_until_complete(main())
