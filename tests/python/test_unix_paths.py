"""Paths of Unix servers: bound to, taken over from the dead, removed."""

import asyncio
import errno
import os
import socket
import sys

import pytest

from kolk import unix_paths


def run(loop, coroutine):
    return loop.run_until_complete(asyncio.wait_for(coroutine, 20))


async def answer(reader, writer):
    writer.write(b"first")
    writer.close()


async def hears(path):
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        return await reader.read() == b"first"
    finally:
        writer.close()


def leave_dead(path, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(path)
        if kind == socket.SOCK_STREAM:
            sock.listen()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "socket")


def assert_in_use(loop, path):
    with pytest.raises(OSError) as caught:
        run(loop, loop.create_unix_server(asyncio.Protocol, path))
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.strerror == (
        f"Address {os.fspath(path)!r} is already in use")


@pytest.mark.parametrize("kind", [str, os.fsencode, "path"])
def test_a_server_that_lives_keeps_its_path(kolk_loop, errors, tmp_path, path,
                                            kind):
    again = tmp_path / "socket" if kind == "path" else kind(path)

    async def main():
        server = await asyncio.start_unix_server(answer, path)
        inode = os.stat(path).st_ino
        with pytest.raises(OSError) as caught:
            await asyncio.start_unix_server(answer, again)
        assert caught.value.errno == errno.EADDRINUSE
        assert caught.value.strerror == (
            f"Address {os.fspath(again)!r} is already in use")
        assert os.stat(path).st_ino == inode
        assert await hears(path)
        server.close()
        await server.wait_closed()

    run(kolk_loop, main())


def test_a_server_that_does_not_listen_yet_keeps_its_path(kolk_loop, path):
    async def main():
        server = await asyncio.start_unix_server(answer, path,
                                                 start_serving=False)
        with pytest.raises(OSError):
            await asyncio.start_unix_server(answer, path)
        await server.start_serving()
        assert await hears(path)
        server.close()

    run(kolk_loop, main())


def test_another_programs_server_keeps_its_path(kolk_loop, path):
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET:
        with socket.socket(socket.AF_UNIX, kind) as sock:
            sock.bind(path)
            if kind != socket.SOCK_DGRAM:
                sock.listen(0)
            assert_in_use(kolk_loop, path)
            assert os.listdir(os.path.dirname(path)) == ["socket"]
            if kind != socket.SOCK_DGRAM:
                sock.settimeout(0)
                with pytest.raises(BlockingIOError):
                    sock.accept()  # it has not noticed
        os.unlink(path)


def test_a_link_to_a_live_socket_stays(kolk_loop, tmp_path, path):
    link = str(tmp_path / "link")
    os.symlink(path, link)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        assert_in_use(kolk_loop, link)
    assert os.path.islink(link)


@pytest.mark.parametrize("is_link", [False, True])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_path_of_a_dead_server_is_taken_over(loop, errors, tmp_path, path,
                                                 kind, is_link):
    leave_dead(path, kind)
    if is_link:
        link = str(tmp_path / "link")
        os.symlink(path, link)
        path = link

    async def main():
        server = await asyncio.start_unix_server(answer, path)
        assert await hears(path)
        server.close()
        await server.wait_closed()

    run(loop, main())
    left = ["socket"] if is_link else []
    if sys.version_info < (3, 13):
        left.append(os.path.basename(path))
    assert sorted(os.listdir(tmp_path)) == sorted(set(left))


def test_the_path_of_a_closed_server_is_free(loop, errors, path):
    async def main():
        for _ in range(3):
            server = await asyncio.start_unix_server(answer, path)
            assert await hears(path)
            server.close()
            await server.wait_closed()

    run(loop, main())


def test_what_is_no_socket_stays(loop, path):
    with open(path, "w") as file:
        file.write("text")
    assert_in_use(loop, path)
    with open(path) as file:
        assert file.read() == "text"
    os.unlink(path)
    os.mkdir(path)
    assert_in_use(loop, path)
    assert os.path.isdir(path)


def test_an_abstract_name_in_use_is_an_error(loop, errors):
    name = f"\0kolk-test-{os.getpid()}-{id(loop)}"

    async def main():
        async with await asyncio.start_unix_server(answer, name):
            with pytest.raises(OSError) as caught:
                await asyncio.start_unix_server(answer, name)
            assert caught.value.errno == errno.EADDRINUSE
            assert await hears(name)

    run(loop, main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
@pytest.mark.parametrize("cleanup", [True, False])
def test_the_file_goes_with_its_server_if_wanted(loop, path, cleanup):
    async def main():
        server = await asyncio.start_unix_server(answer, path,
                                                 cleanup_socket=cleanup)
        server.close()
        await server.wait_closed()
        assert os.path.exists(path) is not cleanup

    run(loop, main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
def test_anothers_file_stays_when_a_server_closes(loop, path):
    async def main():
        server = await asyncio.start_unix_server(answer, path)
        os.rename(path, path + ".old")
        leave_dead(path)
        server.close()
        await server.wait_closed()
        assert os.path.exists(path)

    run(loop, main())


@pytest.mark.parametrize("options, kind", [
    ({"ssl": True}, TypeError),
    ({"ssl_handshake_timeout": 1}, ValueError),
    ({"backlog": "many"}, TypeError),
    ({"nonsense": 1}, TypeError),
])
def test_wrong_arguments_leave_no_file(kolk_loop, path, options, kind):
    run(kolk_loop, asyncio.sleep(0))  # what a first run opens
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(kind):
        run(kolk_loop, kolk_loop.create_unix_server(asyncio.Protocol, path,
                                                    **options))
    assert not os.path.exists(path)
    assert not kolk_loop._unix_server_sockets
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_path_and_two_are_errors(loop, path):
    with socket.socket(socket.AF_UNIX) as sock:
        for options in {}, {"path": path, "sock": sock}:
            with pytest.raises(ValueError):
                run(loop, loop.create_unix_server(asyncio.Protocol, **options))
    assert not os.path.exists(path)


def test_a_folder_that_is_not_there(loop, path):
    with pytest.raises(FileNotFoundError):
        run(loop, loop.create_unix_server(asyncio.Protocol, path + "/socket"))


@pytest.mark.parametrize("has_links", [True, False])
@pytest.mark.parametrize("name", ["socket", b"socket"])
def test_a_path_that_another_takes_meanwhile_is_put_back(
        tmp_path, monkeypatch, has_links, name):
    """The dead file is not the one that stands there when it is removed."""
    path = (os.fsencode(tmp_path) + b"/" + name if isinstance(name, bytes)
            else str(tmp_path / name))

    def no_links(*args, **keywords):
        raise PermissionError(errno.EPERM, "no links")

    def taken(path):
        os.unlink(path)
        taken.by.bind(path)
        return True

    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(unix_paths, "_is_dead", taken)
    leave_dead(path)
    with socket.socket(socket.AF_UNIX) as taken.by:
        with pytest.raises(OSError) as caught:
            unix_paths.bind(path)
        assert caught.value.errno == errno.EADDRINUSE
        taken.by.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        assert os.listdir(tmp_path) == ["socket"]


def test_a_path_that_cannot_be_freed_is_in_use(kolk_loop, path, monkeypatch,
                                               caplog):
    def refuse(*args):
        raise PermissionError(errno.EPERM, "not yours")

    leave_dead(path)
    monkeypatch.setattr(os, "rename", refuse)
    assert_in_use(kolk_loop, path)
    assert "Unable to check or remove stale UNIX socket" in caplog.text
    assert os.path.exists(path)
