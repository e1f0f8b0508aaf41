"""Transports of pipes, and of what is used as one."""

import asyncio
import os
import pty
import termios
import tty

import pytest

from conftest import spin
from test_transport import Recorder, until


def open_pipe():
    reading, writing = os.pipe()
    return open(reading, "rb", 0), open(writing, "wb", 0)


def connect_reader(loop, file):
    protocol = Recorder()
    transport, _ = loop.run_until_complete(
        loop.connect_read_pipe(lambda: protocol, file))
    return transport, protocol


def connect_writer(loop, file):
    protocol = Recorder()
    transport, _ = loop.run_until_complete(
        loop.connect_write_pipe(lambda: protocol, file))
    return transport, protocol


def test_bytes_go_through_a_pipe(loop, errors):
    reading, writing = open_pipe()
    reader, got = connect_reader(loop, reading)
    writer, told = connect_writer(loop, writing)
    assert isinstance(reader, asyncio.ReadTransport)
    assert isinstance(writer, asyncio.WriteTransport)
    assert reader.get_extra_info("pipe") is reading
    assert "fd=" in repr(reader) and "idle" in repr(writer)
    data = os.urandom(1_000_000)
    writer.write(data[:10])
    writer.writelines([bytearray(data[10:20]), data[20:]])
    until(loop, lambda: len(got.data) == len(data))
    assert got.data == data
    writer.close()
    until(loop, lambda: got.told[-1] == "lost")
    assert got.told[-2:] == ["eof", "lost"]
    assert told.told[0] == "made" and told.told[-1] == "lost"
    assert reading.closed and writing.closed
    assert "closed" in repr(reader) and "closed" in repr(writer)


def test_a_reader_pauses_and_resumes(loop, pausing_loop):
    reading, writing = open_pipe()
    reader, got = connect_reader(loop, reading)
    reader.pause_reading()
    writing.write(b"data")
    spin(loop, 4)
    assert got.told == ["made"] and not reader.is_reading()
    reader.resume_reading()
    until(loop, lambda: got.data)
    reader.close()
    spin(loop, 2)
    assert got.told == ["made", b"data", "lost"]
    writing.close()


def test_a_reader_that_hangs_up_is_told(loop):
    reading, writing = open_pipe()
    writer, told = connect_writer(loop, writing)
    reading.close()
    until(loop, lambda: len(told.told) == 2)
    assert told.told == ["made", "lost"]
    assert writer.is_closing()


def test_a_reader_that_hangs_up_with_bytes_left_is_an_error(loop):
    reading, writing = open_pipe()
    writer, told = connect_writer(loop, writing)
    writer.write(b"x" * 1_000_000)
    assert told.told == ["made", "pause"]
    reading.close()
    until(loop, lambda: len(told.told) >= 3)
    assert isinstance(told.told[-1], BrokenPipeError)


def test_an_error_in_data_received_leaves_a_pipe_open(loop, errors):
    class Failing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if data == b"one":
                raise ValueError("wrong")

    reading, writing = open_pipe()
    protocol = Failing()
    reader, _ = loop.run_until_complete(
        loop.connect_read_pipe(lambda: protocol, reading))
    writing.write(b"one")
    until(loop, lambda: errors)
    assert isinstance(errors[0]["exception"], ValueError)
    errors.clear()
    writing.write(b"two")
    until(loop, lambda: protocol.data == b"onetwo")
    reader.close()
    writing.close()
    spin(loop, 2)


def test_files_are_refused(loop, tmp_path):
    with (tmp_path / "file").open("w+b") as file:
        for connect in (loop.connect_read_pipe, loop.connect_write_pipe):
            with pytest.raises(ValueError, match="Pipe transport is"):
                loop.run_until_complete(connect(Recorder, file))
        file.write(b"still open")


def test_the_last_words_of_a_terminal_are_not_lost(loop):
    master, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    reader, got = connect_reader(loop, open(master, "rb", 0))
    os.write(slave, b"last words")
    os.close(slave)
    until(loop, lambda: len(got.told) >= 3)
    assert got.data == b"last words"


def test_both_directions_of_one_terminal(kolk_loop):
    loop = kolk_loop  # asyncio stops reading when the writer closes
    master, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    reader, got = connect_reader(loop, open(master, "rb", 0))
    writer, _ = connect_writer(loop, open(master, "wb", 0, closefd=False))
    writer.write(b"there")
    os.write(slave, b"back")
    until(loop, lambda: got.data)
    assert got.data == b"back"
    assert os.read(slave, 100) == b"there"
    writer.close()
    spin(loop, 3)
    os.write(slave, b"again")
    until(loop, lambda: got.data == b"backagain")
    reader.close()
    spin(loop, 3)
    os.close(slave)


def test_pipes_leave_nothing_behind(loop):
    def one():
        reading, writing = open_pipe()
        reader, got = connect_reader(loop, reading)
        writer, _ = connect_writer(loop, writing)
        writer.write(b"data")
        writer.close()
        until(loop, lambda: got.told[-1] == "lost")

    one()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        one()
    assert len(os.listdir("/proc/self/fd")) == before
