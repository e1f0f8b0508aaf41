"""A program that type checkers look at: kolk's types are asyncio's, too."""

import asyncio

import kolk


async def child(number: int) -> str:
    await asyncio.sleep(0)
    return str(number)


async def main() -> list[str]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    loop.call_soon(future.set_result, 1)
    task: asyncio.Task[str] = asyncio.create_task(child(await future))
    return [await task]


def order(handles: list[kolk.Handle]) -> list[kolk.Handle]:
    return handles[::-1]


def on_a_loop_of_its_own() -> None:
    loop = kolk.Loop(backend="io_uring", nested=True)
    name, why = loop.backend
    print(name.upper(), why.upper(), loop.fileno() + 1)
    loop.set_scheduling_hook(order)
    loop.run_until_complete(main())
    loop.close()


found: list[str] = kolk.run(main(), debug=True)
with asyncio.Runner(loop_factory=kolk.new_event_loop) as runner:
    found = runner.run(main())
kolk.install()
kolk.uninstall()
