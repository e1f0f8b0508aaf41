"""kolk: asyncio, in C.

    kolk.run(main())            run a program
    kolk.new_event_loop         a loop factory, for asyncio.Runner and others
    kolk.install()              asyncio.run() and new_event_loop() use kolk
    python -m kolk run FILE     run a program that knows nothing of kolk
    python -m kolk doctor       what runs here, and what does not

Importing kolk changes nothing.
"""

import asyncio as _asyncio

from kolk import _kolk
from kolk import layout as _layout  # decides whether there are tasks in C
from kolk import whole_process as _install
from kolk._kolk import Handle, TimerHandle, __version__
from kolk.loop import Loop, new_event_loop

# Where asyncio's own do not look as they have to, they are what is used.
Future = getattr(_kolk, "Future", _asyncio.Future)
Task = getattr(_kolk, "Task", _asyncio.Task)

install = _install.install
uninstall = _install.uninstall
run = _install.run

__all__ = ["Future", "Handle", "Loop", "Task", "TimerHandle", "install",
           "new_event_loop", "run", "uninstall", "__version__"]

if hasattr(_asyncio, "create_eager_task_factory"):
    eager_task_factory = _asyncio.create_eager_task_factory(Task)
    _kolk.know_eager_task_factory(eager_task_factory)
    __all__.append("eager_task_factory")

if hasattr(_install, "EventLoopPolicy"):
    EventLoopPolicy = _install.EventLoopPolicy
    __all__.append("EventLoopPolicy")
