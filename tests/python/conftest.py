"""Every test runs on asyncio's own loop and on kolk's, on both backends."""

import asyncio
import gc
import sys
import warnings

import pytest

import kolk

LOOPS = {
    "asyncio": asyncio.SelectorEventLoop,
    "epoll": lambda: kolk.Loop(backend="epoll"),
    "io_uring": lambda: kolk.Loop(backend="io_uring"),
}


@pytest.fixture(params=LOOPS)
def loop(request):
    """A loop; asyncio's is the one to compare with."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        loop = LOOPS[request.param]()
        yield loop
        if not loop.is_closed():
            loop.close()
        del loop
        gc.collect()


@pytest.fixture
def pausing_loop(loop):
    """The same; early releases of 3.11 do not pause as later ones do."""
    if not isinstance(loop, kolk.Loop) and sys.version_info < (3, 11, 7):
        pytest.skip("asyncio's own reads on, or cannot say, in this release")
    return loop


@pytest.fixture(params=["epoll", "io_uring"])
def kolk_loop(request):
    """A loop of kolk's, for what asyncio's does not have."""
    loop = LOOPS[request.param]()
    yield loop
    if not loop.is_closed():
        loop.close()


@pytest.fixture
def errors(request):
    """What the loop reports; the test clears what it expects."""
    loop = request.getfixturevalue(
        "loop" if "loop" in request.fixturenames else "kolk_loop")
    found = []
    loop.set_exception_handler(lambda _, context: found.append(context))
    yield found
    assert not found, found


def spin(loop, turns=1):
    """Runs so many turns."""
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()
