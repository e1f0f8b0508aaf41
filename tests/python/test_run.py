"""Runs: stopping, exceptions, signals, nesting, guests, subclasses."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import kolk
from conftest import spin


def test_stop_ends_the_run_after_the_turn(loop):
    ran = []
    loop.call_soon(loop.stop)
    loop.call_soon(ran.append, 1)
    loop.run_forever()
    assert ran == [1]
    assert not loop.is_running()


def test_stop_before_the_run_lets_one_turn_run(loop):
    ran = []
    loop.call_soon(ran.append, 1)
    loop.call_soon(lambda: loop.call_soon(ran.append, 2))
    loop.stop()
    loop.run_forever()
    assert ran == [1]


def test_errors_in_callbacks_are_reported(loop, errors):
    def fail():
        raise ValueError("wrong")

    handle = loop.call_soon(fail)
    spin(loop)
    report, = errors
    assert report["message"].startswith("Exception in callback ")
    assert report["message"].count("fail()") == 1
    assert isinstance(report["exception"], ValueError)
    assert report["handle"] is handle
    errors.clear()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_run_leaves_the_rest_queued_in_order(loop, error):
    ran = []

    def fail():
        raise error

    loop.call_soon(ran.append, 1)
    loop.call_soon(fail)
    loop.call_soon(ran.append, 2)
    loop.call_soon(ran.append, 3)
    with pytest.raises(error):
        loop.run_forever()
    assert ran == [1] and not loop.is_running()
    spin(loop)
    assert ran == [1, 2, 3]


def test_an_exception_handler_that_fails_is_reported(loop, caplog):
    def handler(loop, context):
        raise ValueError("handler")

    def fail():
        raise KeyError("first")

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    spin(loop)
    assert "Unhandled error in exception handler" in caplog.text


def test_a_loop_runs_in_several_threads_one_after_the_other(loop):
    ran = []
    for i in range(3):
        loop.call_soon(ran.append, i)
        thread = threading.Thread(target=spin, args=(loop,))
        thread.start()
        thread.join()
    assert ran == [0, 1, 2]


def test_a_running_loop_is_not_run_again(kolk_loop, errors):
    loop = kolk_loop  # asyncio's of 3.13.0 closes itself

    def again():
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="Cannot close a running"):
            loop.close()

    loop.call_soon(again)
    spin(loop)
    assert not loop.is_closed()


def test_a_nested_loop_runs_inside_its_own_callbacks():
    loop = kolk.Loop(nested=True)

    async def inner():
        await asyncio.sleep(0.001)
        return asyncio.current_task()

    async def outer():
        me = asyncio.current_task()
        other = loop.create_task(inner())
        assert loop.run_until_complete(other) is other
        assert asyncio.current_task() is me
        await asyncio.sleep(0)
        return "done"

    assert loop.run_until_complete(outer()) == "done"
    loop.close()


def test_a_guest_runs_turns_of_another_loop(kolk_loop):
    ran = []
    kolk_loop.call_later(0.01, ran.append, "timer")
    kolk_loop.call_soon(ran.append, "soon")
    end = time.monotonic() + 5
    while len(ran) < 2 and time.monotonic() < end:
        if select.select([kolk_loop.fileno()], [], [], 1)[0]:
            kolk_loop.run_once()
    assert ran == ["soon", "timer"]


def test_a_guest_of_asyncio(kolk_loop):
    async def host():
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(kolk_loop.fileno(),
                                              kolk_loop.run_once)
        kolk_loop.call_later(0.001, done.set_result, asyncio)
        assert await asyncio.wait_for(done, 5) is asyncio
        assert asyncio.get_running_loop() is not kolk_loop

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(host())


def test_an_assigned_time_is_the_clock(kolk_loop):
    now = 1000.0
    kolk_loop.time = lambda: now
    ran = []
    kolk_loop.call_later(10, ran.append, "due")
    spin(kolk_loop, 3)
    assert ran == []
    now += 10
    spin(kolk_loop, 2)
    assert ran == ["due"]


def test_a_subclass_changes_the_order(kolk_loop):
    class Lifo(kolk.Loop):
        def __init__(self):
            super().__init__()
            self.set_scheduling_hook(lambda handles: handles[::-1])

    loop = Lifo()
    ran = []
    for i in range(4):
        loop.call_soon(ran.append, i)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert ran == [3, 2, 1, 0]


def test_a_hook_that_fails_keeps_asyncios_order(kolk_loop, errors):
    kolk_loop.set_scheduling_hook(lambda handles: 1 / 0)
    ran = []
    for i in range(3):
        kolk_loop.call_soon(ran.append, i)
    kolk_loop.call_soon(kolk_loop.stop)
    kolk_loop.run_forever()
    assert ran == [0, 1, 2]
    assert [e["message"] for e in errors] == ["Exception in scheduling hook"]
    errors.clear()


def test_an_overridden_call_soon_sees_every_call():
    class Counting(kolk.Loop):
        calls = 0

        def call_soon(self, callback, *args, context=None):
            self.calls += 1
            return super().call_soon(callback, *args, context=context)

    loop = Counting()

    async def main():
        await asyncio.sleep(0)
        future = loop.create_future()
        loop.call_soon(future.set_result, 1)
        return await future

    assert loop.run_until_complete(main()) == 1
    # two steps, a third after the future, the call itself, the end of the run
    assert loop.calls == 5
    loop.close()


def test_loops_have_attributes(loop):
    loop.anything = 1
    assert loop.anything == 1


# ---- signals ----

def test_signal_handlers_run_in_the_loop(loop):
    got = []
    loop.add_signal_handler(signal.SIGUSR1, got.append, "usr1")
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert got == ["usr1"]
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert not loop.remove_signal_handler(signal.SIGUSR1)


def test_signal_handlers_are_checked(loop):
    with pytest.raises(RuntimeError, match="cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, print)
    with pytest.raises(ValueError, match="invalid signal number"):
        loop.add_signal_handler(10000, print)
    with pytest.raises(TypeError, match="sig must be an int"):
        loop.add_signal_handler("x", print)


def test_the_wakeup_descriptor_is_the_programs_own_outside_of_runs(loop):
    ours, other = socket.socketpair()
    for end in (ours, other):
        end.setblocking(False)
    before = signal.set_wakeup_fd(other.fileno())
    try:
        spin(loop)
        assert signal.set_wakeup_fd(other.fileno()) == other.fileno()
    finally:
        signal.set_wakeup_fd(before)
        ours.close()
        other.close()
    spin(loop)
    assert signal.set_wakeup_fd(before) == before


INTERRUPTED = """
import asyncio, os, signal, sys, threading, time
import kolk
# Whoever is started in the background of a shell ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
loop = kolk.Loop()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
begin = time.monotonic()
try:
    {run}
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - begin < 2)
"""


@pytest.mark.parametrize("run", [
    "loop.run_forever()",
    "loop.call_soon(lambda: [None for _ in iter(int, 1)]); loop.run_forever()",
    "loop.call_later(1000, print); loop.run_forever()",
    "kolk.run(asyncio.sleep(1000))",
])
def test_ctrl_c_ends_the_run(run):
    code = INTERRUPTED.format(run=run)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code],
                          capture_output=True, text=True, timeout=30)
    assert done.stdout == "interrupted True\n", done.stderr


# ---- whole processes ----

def test_install_and_uninstall():
    assert not isinstance(_new(), kolk.Loop)
    kolk.install()
    kolk.install()
    try:
        assert isinstance(_new(), kolk.Loop)
    finally:
        kolk.uninstall()
    assert not isinstance(_new(), kolk.Loop)


def _new():
    loop = asyncio.new_event_loop()
    loop.close()
    return loop


def test_run_runs_main_on_a_kolk_loop():
    async def main():
        return asyncio.get_running_loop()

    assert isinstance(kolk.run(main()), kolk.Loop)


def test_the_command_line_runs_a_program(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, sys\n"
        "async def main():\n"
        "    print(type(asyncio.get_running_loop()).__module__, sys.argv[1])\n"
        "asyncio.run(main())\n")
    done = subprocess.run(
        [sys.executable, "-m", "kolk", "run", str(program), "argument"],
        capture_output=True, text=True, timeout=30)
    assert done.stdout == "kolk.loop argument\n", done.stderr


def test_the_doctor_answers():
    done = subprocess.run([sys.executable, "-m", "kolk", "doctor"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert kolk.__version__ in done.stdout


def test_importing_changes_nothing():
    code = ("import asyncio, signal\n"
            "before = dict(vars(asyncio)), dict(vars(asyncio.tasks))\n"
            "import kolk\n"
            "assert dict(vars(asyncio.tasks)) == before[1]\n"
            "assert type(asyncio.new_event_loop()) is not kolk.Loop\n")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_the_child_of_a_fork_makes_loops_of_its_own(kolk_loop):
    kolk_loop.call_later(1000, print)

    def fork():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                kolk_loop.call_soon(print)
            except RuntimeError:
                asyncio._set_running_loop(None)
                status = kolk.run(asyncio.sleep(0.001, 0))
            finally:
                os._exit(status)
        return os.waitpid(child, 0)[1]

    async def main():
        return fork()

    assert kolk_loop.run_until_complete(main()) == 0
