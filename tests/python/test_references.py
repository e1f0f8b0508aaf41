"""No reference is lost: each of these runs again and again, and the count of
all references stays. Debug builds of the interpreter only."""

import asyncio
import contextlib
import gc
import socket
import sys

import pytest

import kolk

pytestmark = pytest.mark.skipif(not hasattr(sys, "gettotalrefcount"),
                                reason="needs a debug build of Python")


async def child(value=None):
    await asyncio.sleep(0)
    return value


async def tasks():
    await asyncio.gather(*[child(i) for i in range(10)])
    task = asyncio.create_task(child(), name="named")
    assert task in asyncio.all_tasks()
    await task


async def futures():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    future.add_done_callback(lambda future: None)
    future.add_done_callback(print)
    future.remove_done_callback(print)
    repr(future), future._callbacks
    loop.call_soon(future.set_result, 1)
    assert await future == 1
    waiting = loop.create_future()
    pair = [asyncio.create_task(_wait(waiting)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting.set_result(2)
    assert await asyncio.gather(*pair) == [2, 2]


async def _wait(future):
    return await future


async def errors():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_exception, ValueError())
    with contextlib.suppress(ValueError):
        await future
    task = asyncio.create_task(asyncio.sleep(1000))
    await asyncio.sleep(0)
    task.cancel("message")
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(loop.create_future(), 0.001)
    with contextlib.suppress(TypeError):
        loop.create_task(1)


async def handles():
    loop = asyncio.get_running_loop()
    loop.call_soon(len, "a")
    loop.call_soon(max, 1, 2, 3).cancel()
    loop.call_soon_threadsafe(len, "b")
    loop.call_later(0, len, "c")
    loop.call_later(1000, max, 1, 2).cancel()
    kept = loop.call_at(loop.time(), len, "d")
    repr(kept), kept._args, kept.when()
    await asyncio.sleep(0.001)


async def sockets():
    loop = asyncio.get_running_loop()
    ours, other = socket.socketpair()
    with ours, other:
        for end in (ours, other):
            end.setblocking(False)
        reading = asyncio.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0)
        await loop.sock_sendall(other, b"x")
        assert await reading == b"x"


async def threads():
    assert await asyncio.to_thread(len, "abc") == 3


async def eager():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(kolk.eager_task_factory)
    await asyncio.create_task(child(1))
    assert asyncio.create_task(returns()).result() == 1
    with contextlib.suppress(ValueError):
        await asyncio.create_task(fails())
    loop.set_task_factory(None)


async def returns():
    return 1


async def fails():
    raise ValueError


async def debugging():
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.call_soon(len, "a")
    await asyncio.create_task(child())
    loop.set_debug(False)


@pytest.mark.parametrize("scenario", [tasks, futures, errors, handles, sockets,
                                      threads, eager, debugging])
def test_references_stay(scenario):
    def once():
        loop = kolk.Loop()
        try:
            for _ in range(10):
                loop.run_until_complete(scenario())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
        del loop
        gc.collect()
        return sys.gettotalrefcount()

    for _ in range(4):
        once()
    counts = [once() for _ in range(6)]
    steps = [after - before for before, after in zip(counts, counts[1:])]
    # The interpreter fills caches of its own now and then, by a few. A leak
    # is there in each round, ten times.
    assert min(steps) < 10, steps
