import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from kolk._kolk import Future, Handle, Task, TimerHandle, __version__
from kolk.loop import Loop, new_event_loop

_T = TypeVar("_T")

def install() -> None: ...
def uninstall() -> None: ...
def run(
    main: Coroutine[Any, Any, _T], *, debug: bool | None = None
) -> _T: ...

if sys.version_info >= (3, 12):
    class _EagerTaskFactory(Protocol):
        def __call__(
            self,
            loop: asyncio.AbstractEventLoop,
            coro: Coroutine[Any, Any, _T],
            *args: Any,
            **kwargs: Any,
        ) -> asyncio.Task[_T]: ...

    eager_task_factory: _EagerTaskFactory

if sys.version_info < (3, 16):
    class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
        def _loop_factory(self) -> Loop: ...

__all__ = [
    "Future",
    "Handle",
    "Loop",
    "Task",
    "TimerHandle",
    "install",
    "new_event_loop",
    "run",
    "uninstall",
    "__version__",
]
if sys.version_info >= (3, 12):
    __all__ += ["eager_task_factory"]
if sys.version_info < (3, 16):
    __all__ += ["EventLoopPolicy"]
