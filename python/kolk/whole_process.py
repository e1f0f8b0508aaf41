"""Making kolk the loop of a whole process, and undoing it."""

import asyncio
import sys
import warnings
from asyncio import events

from kolk.loop import new_event_loop

_before = None  # what uninstall() puts back; None while not installed

if sys.version_info < (3, 16):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        _PolicyBase = asyncio.DefaultEventLoopPolicy

    class EventLoopPolicy(_PolicyBase):
        """An event loop policy whose loops are kolk's."""

        def _loop_factory(self):
            return new_event_loop()

    def _get():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return asyncio.get_event_loop_policy()

    def _set(policy):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_event_loop_policy(policy)

    def _new():
        return EventLoopPolicy()

else:
    def _get():
        return events.new_event_loop

    def _set(factory):
        events.new_event_loop = factory
        asyncio.new_event_loop = factory

    def _new():
        return new_event_loop


def install():
    """Let asyncio.run(), new_event_loop() and the like make kolk's loops."""
    global _before
    if _before is None:
        _before = _get()
        _set(_new())


def uninstall():
    """Undo install()."""
    global _before
    if _before is not None:
        _set(_before)
        _before = None


def run(main, *, debug=None):
    """asyncio.run() on a kolk loop."""
    if events._get_running_loop() is not None:
        raise RuntimeError(
            "kolk.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
