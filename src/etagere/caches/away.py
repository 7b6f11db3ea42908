"""The cache of a node that leaves large results where all share them, until something is to be made of one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from etagere.caches.sqlite import SqliteCache
from etagere.core.representation import Failure, Representation

KNOWN = 10_000

Bring = Callable[[str], Awaitable[Representation | None]]
"""Brings the result of this id here; None where it is not there any more."""


class AwayCache(SqliteCache):
    """A `SqliteCache` that knows of results, without body and path, which are not here; `bring` brings one."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.bring: Bring | None = None
        self._away: OrderedDict[str, Representation] = OrderedDict()
        self._bringing: list[list[tuple[str | None, float]]] = []

    def know(self, found: Representation) -> None:
        """There is this result, elsewhere."""
        self._away[found.id] = found
        if len(self._away) > KNOWN:
            self._away.popitem(last=False)

    async def forget(self, model: str | None, before: float) -> None:
        """This was purged elsewhere; see `Holdings.purge`."""
        self._away.clear()
        for asked in self._bringing:
            asked.append((model, before))
        await self.holdings.purge(model, before)

    @asynccontextmanager
    async def bringing(self) -> AsyncIterator[None]:
        """While something is brought here: what is purged meanwhile may come afterwards, and is forgotten again."""
        purged: list[tuple[str | None, float]] = []
        self._bringing.append(purged)
        try:
            yield
        finally:
            self._bringing = [other for other in self._bringing if other is not purged]
        for model, before in purged:
            await self.holdings.purge(model, before)

    def get(self, id: str) -> Representation | Failure | None:
        """See `Cache.get`; what is elsewhere has neither body nor path."""
        return super().get(id) or self._away.get(id)

    async def stream(
        self, representation: Representation, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        """See `Cache.stream`."""
        async for chunk in super().stream(await self._here(representation), start, stop):
            yield chunk

    async def file(self, representation: Representation) -> Path | None:
        """See `Variants.file`."""
        return await super().file(await self._here(representation))

    async def discard(self, id: str) -> None:
        """See `Cache.discard`."""
        self._away.pop(id, None)
        await super().discard(id)

    async def _here(self, representation: Representation) -> Representation:
        if not representation.away:
            return representation
        assert self.bring is not None
        found = await self.bring(representation.id)
        self._away.pop(representation.id, None)
        if found is None:
            raise FileNotFoundError(f"{representation.id} is not shared any more")
        return found
