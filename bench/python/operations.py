"""How long asyncio's everyday operations take, on kolk and on other loops.

    python bench/python/operations.py [--rounds N] [--loops kolk,uvloop,asyncio]

Each loop runs in a process of its own, in turn, so many rounds; what is shown
is the median of the processor's nanoseconds per operation, and how many times
faster than uvloop kolk is. A loop that is not installed is left out.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time


async def sleep_zero(n):
    async def one():
        for _ in range(n // 2):
            await asyncio.sleep(0)
    await asyncio.gather(one(), one())


async def create_task(n):
    async def nothing():
        pass
    create = asyncio.get_running_loop().create_task
    for _ in range(n):
        await create(nothing())


async def call_soon(n):
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def step():
        nonlocal n
        n -= 1
        if n:
            loop.call_soon(step)
        else:
            done.set_result(None)

    loop.call_soon(step)
    await done


async def future(n):
    loop = asyncio.get_running_loop()
    for _ in range(n):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future


async def call_later_cancel(n):
    loop = asyncio.get_running_loop()
    handles = [loop.call_later(1000, print) for _ in range(1000)]
    for _ in range(n):
        loop.call_later(1000, print).cancel()
    for handle in handles:
        handle.cancel()


async def gather(n):
    async def nothing():
        pass
    for _ in range(n // 1000):
        await asyncio.gather(*[nothing() for _ in range(1000)])


async def sleeps(n):
    await asyncio.gather(*[asyncio.sleep(0.001) for _ in range(n)])


async def queue(n):
    one, other = asyncio.Queue(), asyncio.Queue()

    async def echo():
        for _ in range(n // 2):
            await other.put(await one.get())

    task = asyncio.create_task(echo())
    for _ in range(n // 2):
        await one.put(None)
        await other.get()
    await task


async def wait_for(n):
    async def nothing():
        pass
    for _ in range(n):
        await asyncio.wait_for(nothing(), 10)


async def threadsafe(n):
    loop = asyncio.get_running_loop()
    for _ in range(n):
        future = loop.create_future()
        loop.call_soon_threadsafe(future.set_result, None)
        await future


OPERATIONS = {
    "sleep(0)": (sleep_zero, 200_000),
    "create_task + await": (create_task, 100_000),
    "call_soon chain": (call_soon, 200_000),
    "future set + await": (future, 100_000),
    "call_later + cancel": (call_later_cancel, 100_000),
    "gather of 1,000": (gather, 100_000),
    "sleeps at once": (sleeps, 20_000),
    "queue ping-pong": (queue, 100_000),
    "wait_for": (wait_for, 30_000),
    "call_soon_threadsafe": (threadsafe, 50_000),
}


def loop_factory(name):
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    return __import__(name).new_event_loop


def measure(name):
    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        took = {}
        for what, (operation, n) in OPERATIONS.items():
            runner.run(operation(n // 10))
            begin = time.process_time_ns()
            runner.run(operation(n))
            took[what] = (time.process_time_ns() - begin) / n
        json.dump(took, sys.stdout)


def show(found, rounds):
    print(f"Python {sys.version.split()[0]}, ns per operation, median of "
          f"{rounds}")
    print(f"{'':24}" + "".join(f"{name:>10}" for name in found)
          + f"{'x uvloop':>10}")
    for what in OPERATIONS:
        ns = {name: statistics.median(run[what] for run in runs)
              for name, runs in found.items()}
        ratio = (f"{ns['uvloop'] / ns['kolk']:10.2f}"
                 if "uvloop" in ns and "kolk" in ns else "")
        print(f"{what:24}" + "".join(f"{value:10.0f}"
                                     for value in ns.values()) + ratio)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loops", default="asyncio,uvloop,kolk")
    parser.add_argument("--measure")
    options = parser.parse_args()
    if options.measure:
        return measure(options.measure)

    found = {}
    for _ in range(options.rounds):
        for name in options.loops.split(","):
            done = subprocess.run(
                [sys.executable, __file__, "--measure", name],
                capture_output=True, text=True)
            if done.returncode == 0:
                found.setdefault(name, []).append(json.loads(done.stdout))
            else:
                sys.stderr.write(done.stderr[-500:])
    show(found, options.rounds)


if __name__ == "__main__":
    main()
