"""Puts kolk where CPython's tests of asyncio look for asyncio's own."""

import asyncio
from asyncio import futures, tasks, unix_events

import kolk


class EventLoop(kolk.Loop):
    """Takes a selector, as asyncio's does, and has no use for it."""

    def __init__(self, selector=None):
        super().__init__()


class TimeLoop(kolk.Loop):
    """The tests' loop whose time they move: a kolk loop underneath.

    As theirs, it asks its generator, after each turn, how far the time goes
    for each timer that was started in it.
    """

    def __init__(self, gen=None):
        super().__init__()
        self._check_on_close = gen is not None
        self._gen = gen() if gen is not None else self._no_timers()
        next(self._gen)
        self._time = 0
        self._timers = []
        self._ends = False

    @staticmethod
    def _no_timers():
        yield

    def time(self):
        return self._time

    def advance_time(self, advance):
        if advance:
            self._time += advance

    def call_at(self, when, callback, *args, context=None):
        self._timers.append(when)
        return super().call_at(when, callback, *args, context=context)

    def stop(self):
        self._ends = True

    def _run_once(self):
        self._turn()

    def _run(self):
        while True:
            self._run_once()
            for when in self._timers:
                self.advance_time(self._gen.send(when))
            self._timers = []
            if self._ends:
                self._ends = False
                return

    def close(self):
        super().close()
        if self._check_on_close:
            try:
                self._gen.send(0)
            except StopIteration:
                pass
            else:
                raise AssertionError("Time generator is not finished")


def install(way):
    kolk.install()
    for module in (asyncio, unix_events):
        for name in ("SelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, EventLoop)
    tasks._CTask = getattr(kolk, "Task", tasks._CTask)
    futures._CFuture = getattr(kolk, "Future", futures._CFuture)
    if way == "time":
        from test.test_asyncio import utils
        utils.TestLoop = TimeLoop
