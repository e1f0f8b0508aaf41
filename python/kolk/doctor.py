"""What kolk finds in this interpreter, for people."""

import asyncio
import os
import platform
import sys

from kolk import __version__, layout

# Packages that change asyncio's loop when they are asked to.
_OTHERS = ("uvloop", "rloop", "winloop", "nest_asyncio")


def findings():
    """(what, what was found) pairs."""
    yield "kolk", __version__
    yield "Python", f"{platform.python_version()} ({sys.executable})"
    yield "Linux", f"{platform.release()} {platform.machine()}"
    asked = os.environ.get("KOLK_BACKEND") or "not set"
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        name, why = runner.get_loop().backend
    yield "backend", f"{name} ({why}); KOLK_BACKEND {asked}"
    yield "tasks", (f"asyncio's: {layout.reason}" if layout.reason
                    else "kolk's, in C")
    yield "asyncio.new_event_loop", _kind_of_new_loop()
    for name in _OTHERS:
        if name in sys.modules:
            yield name, "is imported, and may change the loop"


def _new_loop():
    from kolk import new_event_loop
    return new_event_loop()


def _kind_of_new_loop():
    loop = asyncio.new_event_loop()
    try:
        return f"{type(loop).__module__}.{type(loop).__qualname__}"
    finally:
        loop.close()


def main():
    for what, found in findings():
        print(f"{what:24}{found}")
    return 0
