import asyncio
from collections.abc import Callable
from typing import Any, Literal

from kolk._kolk import Handle

# What asyncio's loop of the running version has, kolk's has with the same
# signatures: so its stub is what type checkers are told, although at run time
# only asyncio.AbstractEventLoop is a base.
class Loop(asyncio.SelectorEventLoop):
    def __init__(
        self,
        *,
        backend: Literal["epoll", "io_uring"] | None = None,
        nested: bool = False,
    ) -> None: ...
    @property
    def backend(self) -> tuple[str, str]: ...
    def fileno(self) -> int: ...
    def run_once(self) -> bool: ...
    def set_scheduling_hook(
        self, hook: Callable[[list[Handle]], Any] | None, /
    ) -> None: ...

def new_event_loop() -> Loop: ...
