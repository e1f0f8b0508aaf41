"""Connections, servers, datagrams, pipes, children, end to end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import pytest


def run(loop, coroutine):
    return loop.run_until_complete(asyncio.wait_for(coroutine, 20))


async def answer_in_capitals(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def ask(reader, writer, *lines):
    for line in lines:
        writer.write(line)
        assert await reader.readline() == line.upper()
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_server_and_its_client(loop, errors, host):
    async def main():
        server = await asyncio.start_server(answer_in_capitals, host, 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            pairs = [await asyncio.open_connection(host, port)
                     for _ in range(5)]
            await asyncio.gather(*[ask(*pair, b"one\n", b"two\n" * 1, b"3\n")
                                   for pair in pairs])
        await server.wait_closed()

    run(loop, main())


def test_a_unix_server_and_its_client(loop, errors, tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        async with await asyncio.start_unix_server(answer_in_capitals, path):
            await ask(*await asyncio.open_unix_connection(path), b"one\n")
        if sys.version_info >= (3, 13):
            assert not os.path.exists(path)

    run(loop, main())


def test_a_refused_connection_is_an_error(loop, errors):
    async def main():
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*sock.getsockname())

    run(loop, main())


def test_datagrams(loop, errors):
    got = []

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data.upper(), address)

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            got.append(data)
            done.set()

    done = asyncio.Event()

    async def main():
        server, _ = await loop.create_datagram_endpoint(
            Echo, local_addr=("127.0.0.1", 0))
        address = server.get_extra_info("sockname")
        client, _ = await loop.create_datagram_endpoint(
            Client, remote_addr=address)
        assert client.get_extra_info("peername") == address
        client.sendto(b"hello")
        await done.wait()
        client.close()
        server.close()

    run(loop, main())
    assert got == [b"HELLO"]


def test_a_child_and_its_pipes(loop, errors):
    async def main():
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c",
            "import sys; data = sys.stdin.read(); print(data.upper(), end='');"
            " print('error', file=sys.stderr); sys.exit(3)",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        output, error = await child.communicate(b"abc" * 100_000)
        assert output == b"ABC" * 100_000
        assert error == b"error\n"
        assert child.returncode == 3

    run(loop, main())


def test_a_child_is_ended_by_a_signal(loop, errors):
    async def main():
        child = await asyncio.create_subprocess_shell("sleep 1000")
        child.terminate()
        assert await child.wait() == -signal.SIGTERM

    run(loop, main())


def test_the_options_of_popen_reach_a_child(loop, errors, tmp_path):
    async def main():
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", "pwd; echo $NAME", stdout=subprocess.PIPE,
            cwd=tmp_path, env={"NAME": "value"},
            preexec_fn=lambda: os.umask(0o77), start_new_session=True)
        output, _ = await child.communicate()
        assert output.decode() == f"{tmp_path}\nvalue\n"

    run(loop, main())


def test_out_of_descriptors_is_said_once_and_clients_wait(kolk_loop, errors):
    import resource

    async def main():
        server = await asyncio.start_server(answer_in_capitals, "127.0.0.1", 0)
        clients = [socket.create_connection(server.sockets[0].getsockname())
                   for _ in range(3)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            await asyncio.sleep(2.5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await asyncio.sleep(1.5)
        for client in clients:
            client.setblocking(False)
            await loop.sock_sendall(client, b"hello\n")
            assert await loop.sock_recv(client, 100) == b"HELLO\n"
            client.close()
        server.close()
        await asyncio.sleep(0.01)

    loop = kolk_loop
    run(loop, main())
    assert [error["message"] for error in errors] == [
        "socket.accept() out of system resource"]
    errors.clear()


@pytest.mark.filterwarnings("ignore")  # asyncio leaves sockets open
@pytest.mark.parametrize("options", [
    {}, {"happy_eyeballs_delay": 0.001}, {"ssl": True},
    {"local_addr": ("127.0.0.1", 0)}])
def test_a_connection_cancelled_anywhere_leaves_its_number_alone(
        loop, options):
    """Whoever gets the number next is not disturbed."""
    loop.set_exception_handler(lambda loop, context: None)

    async def attempt(address, turns):
        task = loop.create_task(loop.create_connection(
            asyncio.Protocol, *address, **options))
        for _ in range(turns):
            await asyncio.sleep(0)
        was_done = task.done()
        task.cancel()
        try:
            transport, _ = await task
            transport.abort()
        except asyncio.CancelledError:
            pass
        pairs = [socket.socketpair() for _ in range(3)]
        for one, other in pairs:
            one.setblocking(False)
            reading = asyncio.ensure_future(loop.sock_recv(one, 10))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            other.send(b"data")
            assert await asyncio.wait_for(reading, 5) == b"data"
            one.close()
            other.close()
        return was_done

    async def main():
        server = await asyncio.start_server(answer_in_capitals, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for turns in range(20):
            if await attempt(address, turns):
                break
        server.close()
        await asyncio.sleep(0.01)

    run(loop, main())


@pytest.mark.filterwarnings("ignore")  # asyncio leaves sockets open
@pytest.mark.parametrize("factory", [1 / 2, lambda: 1 / 0])
def test_a_factory_that_fails(loop, factory):
    """The client hears of it, and the server goes on."""
    loop.set_exception_handler(lambda loop, context: None)

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*address)
            try:
                assert await asyncio.wait_for(reader.read(), 5) == b""
            except ConnectionError:
                pass
            writer.close()
        with pytest.raises((ZeroDivisionError, TypeError)):
            await loop.create_connection(factory, *address)
        server.close()

    run(loop, main())


def test_clients_are_closed_and_aborted(loop, errors):
    if sys.version_info < (3, 13):
        pytest.skip("servers do not know their clients")

    async def serve(reader, writer):
        await reader.read()

    async def main():
        for end in ("close_clients", "abort_clients"):
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            pairs = [await asyncio.open_connection(
                *server.sockets[0].getsockname()) for _ in range(3)]
            await asyncio.sleep(0.01)
            server.close()
            getattr(server, end)()
            await asyncio.wait_for(server.wait_closed(), 5)
            for reader, writer in pairs:
                assert await reader.read() == b""
                writer.close()

    run(loop, main())
