"""Many loops: one after the other, and in many threads."""

import asyncio
import gc
import os
import resource
import socket
import subprocess
import sys
import threading
import warnings
import weakref

import pytest

import kolk


async def work(value):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0, future.set_result, value)
    handle = loop.call_later(1000, print)
    task = asyncio.create_task(asyncio.sleep(0, value))
    found = await future, await task
    handle.cancel()
    return found


def one_loop(value=1):
    loop = kolk.Loop()
    pending = loop.create_future()
    try:
        assert loop.run_until_complete(work(value)) == (value, value)
        loop.call_soon(print)  # never runs
        pending.add_done_callback(print)
    finally:
        loop.close()


def counts():
    gc.collect()
    return (len(os.listdir("/proc/self/fd")), threading.active_count(),
            len(gc.get_objects()))


def test_thousands_of_loops_leave_nothing_behind():
    for _ in range(100):
        one_loop()
    before = counts()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3000):
        one_loop()
    after = counts()
    assert after[:2] == before[:2]
    assert after[2] <= before[2] + 50
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < 8192, f"{grown} KiB more"


def test_loops_in_cycles_leave_nothing_behind():
    """Nobody closes them; the collector does."""
    def forgotten():
        loop = kolk.Loop()
        loop.me = loop
        loop.task = loop.create_task(asyncio.sleep(0))
        loop.task._log_destroy_pending = False
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.call_later(1000, forgotten, loop)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(10):
            forgotten()
        before = counts()
        for _ in range(200):
            forgotten()
        gc.collect()
        told = {warning.category for warning in caught}
        del caught[:]
        after = counts()
    assert told == {ResourceWarning}
    assert after[:2] == before[:2]
    assert after[2] <= before[2] + 50


def call_later(loop):
    return loop.call_later(1000, print)


def call_at(loop):
    return loop.call_at(10 ** 9, print)


def call_soon(loop):
    return loop.call_soon(print)


def call_soon_threadsafe(loop):
    return loop.call_soon_threadsafe(print)


def add_reader(loop):
    loop.pair = socket.socketpair()
    return loop._add_reader(loop.pair[0], print)


def ready(loop):
    loop.create_future().add_done_callback(print)
    future = loop.create_future()
    future.add_done_callback(print)
    future.set_result(None)
    return loop._ready


def call_later_elsewhere(loop):
    """From a thread, while the loop runs; then it starts there, or does
    not."""
    found = []

    def work():
        found.append(loop.call_later(1000, print))
        loop.call_soon_threadsafe(loop.stop)

    loop.call_soon(lambda: threading.Thread(target=work).start())
    loop.run_forever()
    return found


def call_later_too_late(loop):
    """The loop ends before it hears of it."""
    found = []

    def work():
        found.append(loop.call_later(1000, print))

    def wait():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        loop.stop()

    loop.call_soon(wait)
    loop.run_forever()
    return found


@pytest.mark.parametrize("make", [
    call_later, call_at, call_soon, call_soon_threadsafe, add_reader, ready,
    call_later_elsewhere, call_later_too_late])
def test_a_loop_in_a_cycle_with_a_pending_handle_is_collected(kolk_loop,
                                                              make):
    """The program has the handle; both are kept by a coroutine's frame."""
    async def keep(loop, handle):
        await loop.create_future()

    def forgotten():
        loop = kolk.Loop(backend=kolk_loop.backend[0])
        handle = make(loop)
        loop.task = loop.create_task(keep(loop, handle))
        loop.task._log_destroy_pending = False
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.again = make(loop)
        return weakref.ref(loop)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = forgotten()
        assert found() is not None
        gc.collect()
        assert found() is None


@pytest.mark.parametrize("make", [
    call_later, call_soon, call_soon_threadsafe, call_later_too_late])
def test_a_loop_lives_as_long_as_a_pending_handle_of_it(kolk_loop, make):
    def forgotten():
        loop = kolk.Loop(backend=kolk_loop.backend[0])
        loop.me = loop
        return make(loop)

    handle = forgotten()
    gc.collect()
    if isinstance(handle, list):
        handle, = handle
    loop = handle._loop
    assert not loop.is_closed()
    assert handle._callback is print
    handle.cancel()
    loop.close()


def test_loops_run_in_many_threads_and_wake_each_other():
    count, rounds = 16, 50
    loops = [kolk.Loop() for _ in range(count)]
    heard = [0] * count
    errors = []

    def hear(i, future):
        heard[i] += 1
        if heard[i] == rounds * count:
            future.set_result(None)

    async def main(i):
        future = asyncio.get_running_loop().create_future()
        futures[i] = future
        await asyncio.to_thread(ready.wait, 60)
        for _ in range(rounds):
            for j, loop in enumerate(loops):
                loop.call_soon_threadsafe(hear, j, futures[j])
            await asyncio.sleep(0)
        await future
        await asyncio.to_thread(ready.wait, 60)

    def run(i):
        try:
            loops[i].run_until_complete(main(i))
            loops[i].run_until_complete(
                loops[i].shutdown_default_executor())
        except BaseException as error:
            errors.append(error)
            ready.abort()

    futures = [None] * count
    ready = threading.Barrier(count)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for loop in loops:
        loop.close()
    assert not errors and heard == [rounds * count] * count


def test_a_loop_made_in_one_thread_runs_in_others():
    loop = kolk.Loop()
    task = loop.create_task(work(1))
    found = []

    def run(awaitable):
        found.append(loop.run_until_complete(awaitable))

    for awaitable in (task, work(2)):
        thread = threading.Thread(target=run, args=(awaitable,))
        thread.start()
        thread.join(60)
    found.append(loop.run_until_complete(work(3)))
    loop.close()
    assert found == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="3.14 and later")
@pytest.mark.parametrize("what", ["ps", "pstree"])
def test_asyncios_own_tool_shows_our_tasks(what):
    program = ("import asyncio, kolk\n"
               "async def inner(): await asyncio.sleep(1000)\n"
               "async def outer(): await asyncio.create_task(inner(), "
               "name='the inner one')\n"
               "async def main():\n"
               "    task = asyncio.create_task(outer(), name='the outer one')\n"
               "    await asyncio.sleep(0.1)\n"
               "    print('ready', flush=True)\n"
               "    await task\n"
               "kolk.run(main())\n")
    with subprocess.Popen([sys.executable, "-c", program],
                          stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            done = subprocess.run(
                [sys.executable, "-m", "asyncio", what, str(process.pid)],
                capture_output=True, text=True, timeout=60)
        finally:
            process.kill()
    if done.returncode != 0:
        pytest.skip(f"asyncio {what} cannot look here: {done.stderr[-200:]}")
    assert "the inner one" in done.stdout and "the outer one" in done.stdout
