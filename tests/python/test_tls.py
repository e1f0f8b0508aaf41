"""TLS on kolk's transports."""

import asyncio
import os
import pathlib
import socket
import ssl
import subprocess

import pytest

from conftest import spin

CERTIFICATE = (pathlib.Path(__file__).resolve().parents[2]
               / "tools" / "certificate.sh")
MESSAGE = os.urandom(1 << 20)


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run([CERTIFICATE, folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def server_side(files):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files / "certificate.pem", files / "key.pem")
    return context


@pytest.fixture
def client_side(files):
    return ssl.create_default_context(cafile=files / "certificate.pem")


def run(loop, coroutine):
    return loop.run_until_complete(asyncio.wait_for(coroutine, 30))


async def echo(reader, writer):
    while data := await reader.read(100_000):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_streams_over_tls(loop, errors, server_side, client_side):
    async def talk(port):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_side, server_hostname="localhost")
        assert writer.get_extra_info("ssl_object").version().startswith("TLS")
        assert writer.get_extra_info("peercert")
        assert writer.get_extra_info("peername")[1] == port
        sending = asyncio.ensure_future(send(writer))
        assert await reader.readexactly(len(MESSAGE)) == MESSAGE
        await sending
        writer.close()
        await writer.wait_closed()

    async def send(writer):
        for start in range(0, len(MESSAGE), 10_000):
            writer.write(MESSAGE[start:start + 10_000])
            await writer.drain()

    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0,
                                            ssl=server_side)
        port = server.sockets[0].getsockname()[1]
        await asyncio.gather(*[talk(port) for _ in range(5)])
        server.close()
        await server.wait_closed()

    run(loop, main())


@pytest.mark.filterwarnings("ignore")  # asyncio leaves sockets open
def test_a_certificate_that_is_not_trusted_is_an_error(loop, server_side):
    loop.set_exception_handler(lambda loop, context: None)

    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0,
                                            ssl=server_side)
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=True,
                server_hostname="localhost")
        server.close()

    run(loop, main())


def test_start_tls_in_the_middle(loop, errors, server_side, client_side):
    async def serve(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"GO\n")
        await writer.drain()
        await writer.start_tls(server_side)
        await echo(reader, writer)

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"GO\n"
        await writer.start_tls(client_side, server_hostname="localhost")
        writer.write(MESSAGE[:200_000])
        assert await reader.readexactly(200_000) == MESSAGE[:200_000]
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(loop, main())


@pytest.mark.filterwarnings("ignore")  # asyncio leaves sockets open
def test_a_peer_that_says_nothing_is_not_waited_for(loop, errors, client_side):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            with pytest.raises((ConnectionError, TimeoutError)):
                await asyncio.open_connection(
                    *silent.getsockname(), ssl=client_side,
                    server_hostname="localhost", ssl_handshake_timeout=0.1)

    run(loop, main())


@pytest.mark.filterwarnings("ignore")  # asyncio leaves sockets open
def test_a_peer_that_does_not_speak_tls_is_an_error(loop, client_side):
    loop.set_exception_handler(lambda loop, context: None)

    async def serve(reader, writer):
        writer.write(b"220 mail ready\r\n" * 10)
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_side,
                server_hostname="localhost")
        server.close()

    run(loop, main())


def test_sendfile_over_tls(loop, errors, tmp_path, server_side, client_side):
    path = tmp_path / "file"
    path.write_bytes(MESSAGE)

    async def serve(reader, writer):
        with path.open("rb") as file:
            assert await loop.sendfile(writer.transport, file) == len(MESSAGE)
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0,
                                            ssl=server_side)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_side,
            server_hostname="localhost")
        assert await reader.read() == MESSAGE
        writer.close()
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_tls_over_unix(loop, errors, tmp_path, server_side, client_side):
    path = str(tmp_path / "socket")

    async def main():
        server = await asyncio.start_unix_server(echo, path, ssl=server_side)
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=client_side, server_hostname="localhost")
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_a_connection_that_is_cut_is_told(loop, server_side, client_side):
    async def serve(reader, writer):
        writer.write(b"half")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0,
                                            ssl=server_side)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_side,
            server_hostname="localhost")
        try:
            assert await reader.read() == b"half"
        except (ConnectionError, ssl.SSLError):
            pass
        writer.close()
        server.close()

    run(loop, main())
    spin(loop, 3)
