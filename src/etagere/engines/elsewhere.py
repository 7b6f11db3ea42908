"""The engine of a node that runs nothing: workers are somewhere else, and hear of work by the run table itself."""

from __future__ import annotations

from etagere.valkey import Valkey


class Elsewhere:
    """The `ServiceEngine` of an API node."""

    def __init__(self, store: Valkey) -> None:
        self._store = store

    async def start(self) -> None:
        """Nothing is begun here."""

    def wake(self, queue: str, reason: str = "") -> None:
        """Whoever waits for work has heard of it already."""

    async def drain(self, on: bool) -> None:
        """See `ServiceEngine.drain`: of all nodes and workers."""
        await self._store.do("HSET", self._store.key("meta"), "draining", "1" if on else "")

    async def stop(self) -> None:
        """Nothing goes on here."""
