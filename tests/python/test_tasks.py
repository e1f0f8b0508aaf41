"""Tasks and futures: what CPython's own tests do not look at."""

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import threading
import types
import weakref

import pytest

import kolk
from conftest import spin


async def child(value=None):
    await asyncio.sleep(0)
    return value


def run(loop, coroutine):
    return loop.run_until_complete(coroutine)


def test_tasks_and_futures_are_asyncios_and_ours(kolk_loop):
    async def main():
        task = asyncio.create_task(child())
        assert type(task) is kolk.Task and isinstance(task, asyncio.Task)
        assert isinstance(task, kolk.Future)
        assert type(kolk_loop.create_future()) is kolk.Future
        assert asyncio.current_task() in asyncio.all_tasks()
        assert task in asyncio.all_tasks()
        await task
        assert task not in asyncio.all_tasks()

    run(kolk_loop, main())
    assert asyncio.all_tasks(kolk_loop) == set()


def test_the_order_of_steps_is_asyncios(loop):
    """A wake-up takes a turn, and what came first goes first."""
    trace = []

    async def waits(name, future):
        trace.append((name, "waits"))
        trace.append((name, await future))
        await asyncio.sleep(0)
        trace.append((name, "again"))

    async def main():
        futures = [loop.create_future() for _ in range(2)]
        tasks = [loop.create_task(waits(i, futures[i % 2])) for i in range(4)]
        await asyncio.sleep(0)
        for turn, future in enumerate(futures):
            future.add_done_callback(lambda f: trace.append("callback"))
            loop.call_soon(trace.append, ("before", turn))
            future.set_result(turn)
            loop.call_soon(trace.append, ("after", turn))
        await asyncio.gather(*tasks)

    run(loop, main())
    assert trace == [
        (0, "waits"), (1, "waits"), (2, "waits"), (3, "waits"),
        ("before", 0), (0, 0), (2, 0), "callback", ("after", 0),
        ("before", 1), (1, 1), (3, 1), "callback", ("after", 1),
        (0, "again"), (2, "again"), (1, "again"), (3, "again")]


@pytest.mark.parametrize("of", ["ours", "asyncio", "python"])
def test_ours_waits_for_any_future(kolk_loop, of):
    kind = {"ours": kolk.Future, "asyncio": asyncio.Future,
            "python": asyncio.futures._PyFuture}[of]

    async def main():
        future = kind(loop=kolk_loop)
        kolk_loop.call_soon(future.set_result, "result")
        assert await future == "result"
        future = kind(loop=kolk_loop)
        kolk_loop.call_soon(future.set_exception, ValueError("wrong"))
        with pytest.raises(ValueError, match="wrong"):
            await future
        future = kind(loop=kolk_loop)
        kolk_loop.call_soon(future.cancel)
        with pytest.raises(asyncio.CancelledError):
            await future

    run(kolk_loop, main())


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("of", ["ours", "asyncio", "python"])
def test_any_task_waits_for_ours(kolk_loop, of, debug):
    kind = {"ours": kolk.Task, "asyncio": asyncio.Task,
            "python": asyncio.tasks._PyTask}[of]
    kolk_loop.set_debug(debug)

    async def main():
        # Made without a loop it is driven by asyncio's code, and ours waits.
        assert await kind(child("other")) == "other"
        assert await kolk_loop.create_task(child("task")) == "task"
        future = kolk_loop.create_future()
        kolk_loop.call_soon(future.set_result, "future")
        return await future

    task = kind(main(), loop=kolk_loop)
    assert run(kolk_loop, task) == "future"


def test_asyncios_methods_work_on_ours_unbound(kolk_loop):
    async def main():
        for finish, expected in (
                (lambda f: asyncio.Future.set_result(f, 1), 1),
                (lambda f: asyncio.Future.cancel(f), asyncio.CancelledError)):
            future = kolk_loop.create_future()
            kolk_loop.call_soon(finish, future)
            try:
                assert await future == expected
            except asyncio.CancelledError:
                assert expected is asyncio.CancelledError

    run(kolk_loop, main())


def test_a_task_on_another_loop_is_driven_by_asyncio():
    async def main():
        return await kolk.Task(child("value"),
                               loop=asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(main()) == "value"


def test_cancel_and_result_in_one_turn_in_every_order(loop):
    async def waits(future):
        try:
            return await future
        except asyncio.CancelledError:
            return "cancelled"

    async def main():
        outcomes = []
        for first, second in (("result", "cancel"), ("cancel", "result")):
            future = loop.create_future()
            task = loop.create_task(waits(future))
            await asyncio.sleep(0)
            for what in (first, second):
                if what == "cancel":
                    task.cancel()
                elif not future.done():
                    future.set_result("result")
            outcomes.append(await task)
        return outcomes

    assert run(loop, main()) == ["cancelled", "cancelled"]


def test_a_cancelled_task_has_its_message(loop):
    async def main():
        task = loop.create_task(asyncio.sleep(1000))
        await asyncio.sleep(0)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert task.cancelled() and task.cancelling() == 1

    run(loop, main())


def test_bad_yields_are_told_to_the_task(loop):
    @types.coroutine
    def bad(value):
        yield value

    async def main():
        for value, message in ((1, "Task got bad yield: 1"),
                               ((x for x in "a"), "yield was used instead"),
                               (loop.create_future(),
                                "yield was used instead of yield from in")):
            with pytest.raises(RuntimeError, match=message):
                await bad(value)
        other = asyncio.SelectorEventLoop()
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            await other.create_future()
        other.close()

    run(loop, main())


def test_a_task_cannot_await_itself(loop):
    async def main():
        with pytest.raises(RuntimeError, match="cannot await on itself"):
            await asyncio.current_task()

    run(loop, main())


@pytest.mark.parametrize("wrong", [None, 1, "x", object()])
def test_what_is_no_coroutine_is_refused(loop, wrong):
    with pytest.raises(TypeError, match="a coroutine was expected"):
        loop.create_task(wrong)


def test_contexts_of_tasks(loop):
    variable = contextvars.ContextVar("variable", default=0)

    async def sets(value):
        variable.set(value)
        await asyncio.sleep(0)
        return variable.get()

    async def main():
        assert await asyncio.gather(*[sets(i) for i in range(5)]) == [
            0, 1, 2, 3, 4]
        assert variable.get() == 0
        context = contextvars.copy_context()
        await loop.create_task(sets("mine"), context=context)
        assert context[variable] == "mine"

    run(loop, main())


def test_names(loop):
    async def main():
        named = loop.create_task(child(), name="named")
        assert named.get_name() == "named" and "named" in repr(named)
        number = loop.create_task(child(), name=5)
        assert number.get_name() == "5"
        unnamed = loop.create_task(child())
        assert unnamed.get_name().startswith("Task-")
        assert unnamed.get_name() == unnamed.get_name()
        unnamed.set_name("new")
        assert unnamed.get_name() == "new"
        await asyncio.gather(named, number, unnamed)

    run(loop, main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.12 and later")
@pytest.mark.parametrize("of", [asyncio, kolk])
def test_eager_tasks(loop, of):
    loop.set_task_factory(of.eager_task_factory)
    assert loop.get_task_factory() is of.eager_task_factory

    async def at_once():
        return asyncio.current_task()

    async def main():
        me = asyncio.current_task()
        task = asyncio.create_task(at_once())
        assert task.done() and task.result() is task
        assert asyncio.current_task() is me
        assert await asyncio.create_task(child(1)) == 1
        with pytest.raises(ValueError, match="at once"):
            await asyncio.create_task(fails())
        seen = []
        loop.call_soon(lambda: seen.append(asyncio.create_task(at_once())))
        loop.call_soon(lambda: seen.append(asyncio.current_task()))
        await asyncio.sleep(0)
        assert seen[0].result() is seen[0] and seen[1] is None
        assert asyncio.create_task(at_once(), name="named").get_name() == (
            "named")

    async def fails():
        raise ValueError("at once")

    run(loop, main())


def test_an_abandoned_task_is_reported_and_collected(loop, errors):
    async def waits():
        await loop.create_future()

    async def main():
        task = loop.create_task(waits())
        await asyncio.sleep(0)
        return weakref.ref(task)

    gone = run(loop, main())
    gc.collect()
    assert [e["message"] for e in errors] == [
        "Task was destroyed but it is pending!"]
    errors.clear()
    gc.collect()
    assert gone() is None and asyncio.all_tasks(loop) == set()


def test_unread_exceptions_are_reported(loop, errors):
    async def fails():
        raise ValueError("unread")

    run(loop, asyncio.wait([loop.create_task(fails())]))
    gc.collect()
    assert [e["message"] for e in errors] == [
        "Task exception was never retrieved"]
    errors.clear()


def test_futures_and_tasks_survive_misuse(kolk_loop):
    future = kolk.Future.__new__(kolk.Future)
    for call in (lambda: future.set_result(1), lambda: future.result(),
                 lambda: future.add_done_callback(print),
                 lambda: future._callbacks):
        with pytest.raises((RuntimeError, asyncio.InvalidStateError)):
            call()
    task = kolk.Task.__new__(kolk.Task)
    del call, future, task
    done = kolk_loop.create_future()
    done.set_result(1)
    with pytest.raises(asyncio.InvalidStateError, match="invalid state"):
        done.set_result(2)
    with pytest.raises(TypeError):
        kolk.Task()
    gc.collect()


@pytest.mark.skipif(kolk.Task is asyncio.Task, reason="asyncio's may crash")
@pytest.mark.parametrize("is_running", [False, True])
def test_a_task_is_made_a_second_time(kolk_loop, is_running):
    first, second = child(1), child(2)

    async def runs():
        again.__init__(second, loop=kolk_loop)

    again = kolk_loop.create_task(runs() if is_running else first)
    if is_running:
        kolk_loop.set_exception_handler(lambda loop, context: None)
        spin(kolk_loop, 5)
    elif sys.version_info >= (3, 15):
        with pytest.raises(RuntimeError, match="already initialized"):
            again.__init__(second, loop=kolk_loop)
        assert run(kolk_loop, again) == 1
    else:
        again.__init__(second, loop=kolk_loop)
        assert run(kolk_loop, again) == 2
    first.close()
    second.close()
    del again
    gc.collect()


def test_a_future_is_no_coroutine_and_iterates_as_asyncios(loop):
    future = loop.create_future()
    assert not asyncio.iscoroutine(future) and asyncio.isfuture(future)
    for name in ("send", "throw", "close"):
        assert not hasattr(future, name)
    iterator = iter(future)
    assert next(iterator) is future
    assert future._asyncio_future_blocking
    future.set_result(7)
    with pytest.raises(StopIteration) as stop:
        next(iterator)
    assert stop.value.value == 7


def test_many_tasks_come_and_go(kolk_loop):
    async def main():
        for _ in range(20):
            await asyncio.gather(*[child(i) for i in range(500)])

    run(kolk_loop, main())
    gc.collect()
    before = len(gc.get_objects())
    run(kolk_loop, main())
    gc.collect()
    assert len(gc.get_objects()) < before + 100


def test_results_from_another_thread(loop):
    async def main():
        future = loop.create_future()
        thread = threading.Thread(
            target=loop.call_soon_threadsafe,
            args=(future.set_result, "threaded"))
        thread.start()
        result = await future
        thread.join()
        return result

    assert run(loop, main()) == "threaded"


def test_keyboard_interrupt_in_a_task_ends_the_run(loop):
    async def interrupts():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(loop, interrupts())
    assert not loop.is_running()
    spin(loop)


def _program(code, **environment):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True,
                          text=True, timeout=60,
                          env=dict(os.environ, **environment))
    assert done.returncode == 0, done.stderr


def test_a_program_without_internals_gets_asyncios_tasks():
    _program("import asyncio, kolk\n"
             "async def main():\n"
             "    return type(asyncio.current_task())\n"
             "assert kolk.run(main()) is asyncio.Task is kolk.Task\n",
             KOLK_INTERNALS="0")


def test_kolk_can_be_imported_while_a_loop_runs():
    _program("import asyncio\n"
             "async def main():\n"
             "    import kolk\n"
             "    assert kolk.Task is not asyncio.Task\n"
             "    assert len(asyncio.all_tasks()) == 1\n"
             "asyncio.run(main())\n", KOLK_INTERNALS="1")


def test_tasks_of_loops_in_several_threads_are_seen_each_in_its_own():
    ready = threading.Barrier(3)
    seen = {}

    async def main(name):
        tasks = [asyncio.create_task(asyncio.sleep(1000), name=f"{name}{i}")
                 for i in range(3)]
        for _ in range(10):
            await asyncio.create_task(child())
        ready.wait(30)
        seen[name] = {task.get_name() for task in asyncio.all_tasks()
                      if task is not asyncio.current_task()}
        ready.wait(30)
        for task in tasks:
            task.cancel()

    threads = [threading.Thread(target=kolk.run, args=(main(name),))
               for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {name: {f"{name}{i}" for i in range(3)} for name in "abc"}


def test_the_module_goes_after_what_is_its():
    """Loops, tasks and futures in cycles with all of kolk, at the end and
    before: nothing is left that looks for a module that is gone."""
    _program("import asyncio, gc, sys\n"
             "import kolk\n"
             "def cycle():\n"
             "    loop = kolk.Loop()\n"
             "    async def waits():\n"
             "        await future\n"
             "    future = loop.create_future()\n"
             "    task = loop.create_task(waits())\n"
             "    other = kolk.Task(waits(), loop=stock)\n"
             "    loop.set_exception_handler(lambda *_: None)\n"
             "    handle = loop.call_later(1000, print)\n"
             "    loop.call_soon(loop.stop)\n"
             "    loop.run_forever()\n"
             "    loop.everything = [loop, task, other, handle, future]\n"
             "    kolk._kolk.everything = loop.everything\n"
             "    kolk.Task.everything = loop.everything\n"
             "stock = asyncio.SelectorEventLoop()\n"
             "stock.set_exception_handler(lambda *_: None)\n"
             "for _ in range(3):\n"
             "    cycle()\n"
             "for name in [n for n in sys.modules if n.startswith('kolk')]:\n"
             "    del sys.modules[name]\n"
             "del kolk\n"
             "gc.collect()\n"
             "gc.collect()\n", KOLK_INTERNALS="1")


def test_await_raises_as_asyncios_future_does(loop):
    async def main():
        done = loop.create_future()
        done.set_result((1, 2))
        assert await done == (1, 2) == await done
        done = loop.create_future()
        done.set_result(StopIteration(3))
        assert (await done).value == 3
        failed = loop.create_future()
        failed.set_exception(ValueError("wrong"))
        try:
            raise KeyError("first")
        except KeyError as first:
            with pytest.raises(ValueError) as raised:
                await failed
            assert raised.value.__context__ is first
        cancelled = loop.create_future()
        cancelled.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await cancelled

    run(loop, main())


def test_throw_and_close_reach_a_coroutine_that_awaits(loop):
    seen = []

    async def waits(future):
        try:
            await future
        except ValueError as error:
            seen.append(error)
        finally:
            seen.append("finally")

    for end in (lambda coro: coro.throw(ValueError("thrown")),
                lambda coro: coro.close()):
        coro = waits(loop.create_future())
        coro.send(None)
        try:
            end(coro)
        except StopIteration:
            pass
    assert [str(what) for what in seen] == ["thrown", "finally", "finally"]


def test_subclasses_in_python_are_awaited(kolk_loop):
    class Future(kolk.Future):
        pass

    class Task(kolk.Task):
        pass

    class Awaited(kolk.Future):
        def __await__(self):
            yield from super().__await__()
            return "mine"

    async def main():
        for kind, expected in ((Future, "result"), (Awaited, "mine")):
            future = kind(loop=kolk_loop)
            kolk_loop.call_soon(future.set_result, "result")
            assert await future == expected
        assert await Task(child("task"), loop=kolk_loop) == "task"

    assert not hasattr(kolk.Future, "__next__")
    assert not hasattr(kolk.Task, "__next__")
    run(kolk_loop, main())


def test_no_task_is_current_between_steps(loop):
    seen = []

    class Result:
        def __del__(self):
            seen.append(asyncio.current_task(loop))

    async def returns():
        return Result()

    async def main():
        for _ in range(3):
            loop.call_soon(lambda: seen.append(asyncio.current_task(loop)))
            await asyncio.sleep(0)
        task = asyncio.tasks.__dict__["_PyTask"](child(1), loop=loop)
        loop.create_task(returns())
        assert await task == 1

    run(loop, main())
    assert seen == [None] * 4
    assert loop not in getattr(asyncio.tasks, "_current_tasks", {})
