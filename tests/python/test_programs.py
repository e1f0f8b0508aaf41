"""Random programs do on kolk what they do on asyncio: the same events, in the
same order, each in the same turn.

A program is a tree of steps that hypothesis makes up and, if it fails, makes
small. Time is the test's: it jumps to the next deadline once nothing is ready.
No two deadlines are equal, since asyncio's order of those is an accident.
"""

import asyncio
import contextvars
import heapq
import os
import selectors
import sys
import threading
from asyncio import events

import pytest

import kolk

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

EXAMPLES = int(os.environ.get("KOLK_EXAMPLES", "150"))


# ---- programs ----

DELAY = st.integers(0, 3)
WHICH = st.integers(0, 1)
TASK = st.integers(0, 5)
LEAVES = st.one_of(
    st.tuples(st.just("turn")),
    st.tuples(st.just("sleep"), DELAY),
    st.tuples(st.just("call_later"), DELAY),
    st.tuples(st.just("call_soon")),
    st.tuples(st.just("put"), WHICH),
    st.tuples(st.just("get"), WHICH),
    st.tuples(st.just("set_event")),
    st.tuples(st.just("wait_event")),
    st.tuples(st.just("set_future"), WHICH),
    st.tuples(st.just("fail_future"), WHICH),
    st.tuples(st.just("await_future"), WHICH),
    st.tuples(st.just("cancel"), TASK),
    st.tuples(st.just("uncancel")),
    st.tuples(st.just("await"), TASK),
    st.tuples(st.just("shield"), TASK),
    st.tuples(st.just("wait"), DELAY),
    st.tuples(st.just("raise")),
)


def _inner(scripts):
    script = st.lists(scripts, max_size=4)
    return st.one_of(
        LEAVES,
        st.tuples(st.just("spawn"), script),
        st.tuples(st.just("try"), script),
        st.tuples(st.just("lock"), WHICH, script),
        st.tuples(st.just("wait_for"), DELAY, script),
        st.tuples(st.just("timeout"), DELAY, script),
        st.tuples(st.just("gather"), st.booleans(),
                  st.lists(script, max_size=3)),
        st.tuples(st.just("group"), st.lists(script, max_size=3)),
    )


PROGRAMS = st.lists(st.recursive(LEAVES, _inner, max_leaves=20), min_size=4,
                    max_size=12)


class OrderedSet(dict):
    """For task groups, which cancel their tasks in the order of a set."""

    def add(self, item):
        self[item] = None

    def discard(self, item):
        self.pop(item, None)


# The number of the task that was spawned last on the way to here.
SPAWNED = contextvars.ContextVar("SPAWNED")


class World:
    """What a program's tasks share, and the trace that they leave."""

    def __init__(self, loop):
        self.loop = loop
        self.now = 0.0
        self.deadlines = []
        self.timers = 0
        self.turns = [[]]
        self.tasks = []
        self.queues = [asyncio.Queue(), asyncio.Queue(1)]
        self.locks = [asyncio.Lock(), asyncio.Semaphore(2)]
        self.event = asyncio.Event()
        self.futures = [loop.create_future() for _ in range(2)]

    def log(self, *what):
        self.turns[-1].append((self.now, *what))

    def delay(self, ticks):
        """A delay whose end nothing else ends at."""
        self.timers += 1
        delay = (ticks + self.timers * 0.6180339887 % 1) / 1024
        heapq.heappush(self.deadlines, self.now + delay)
        return delay

    def spawn(self, name, script):
        number = len(self.tasks)
        self.tasks.append(None)
        context = contextvars.copy_context()
        context.run(SPAWNED.set, number)
        task = self.loop.create_task(self.run(name, script), name=name,
                                     context=context)
        self.tasks[number] = task
        task.add_done_callback(self.ended)
        return task

    def ended(self, task):
        how = ("cancelled" if task.cancelled()
               else type(task.exception()).__name__)
        self.log(task.get_name(), "ended", how, task.cancelling())

    async def run(self, name, script):
        for i, (what, *args) in enumerate(script):
            self.log(name, i, what)
            try:
                result = await getattr(self, "do_" + what)(f"{name}.{i}",
                                                           *args)
            except BaseException as error:
                self.log(name, i, "raised", type(error).__name__, str(error),
                         type(error.__context__).__name__)
                raise
            self.log(name, i, "done", result)
        return name

    # ---- steps ----

    async def do_turn(self, name):
        await asyncio.sleep(0)

    async def do_sleep(self, name, ticks):
        return await asyncio.sleep(self.delay(ticks), "slept")

    async def do_call_later(self, name, ticks):
        self.loop.call_later(self.delay(ticks), self.log, name, "called")

    async def do_call_soon(self, name):
        self.loop.call_soon(self.log, name, "called")

    async def do_put(self, name, which):
        await self.queues[which].put(name)

    async def do_get(self, name, which):
        return await self.queues[which].get()

    async def do_set_event(self, name):
        self.event.set()

    async def do_wait_event(self, name):
        return await self.event.wait()

    async def do_set_future(self, name, which):
        if not self.futures[which].done():
            self.futures[which].set_result(name)

    async def do_fail_future(self, name, which):
        if not self.futures[which].done():
            self.futures[which].set_exception(LookupError(name))

    async def do_await_future(self, name, which):
        future = self.futures[which]
        try:
            return await future
        finally:
            if future.done():
                self.futures[which] = self.loop.create_future()

    async def do_cancel(self, name, which):
        task = self.tasks[which % len(self.tasks)]
        return task is not None and task.cancel(name)

    async def do_uncancel(self, name):
        return asyncio.current_task().uncancel()

    def later_tasks(self):
        """Those that may be waited for: no circle can come of it."""
        return [task for task in self.tasks[SPAWNED.get() + 1:] if task]

    async def do_await(self, name, which):
        for task in self.later_tasks()[which:which + 1]:
            return await task

    async def do_shield(self, name, which):
        for task in self.later_tasks()[which:which + 1]:
            return await asyncio.shield(task)

    async def do_wait(self, name, ticks):
        others = self.later_tasks()
        if others:
            done, pending = await asyncio.wait(
                others, timeout=self.delay(ticks),
                return_when=asyncio.FIRST_COMPLETED)
            return [sorted(t.get_name() for t in part)
                    for part in (done, pending)]

    async def do_raise(self, name):
        raise ValueError(name)

    async def do_spawn(self, name, script):
        self.spawn(name, script)

    async def do_try(self, name, script):
        try:
            return await self.run(name, script)
        except (Exception, asyncio.CancelledError) as error:
            return type(error).__name__

    async def do_lock(self, name, which, script):
        async with self.locks[which]:
            return await self.run(name, script)

    async def do_wait_for(self, name, ticks, script):
        return await asyncio.wait_for(self.run(name, script),
                                      self.delay(ticks))

    async def do_timeout(self, name, ticks, script):
        async with asyncio.timeout(self.delay(ticks)):
            return await self.run(name, script)

    async def do_gather(self, name, return_exceptions, scripts):
        results = await asyncio.gather(
            *[self.run(f"{name}.{i}", script)
              for i, script in enumerate(scripts)],
            return_exceptions=return_exceptions)
        return [str(result) for result in results]

    async def do_group(self, name, scripts):
        async with asyncio.TaskGroup() as group:
            group._tasks = OrderedSet()
            for i, script in enumerate(scripts):
                group.create_task(self.run(f"{name}.{i}", script))


# ---- loops ----

class Selector(selectors.EpollSelector):
    """Never waits: the test moves the time."""

    def select(self, timeout=None):
        return super().select(0)


def new_asyncio():
    loop = asyncio.SelectorEventLoop(Selector())

    def turn():
        loop._run_once()
        return bool(loop._ready)

    return loop, turn


def new_kolk():
    loop = kolk.Loop()
    return loop, loop._turn


def play(new_loop, program, is_eager=False):
    """Runs a program; returns its trace, a list per turn."""
    loop, turn = new_loop()
    loop.set_exception_handler(lambda loop, context: None)
    if is_eager:
        loop.set_task_factory(asyncio.eager_task_factory)
    events._set_running_loop(loop)
    loop._thread_id = threading.get_ident()  # eager tasks start while it runs
    try:
        world = World(loop)
        loop.time = lambda: world.now
        world.spawn("main", program)
        while any(task and not task.done() for task in world.tasks):
            if len(world.turns) > 3000:
                world.log("endless")
                break
            world.turns.append([])
            if turn():
                continue
            if world.deadlines:
                world.now = max(world.now, heapq.heappop(world.deadlines))
            else:
                world.log("stuck")
                for task in filter(None, world.tasks):
                    task.cancel()
        trace = [tuple(events) for events in world.turns if events]
        for _ in range(100):
            for task in asyncio.all_tasks(loop):
                task.cancel()
            turn()
        return trace
    finally:
        events._set_running_loop(None)
        loop._thread_id = None
        loop.close()


SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck))


@SETTINGS
@hypothesis.given(PROGRAMS)
def test_random_programs_leave_the_same_trace(program):
    assert play(new_kolk, program) == play(new_asyncio, program)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.12 and later")
@SETTINGS
@hypothesis.given(PROGRAMS)
def test_random_programs_with_eager_tasks_leave_the_same_trace(program):
    assert play(new_kolk, program, True) == play(new_asyncio, program, True)
