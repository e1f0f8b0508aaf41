"""Transports of sockets: what protocols are told, in which order."""

import asyncio
import contextvars
import gc
import os
import socket
import sys
import threading
import time
import warnings
import weakref

import pytest

import kolk
from conftest import spin


class Recorder(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self):
        self.told = []
        self.data = b""

    def connection_made(self, transport):
        self.transport = transport
        self.told.append("made")

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data
        self.told.append(data)

    def eof_received(self):
        self.told.append("eof")

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")

    def connection_lost(self, error):
        self.told.append("lost" if error is None else error)


class BufferedRecorder(asyncio.BufferedProtocol):
    def __init__(self):
        self.told = []
        self.data = b""
        self.buffer = bytearray(10)

    connection_made = Recorder.connection_made
    eof_received = Recorder.eof_received
    connection_lost = Recorder.connection_lost

    def get_buffer(self, hint):
        assert hint == -1
        return self.buffer

    def buffer_updated(self, size):
        self.data += self.buffer[:size]
        self.buffer.append(0)  # it is not held any more
        self.told.append(size)


def connect(loop, protocol):
    """A transport over one end of a socket pair, and the other end."""
    ours, other = socket.socketpair()
    other.setblocking(False)
    transport, _ = loop.run_until_complete(
        loop.create_connection(lambda: protocol, sock=ours))
    return transport, other


@pytest.fixture
def pair(loop):
    protocol = Recorder()
    transport, other = connect(loop, protocol)
    yield protocol, transport, other
    other.close()
    if not loop.is_closed() and transport.get_protocol() is protocol:
        transport.abort()
        spin(loop, 2)


def until(loop, condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        loop.call_later(0.001, loop.stop)
        loop.run_forever()


def test_a_transport_is_asyncios(pair):
    _, transport, _ = pair
    assert isinstance(transport, asyncio.Transport)
    assert transport.get_protocol() is pair[0]
    assert isinstance(transport.get_extra_info("socket").fileno(), int)
    assert transport.get_extra_info("nothing", 5) == 5
    assert transport.is_reading() and not transport.is_closing()
    assert "fd=" in repr(transport) and "polling" in repr(transport)
    assert transport.can_write_eof()
    weakref.ref(transport)
    transport.attribute = 1


def test_bytes_go_both_ways(loop, pair, errors):
    protocol, transport, other = pair
    other.send(b"hello")
    until(loop, lambda: protocol.data)
    transport.write(b"you")
    transport.write(bytearray(b", "))
    transport.write(memoryview(b"there"))
    transport.write(b"")
    spin(loop)
    assert other.recv(100) == b"you, there"
    assert protocol.told == ["made", b"hello"]


def test_lines_of_any_kind_and_number(loop, pair):
    _, transport, other = pair
    transport.writelines([b"a", bytearray(b"b"), memoryview(b"c"), b""])
    transport.writelines([])
    transport.writelines([b"%d " % i for i in range(100)])
    transport.writelines(iter([b"end"])) if sys.version_info < (3, 12) else (
        transport.writelines([b"end"]))
    spin(loop)
    want = b"abc" + b"".join(b"%d " % i for i in range(100)) + b"end"
    assert other.recv(10000) == want


@pytest.mark.parametrize("data", [None, "text", 5, [b"bytes"]])
def test_what_is_no_bytes_is_refused(loop, pair, data):
    _, transport, _ = pair
    with pytest.raises(TypeError, match="data argument must be a bytes"):
        transport.write(data)


def test_what_is_no_bytes_is_refused_in_lines(loop, pair):
    _, transport, other = pair
    with pytest.raises(TypeError):
        transport.writelines([b"bytes", "text"])


def test_bytes_that_change_after_write_are_sent_as_they_were(kolk_loop):
    transport, other = connect(kolk_loop, Recorder())
    transport.write(b"x" * 4_000_000)
    data = bytearray(b"a" * 300_000)
    transport.write(data)
    transport.writelines([data, memoryview(data)])
    data[:] = b"b" * len(data)
    got = receive(kolk_loop, other, 4_000_000 + 3 * 300_000)
    assert got[4_000_000:] == b"a" * 3 * 300_000
    transport.close()
    spin(kolk_loop, 2)
    other.close()


def receive(loop, sock, size):
    got = bytearray()

    def more():
        while len(got) < size:
            try:
                part = sock.recv(1 << 20)
            except BlockingIOError:
                return False
            if not part:
                return True
            got.extend(part)
        return True

    until(loop, more)
    return bytes(got)


def test_much_is_paused_and_resumed(loop, pair):
    protocol, transport, other = pair
    size = 10_000_000
    transport.write(b"x" * size)
    assert protocol.told == ["made", "pause"]
    assert transport.get_write_buffer_size() > 64 * 1024
    assert receive(loop, other, size) == b"x" * size
    until(loop, lambda: "resume" in protocol.told)
    assert transport.get_write_buffer_size() == 0


def test_marks(loop, pair):
    protocol, transport, _ = pair
    assert transport.get_write_buffer_limits() == (16384, 65536)
    transport.set_write_buffer_limits(high=1000)
    assert transport.get_write_buffer_limits() == (250, 1000)
    transport.set_write_buffer_limits(low=1000)
    assert transport.get_write_buffer_limits() == (1000, 4000)
    transport.set_write_buffer_limits(0)
    assert transport.get_write_buffer_limits() == (0, 0)
    with pytest.raises(ValueError, match=r"high \(1\) must be >= low \(2\)"):
        transport.set_write_buffer_limits(1, 2)
    transport.write(b"x" * 5_000_000)
    assert protocol.told == ["made", "pause"]


def test_errors_of_pausing_are_reported(loop, errors):
    class Failing(Recorder):
        def pause_writing(self):
            raise ValueError("pause")

        def resume_writing(self):
            raise ValueError("resume")

    protocol = Failing()
    transport, other = connect(loop, protocol)
    transport.write(b"x" * 5_000_000)
    receive(loop, other, 5_000_000)
    until(loop, lambda: len(errors) == 2)
    assert [e["message"] for e in errors] == [
        "protocol.pause_writing() failed", "protocol.resume_writing() failed"]
    assert errors[0]["transport"] is transport
    assert errors[0]["protocol"] is protocol
    errors.clear()
    transport.close()
    spin(loop, 2)
    other.close()


def test_reading_is_paused_and_resumed(loop, pair):
    protocol, transport, other = pair
    transport.pause_reading()
    transport.pause_reading()
    assert not transport.is_reading()
    other.send(b"early")
    spin(loop, 5)
    assert protocol.told == ["made"]
    transport.resume_reading()
    transport.resume_reading()
    until(loop, lambda: protocol.data)
    assert protocol.data == b"early"


def test_paused_in_connection_made(loop, pausing_loop):
    class Pausing(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    protocol = Pausing()
    transport, other = connect(loop, protocol)
    other.send(b"early")
    spin(loop, 5)
    assert protocol.told == ["made"]
    transport.resume_reading()
    until(loop, lambda: protocol.data)
    transport.close()
    other.close()
    spin(loop, 2)


@pytest.mark.parametrize("keeps", [False, True])
def test_the_end_of_the_stream(loop, errors, keeps):
    class Keeping(Recorder):
        def eof_received(self):
            super().eof_received()
            return keeps

    protocol = Keeping()
    transport, other = connect(loop, protocol)
    other.send(b"last")
    other.shutdown(socket.SHUT_WR)
    until(loop, lambda: "eof" in protocol.told)
    spin(loop, 3)
    if keeps:
        assert protocol.told == ["made", b"last", "eof"]
        transport.write(b"answer")
        transport.close()
        spin(loop, 3)
        assert other.recv(100) == b"answer"
    assert protocol.told == ["made", b"last", "eof", "lost"]
    assert transport.is_closing()
    other.close()


def test_write_eof(loop, pair):
    protocol, transport, other = pair
    transport.write(b"all")
    transport.write_eof()
    transport.write_eof()
    with pytest.raises(RuntimeError,
                       match=r"Cannot call write\(\) after write_eof\(\)"):
        transport.write(b"more")
    spin(loop)
    assert other.recv(100) == b"all"
    assert other.recv(100) == b""
    other.send(b"answer")
    until(loop, lambda: protocol.data == b"answer")


def test_close_sends_everything_first(loop, pair):
    protocol, transport, other = pair
    transport.write(b"x" * 5_000_000)
    transport.close()
    transport.close()
    assert transport.is_closing() and not transport.is_reading()
    spin(loop, 3)
    assert "lost" not in protocol.told
    assert len(receive(loop, other, 6_000_000)) == 5_000_000
    until(loop, lambda: protocol.told[-1] == "lost")
    assert protocol.told[-2:] == ["resume", "lost"]


def test_what_resume_writing_writes_while_closing_is_sent(loop):
    class Trailing(Recorder):
        def resume_writing(self):
            super().resume_writing()
            self.transport.write(b"end")

    protocol = Trailing()
    transport, other = connect(loop, protocol)
    transport.write(b"x" * 1_000_000)
    transport.close()
    got = receive(loop, other, 2_000_000)
    assert len(got) == 1_000_003 and got.endswith(b"xend")
    other.close()


def test_abort_drops_what_was_not_sent(loop, pair):
    protocol, transport, other = pair
    transport.write(b"x" * 50_000_000)
    transport.abort()
    transport.abort()
    assert transport.is_closing()
    assert "lost" not in protocol.told
    spin(loop, 2)
    assert protocol.told == ["made", "pause", "lost"]
    transport.close()
    assert transport.get_protocol() is None
    assert "closed" in repr(transport)


def test_a_reset_is_told(loop):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    protocol = Recorder()
    loop.run_until_complete(
        loop.create_connection(lambda: protocol, sock=ours))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                      b"\1\0\0\0\0\0\0\0")
    client.close()
    until(loop, lambda: len(protocol.told) == 2)
    assert isinstance(protocol.told[1], ConnectionResetError)


def test_data_before_a_reset_is_not_lost(kolk_loop):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    protocol = Recorder()
    transport, _ = kolk_loop.run_until_complete(
        kolk_loop.create_connection(lambda: protocol, sock=ours))
    client.send(b"last words")
    client.close()
    time.sleep(0.01)
    transport.write(b"one")  # is answered by a reset
    spin(kolk_loop)
    transport.write(b"two")
    until(kolk_loop, lambda: protocol.told[-1] != b"last words"
          and len(protocol.told) > 2)
    assert protocol.told[1] == b"last words"


def test_writes_after_the_end_are_dropped_and_warned_of(loop, pair, caplog):
    _, transport, _ = pair
    transport.abort()
    spin(loop, 2)
    for _ in range(4):
        transport.write(b"late")
    assert "socket.send() raised exception" not in caplog.text
    for _ in range(2):
        transport.write(b"late")
    assert "socket.send() raised exception" in caplog.text


@pytest.mark.parametrize("method, message", [
    ("data_received", "Fatal error: protocol.data_received() call failed."),
    ("eof_received", "Fatal error: protocol.eof_received() call failed."),
])
def test_an_error_of_the_protocols_ends_the_connection(loop, errors, method,
                                                       message):
    error = ValueError("wrong")

    def fail(*args):
        raise error

    protocol = Recorder()
    setattr(protocol, method, fail)
    transport, other = connect(loop, protocol)
    other.send(b"data")
    other.shutdown(socket.SHUT_WR)
    until(loop, lambda: protocol.told[-1] is error)
    report, = errors
    assert report == {"message": message, "exception": error,
                      "transport": transport, "protocol": protocol}
    errors.clear()
    other.close()


@pytest.mark.parametrize("method", ["connection_made", "connection_lost"])
def test_an_error_at_the_ends_is_reported(loop, errors, method):
    error = ValueError("wrong")

    def fail(*args):
        raise error

    protocol = Recorder()
    setattr(protocol, method, fail)
    transport, other = connect(loop, protocol)
    transport.close()
    spin(loop, 3)
    report, = errors
    assert report["exception"] is error
    assert report["message"].startswith("Exception in callback ")
    errors.clear()
    other.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_run_leaves_the_connection_alone(loop, error):
    class Ending(Recorder):
        def data_received(self, data):
            raise error

    protocol = Ending()
    transport, other = connect(loop, protocol)
    other.send(b"data")
    with pytest.raises(error):
        loop.run_forever()
    assert not transport.is_closing()
    transport.close()
    spin(loop, 2)
    other.close()


# ---- buffers ----

def test_a_buffered_protocol(loop, errors):
    protocol = BufferedRecorder()
    transport, other = connect(loop, protocol)
    protocol.buffer.append(0)  # is not held while nothing was there
    other.send(b"0123456789" * 10)
    other.shutdown(socket.SHUT_WR)
    until(loop, lambda: protocol.told[-1] == "lost")
    assert protocol.data == b"0123456789" * 10
    assert protocol.told[1] == 11
    other.close()


@pytest.mark.parametrize("buffer, kind", [
    (bytearray(), RuntimeError), (b"constant", (TypeError, BufferError)),
    (None, TypeError), (5, TypeError)])
def test_a_wrong_buffer_ends_the_connection(loop, errors, buffer, kind):
    protocol = BufferedRecorder()
    protocol.buffer = buffer
    transport, other = connect(loop, protocol)
    other.send(b"data")
    until(loop, lambda: isinstance(protocol.told[-1], kind))
    assert isinstance(errors[0]["exception"], kind)
    errors.clear()
    other.close()


def test_the_protocol_is_replaced_from_within(loop, errors):
    second = BufferedRecorder()
    third = Recorder()

    class First(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.set_protocol(second)

    def updated(size):
        second.data += second.buffer[:size]
        transport.set_protocol(third)

    second.buffer_updated = updated
    first = First()
    transport, other = connect(loop, first)
    for protocol in (first, second, third):
        other.send(b"word")
        until(loop, lambda: protocol.data == b"word")
    transport.close()
    spin(loop, 2)
    assert third.told == [b"word", "lost"]
    other.close()


# ---- contexts, threads, collection ----

def test_a_context_of_its_own_for_each_connection(loop):
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    class Noting(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            seen.append(variable.get())

        def data_received(self, data):
            seen.append(variable.get())
            variable.set(data)

        def connection_lost(self, error):
            seen.append(variable.get())

    def make(name):
        variable.set(name)
        return connect(loop, Noting())

    contexts = [contextvars.copy_context() for _ in range(2)]
    made = [context.run(make, name)
            for context, name in zip(contexts, ("one", "two"))]
    for _, other in made:
        other.send(b"data")
        other.close()
    until(loop, lambda: len(seen) == 6)
    assert variable.get() == "none"
    assert seen[:2] == ["one", "two"]
    assert set(seen[2:]) == {"one", "two", b"data"}


def test_a_nested_run_may_receive_on_the_same_connection():
    loop = kolk.Loop(nested=True)
    reports = []
    loop.set_exception_handler(lambda _, report: reports.append(report))

    class Nesting(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if data == b"one":
                other.send(b"two")
                loop.run_until_complete(asyncio.sleep(0.01))
                self.told.append("back")

    async def main():
        other.send(b"one")
        while "back" not in protocol.told:
            await asyncio.sleep(0.001)

    protocol = Nesting()
    transport, other = connect(loop, protocol)
    loop.run_until_complete(asyncio.wait_for(main(), 10))
    assert protocol.told == ["made", b"one", b"two", "back"]
    assert reports == []
    transport.close()
    spin(loop, 2)
    loop.close()
    other.close()


def test_another_thread_may_write_and_close(kolk_loop):
    protocol = Recorder()
    transport, other = connect(kolk_loop, protocol)

    def work():
        transport.write(b"from ")
        transport.writelines([b"another ", b"thread"])
        transport.close()

    thread = threading.Thread(target=work)
    kolk_loop.call_soon(thread.start)
    until(kolk_loop, lambda: protocol.told[-1] == "lost")
    thread.join()
    assert other.recv(100) == b"from another thread"
    other.close()


def test_the_programs_own_close_of_the_socket_is_put_off(kolk_loop):
    ours, other = socket.socketpair()
    other.setblocking(False)
    protocol = Recorder()
    transport, _ = kolk_loop.run_until_complete(
        kolk_loop.create_connection(lambda: protocol, sock=ours))
    ours.close()
    other.send(b"data")
    until(kolk_loop, lambda: protocol.data)
    fd = ours.fileno()
    assert fd >= 0
    transport.close()
    spin(kolk_loop, 2)
    with pytest.raises(OSError):
        os.fstat(fd)
    other.close()


def test_descriptors_of_transports_are_not_for_others(loop, pair):
    _, transport, _ = pair
    fd = transport.get_extra_info("socket").fileno()
    for call in (lambda: loop.add_reader(fd, print),
                 lambda: loop.add_writer(fd, print),
                 lambda: loop.remove_reader(fd),
                 lambda: loop.remove_writer(fd)):
        with pytest.raises(RuntimeError, match="is used by transport"):
            call()


def test_a_reader_gives_way_to_a_transport(loop, errors):
    ours, other = socket.socketpair()
    ours.setblocking(False)
    called = []
    loop.add_reader(ours, called.append, 1)
    protocol = Recorder()
    transport, _ = loop.run_until_complete(
        loop.create_connection(lambda: protocol, sock=ours))
    other.send(b"data")
    until(loop, lambda: protocol.data)
    assert called == []
    transport.close()
    spin(loop, 2)
    other.close()


def test_an_open_transport_goes_with_its_loop(loop):
    protocol = Recorder()
    transport, other = connect(loop, protocol)
    loop.close()
    reference = weakref.ref(transport)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        del transport
        protocol.transport = None
        del protocol
        gc.collect()
    assert any("unclosed transport" in str(w.message) for w in found)
    del found[:]  # each has its source
    gc.collect()
    assert reference() is None
    other.settimeout(5)
    assert other.recv(1) == b""
    other.close()


def test_closing_after_the_loop_is_an_error(loop):
    transport, other = connect(loop, Recorder())
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        transport.close()
    other.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del transport
        gc.collect()


def test_transports_leave_nothing_behind(loop):
    def one():
        protocol = Recorder()
        transport, other = connect(loop, protocol)
        transport.write(b"x" * 100_000)
        other.send(b"data")
        until(loop, lambda: protocol.data)
        transport.close()
        other.close()
        spin(loop, 3)
        return weakref.ref(transport)

    references = [one() for _ in range(20)]
    gc.collect()
    assert [r() for r in references] == [None] * 20
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        one()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("call", [
    lambda t: t.write(), lambda t: t.write(b"", b""),
    lambda t: t.writelines(5), lambda t: t.set_protocol(),
    lambda t: t._open(), lambda t: t._open(1, 2, 3, 4, 5),
    lambda t: t._sendfile(1), lambda t: t._set_limits(1),
    lambda t: t._set_limits("1", "2"),
])
def test_wrong_arguments_are_errors(kolk_loop, call):
    transport, other = connect(kolk_loop, Recorder())
    with pytest.raises(TypeError):
        call(transport)
    transport.close()
    spin(kolk_loop, 2)
    other.close()


def test_a_transport_that_was_never_opened_is_of_no_use():
    import kolk.transports
    transport = kolk.transports.Transport.__new__(kolk.transports.Transport)
    for name in ("write", "writelines", "close", "abort", "write_eof",
                 "pause_reading", "resume_reading", "set_protocol",
                 "_start_reading", "_force_close"):
        arguments = [[b""]] if name in ("write", "writelines", "set_protocol",
                                        "_force_close") else []
        with pytest.raises((RuntimeError, TypeError)):
            getattr(transport, name)(*arguments)
    assert transport.get_protocol() is None
    assert transport.get_write_buffer_size() == 0


# ---- files ----

def test_sendfile(loop, tmp_path):
    protocol = Recorder()
    transport, other = connect(loop, protocol)
    path = tmp_path / "file"
    data = os.urandom(3_000_000)
    path.write_bytes(data)

    async def main(file):
        transport.write(b"before ")
        sent = asyncio.ensure_future(loop.sendfile(transport, file, 5))
        got = await loop.run_in_executor(None, read_all, len(data) + 2)
        assert await sent == len(data) - 5
        assert file.tell() == len(data)
        return got

    def read_all(size):
        other.setblocking(True)
        got = b""
        while len(got) < size:
            got += other.recv(1 << 20)
        return got

    with path.open("rb") as file:
        got = loop.run_until_complete(asyncio.wait_for(main(file), 20))
    assert got == b"before " + data[5:]
    transport.write(b"after")
    spin(loop)
    assert other.recv(100) == b"after"
    transport.close()
    spin(loop, 2)
    other.close()


def test_writing_during_sendfile_is_refused(loop, tmp_path):
    transport, other = connect(loop, Recorder())
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5_000_000)

    async def main(file):
        task = asyncio.ensure_future(loop.sendfile(transport, file))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            transport.write(b"in between")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        transport.abort()
        await asyncio.sleep(0.01)

    with path.open("rb") as file:
        loop.run_until_complete(asyncio.wait_for(main(file), 20))
    other.close()
