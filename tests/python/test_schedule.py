"""call_soon, call_later, call_at: order, times, cancelling."""

import asyncio
import contextvars
import gc
import threading
import time
import weakref

import pytest

from conftest import spin


def test_calls_run_in_order_and_in_the_next_turn(loop):
    ran = []

    def first():
        ran.append("first")
        loop.call_soon(ran.append, "later")

    loop.call_soon(first)
    loop.call_soon(ran.append, "second")
    spin(loop)
    assert ran == ["first", "second"]
    spin(loop)
    assert ran == ["first", "second", "later"]


def test_arguments_by_any_count(loop):
    got = []
    for count in range(5):
        loop.call_soon(lambda *args: got.append(args), *range(count))
    spin(loop)
    assert got == [(), (0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)]


def test_callback_by_keyword(loop):
    ran = []
    loop.call_soon(callback=lambda: ran.append(1), context=None)
    loop.call_later(delay=0, callback=lambda: ran.append(2))
    loop.call_at(when=loop.time(), callback=lambda: ran.append(3))
    spin(loop, 2)
    assert sorted(ran) == [1, 2, 3]


@pytest.mark.parametrize("call", [
    lambda loop: loop.call_soon(),
    lambda loop: loop.call_later(1),
    lambda loop: loop.call_at(),
    lambda loop: loop.call_soon(print, wrong=1),
    lambda loop: loop.call_soon_threadsafe(wrong=1),
    lambda loop: loop.call_later(None, print),
    lambda loop: loop.call_at(None, print),
    lambda loop: loop.call_later("1", print),
])
def test_wrong_arguments_are_type_errors(loop, call):
    with pytest.raises(TypeError):
        call(loop)


def test_a_cancelled_call_does_not_run(loop):
    ran = []
    drop = loop.call_soon(ran.append, "drop")
    loop.call_soon(ran.append, "keep")
    drop.cancel()
    drop.cancel()
    spin(loop)
    assert ran == ["keep"]
    assert drop.cancelled()


def test_a_callback_may_cancel_itself_and_its_neighbour(loop):
    ran = []
    handles = []

    def first():
        ran.append("first")
        for handle in handles:
            handle.cancel()

    handles.append(loop.call_soon(first))
    handles.append(loop.call_soon(ran.append, "second"))
    spin(loop)
    assert ran == ["first"]


def test_timers_run_in_order_of_their_deadlines_and_never_early(loop):
    ran = []
    begin = loop.time()
    for name, delay in (("c", 0.003), ("a", 0.001), ("b", 0.002)):
        handle = loop.call_later(delay, lambda name=name: ran.append(
            (name, loop.time())))
        assert handle.when() >= begin + delay
    loop.call_later(0.005, loop.stop)
    loop.run_forever()
    assert [name for name, _ in ran] == ["a", "b", "c"]
    for (_, when), delay in zip(ran, (0.001, 0.002, 0.003)):
        assert when >= begin + delay


def test_the_clock_shows_the_deadline_in_each_callback(loop):
    late = []
    for i in range(50):
        when = loop.time() + i * 0.0001
        loop.call_at(when, lambda when=when: late.append(
            loop.time() - when))
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert len(late) == 50
    assert min(late) >= 0


def test_equal_deadlines_run_in_the_order_of_their_starts(kolk_loop):
    ran = []
    when = kolk_loop.time() + 0.001
    for i in range(20):
        kolk_loop.call_at(when, ran.append, i)
    kolk_loop.call_later(0.005, kolk_loop.stop)
    kolk_loop.run_forever()
    assert ran == list(range(20))


@pytest.mark.parametrize("delay", [0, -1, -1e30, 0.0, 1e-12, float("nan")])
def test_odd_delays_that_are_due_at_once(loop, delay):
    ran = []
    loop.call_later(delay, ran.append, 1)
    spin(loop, 2)
    assert ran == [1]


@pytest.mark.parametrize("delay", [1e10, 1e300, float("inf"), 10 ** 400])
def test_odd_delays_that_never_come(kolk_loop, delay):
    handle = kolk_loop.call_later(delay, pytest.fail)
    kolk_loop.call_later(0.001, kolk_loop.stop)
    kolk_loop.run_forever()
    handle.cancel()


def test_a_cancelled_timer_lets_its_callback_go(loop):
    class Thing:
        def method(self):
            pytest.fail("cancelled")

    thing = Thing()
    gone = weakref.ref(thing)
    handle = loop.call_later(1000, thing.method)
    handle.cancel()
    del thing
    gc.collect()
    assert gone() is None


def test_contexts_are_copied_or_taken(loop):
    variable = contextvars.ContextVar("variable", default="outer")
    got = []
    loop.call_soon(lambda: (got.append(variable.get()), variable.set("x")))
    other = contextvars.copy_context()
    other.run(variable.set, "given")
    loop.call_soon(lambda: got.append(variable.get()), context=other)
    variable.set("changed")
    loop.call_soon(lambda: got.append(variable.get()))
    spin(loop)
    assert got == ["outer", "given", "changed"]
    assert variable.get() == "changed"


def test_threadsafe_calls_keep_their_order_and_wake_the_loop(loop):
    ran = []

    def others():
        for i in range(1000):
            loop.call_soon_threadsafe(ran.append, i)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=others)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert ran == list(range(1000))


def test_plain_calls_of_another_thread_corrupt_nothing(kolk_loop):
    loop = kolk_loop  # asyncio's own heap of timers does not survive this
    ran = []

    def others():
        for i in range(1000):
            loop.call_soon(ran.append, i)
            loop.call_later(0, ran.append, i)
        loop.call_soon_threadsafe(loop.call_later, 0.05, loop.stop)

    threads = [threading.Thread(target=others) for _ in range(2)]
    for thread in threads:
        loop.call_soon(thread.start)
    keep = loop.call_later(1000, print)
    begin = time.monotonic()
    loop.run_forever()
    for thread in threads:
        thread.join()
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    keep.cancel()
    assert len(ran) == 4000
    assert time.monotonic() - begin < 20


def test_a_handle_looks_as_asyncios(loop):
    def callback(a, b):
        pass

    soon = loop.call_soon(callback, 1, "b")
    later = loop.call_later(1000, callback, 1, "b")
    assert isinstance(soon, asyncio.Handle)
    assert isinstance(later, asyncio.TimerHandle)
    assert "callback" in repr(soon) and repr(soon).startswith("<Handle ")
    assert repr(later).startswith("<TimerHandle when=")
    assert soon._callback is callback and soon._args == (1, "b")
    assert isinstance(soon.get_context(), contextvars.Context) if hasattr(
        soon, "get_context") else True
    later.cancel()
    assert later._callback is None and later._args is None
    assert "cancelled" in repr(later)
    assert hash(later) == hash(later.when())
    spin(loop)


def test_handles_cannot_be_made_by_hand():
    import kolk
    for kind in (kolk.Handle, kolk.TimerHandle):
        with pytest.raises(TypeError):
            kind()


def test_a_handle_in_a_cycle_is_collected(loop):
    class Thing:
        pass

    def run():
        thing = Thing()
        thing.handle = loop.call_soon(lambda: thing)
        return weakref.ref(thing)

    gone = run()
    spin(loop)
    gc.collect()
    assert gone() is None


def test_an_abandoned_loop_is_collected_with_what_it_has(kolk_loop):
    import kolk

    class Thing:
        def method(self):
            pass

    def run():
        loop = kolk.Loop()
        thing = Thing()
        thing.loop = loop
        loop.call_soon(thing.method)
        loop.call_later(1000, thing.method)
        return weakref.ref(thing)

    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        gone = run()
        gc.collect()
    assert gone() is None


def test_a_closed_loop_refuses(loop):
    handle = loop.call_later(1000, print)
    loop.close()
    loop.close()
    handle.cancel()
    for call in (lambda: loop.call_soon(print),
                 lambda: loop.call_later(1, print),
                 lambda: loop.call_at(1, print),
                 lambda: loop.call_soon_threadsafe(print),
                 loop.run_forever,
                 lambda: loop.add_reader(0, print),
                 lambda: loop.run_in_executor(None, print)):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()
    assert loop.is_closed() and not loop.is_running()
