"""asyncio.all_tasks() before 3.14: it walks a weak set, a global of its own.

A view over that set and over kolk's own list takes the set's place, once, when
the first task of kolk's is made.
"""

from asyncio import tasks

from kolk import _kolk

_NAME = "_all_tasks" if hasattr(tasks, "_all_tasks") else "_scheduled_tasks"


class _Tasks:
    """asyncio's set, and kolk's tasks besides."""

    def __init__(self, others):
        self._others = others
        self.add = others.add
        self.discard = others.discard

    def __iter__(self):
        yield from list(self._others)
        yield from _kolk.tasks()

    def __contains__(self, task):
        return task in self._others or task in _kolk.tasks()

    def __len__(self):
        return len(self._others) + len(_kolk.tasks())


def show():
    """Let asyncio.all_tasks() see kolk's tasks."""
    others = getattr(tasks, _NAME)
    if not isinstance(others, _Tasks):
        setattr(tasks, _NAME, _Tasks(others))
