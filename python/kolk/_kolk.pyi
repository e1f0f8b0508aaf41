import asyncio
from typing import TypeVar, final

from typing_extensions import disjoint_base

_T = TypeVar("_T")

__version__: str

@final
class Handle(asyncio.Handle): ...

@final
class TimerHandle(asyncio.TimerHandle): ...

class Future(asyncio.Future[_T]): ...

@disjoint_base
class Task(asyncio.Task[_T]): ...
