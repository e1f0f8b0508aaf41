"""Plain sockets against an echo server.

    client.py tcp PORT | unix PATH | udp PORT
    client.py serve        echoes, after a line with its port

SPDX-License-Identifier: MIT
"""

import os
import select
import socket
import struct
import sys
import threading


def connect(kind, where):
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(where)  # waits where the server's queue is full
        sock.settimeout(20)
        return sock
    return socket.create_connection(("127.0.0.1", int(where)), timeout=20)


def read_all(sock):
    parts = []
    while True:
        part = sock.recv(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, f"the end after {len(data)} of {size} bytes"
        data += part
    return data


def byte_by_byte(kind, where):
    """Every byte comes back before the next one goes."""
    with connect(kind, where) as sock:
        for i in range(300):
            sock.sendall(bytes([i % 256]))
            assert read_exactly(sock, 1) == bytes([i % 256])


def half_close(kind, where):
    """The whole answer comes after the end of what was sent."""
    data = os.urandom(1_000_000)
    with connect(kind, where) as sock:
        sender = threading.Thread(
            target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR))
        )
        sender.start()
        assert read_all(sock) == data
        sender.join()


def flood(kind, where):
    """Nothing is read until the server takes no more; then all of it is."""
    data = os.urandom(65536)
    sent = 0
    with connect(kind, where) as sock:
        sock.setblocking(False)
        while select.select([], [sock], [], 0.3)[1]:
            try:
                sent += sock.send(data)
            except BlockingIOError:
                pass
            assert sent < 100_000_000, "the server never stops taking"
        sock.settimeout(20)
        sock.shutdown(socket.SHUT_WR)
        assert len(read_all(sock)) == sent


def resets(kind, where):
    """Clients that go away by a reset, with and without something unread."""
    for i in range(100):
        sock = connect(kind, where)
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        if i % 2:
            sock.sendall(b"x" * 100)
        sock.close()


def at_a_time(kind, where):
    """Hundreds of connections, answered in the opposite order."""
    socks = [connect(kind, where) for _ in range(200)]
    for i, sock in enumerate(socks):
        sock.sendall(b"%d" % i)
    for i, sock in reversed(list(enumerate(socks))):
        assert read_exactly(sock, len(b"%d" % i)) == b"%d" % i
        sock.close()


def datagrams(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        server = ("127.0.0.1", int(port))
        for size in (1, 0, 100, 1472, 9000, 65507):
            data = os.urandom(size)
            sock.sendto(data, server)
            assert sock.recvfrom(65536) == (data, server)
    # Clients that are gone when their answer comes do not disturb the others.
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.connect(server)
        sock.send(b"after")
        assert sock.recv(100) == b"after"


def serve():
    def echo(sock):
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            sock, _ = server.accept()
            threading.Thread(target=echo, args=(sock,), daemon=True).start()


def main():
    kind, *where = sys.argv[1:]
    if kind == "serve":
        serve()
    elif kind == "udp":
        datagrams(*where)
    else:
        for test in (byte_by_byte, half_close, flood, resets, at_a_time):
            test(kind, *where)
            print(f"{kind}, {test.__name__}: ok", flush=True)


main()
