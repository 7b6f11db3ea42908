"""One computation for all who want the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class Flights(Generic[K, T]):
    """What is under way, by key. A caller who gives up does not end it for the others."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[T]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._tasks

    def current(self, key: K) -> asyncio.Future[T] | None:
        """What is under way, to be awaited; None where nothing is."""
        task = self._tasks.get(key)
        return None if task is None else asyncio.shield(task)

    async def join(self, key: K, begin: Callable[[], Awaitable[T]]) -> T:
        """The same, begun where nothing is under way."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(_run(begin))
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return await asyncio.shield(task)


async def _run(begin: Callable[[], Awaitable[T]]) -> T:
    return await begin()
