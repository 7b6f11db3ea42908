"""What one of many nodes has at hand of a resource, and how it comes by the rest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from etagere.core.canonical import model_key
from etagere.core.clients import Asker
from etagere.core.lifecycle import Run
from etagere.core.representation import Failure, Ghost, Representation, Resource
from etagere.errors import Evicted, StorageFull
from etagere.flights import Flights
from etagere.logs import get_logger
from etagere.ports import Cache, Fetched, Holdings, Purged, Variants

log = get_logger("etagere.presence")


class Shared(Protocol):
    """Where many machines share what is finished."""

    async def fetch(self, id: str, directory: Path | None) -> Fetched:
        """What there is; what is large comes as a file in a directory that is there, or stays where it is."""
        ...


class MirroredTable(Protocol):
    """A run table that is somewhere else, and mirrored here."""

    @property
    def fresh(self) -> bool:
        """Whether all that is pending is known."""
        ...

    def get(self, id: str) -> Run | None:
        """See `RunTable.get`."""
        ...

    async def look(self, id: str) -> None:
        """Ask for a run, which `get` knows then."""
        ...

    async def submit_unless_finished(self, resource: Resource, asker: Asker) -> Run | None:
        """See `Presence.submit`."""
        ...


class Local(Cache, Variants, Protocol):
    """The cache of this node."""

    async def remember(self, ghost: Ghost, model: str) -> None:
        """Keep what is known of a resource that has nothing here."""
        ...

    def know(self, found: Representation) -> None:
        """There is this result, elsewhere."""
        ...

    def bringing(self) -> AbstractAsyncContextManager[None]:
        """See `AwayCache.bringing`."""
        ...


class Copies(Protocol):
    """What a node has of its own of what all share."""

    async def forget(self, model: str | None, before: float) -> None:
        """This was purged; see `Holdings.purge`."""
        ...


class NodeHoldings:
    """The `Holdings` of a node: those that all share. What it purges it does not serve for a moment longer itself."""

    def __init__(self, shared: Holdings, copies: Copies) -> None:
        self._shared = shared
        self._copies = copies

    async def totals(self) -> tuple[int, int]:
        """See `Holdings.totals`."""
        return await self._shared.totals()

    async def purge(self, model: str | None, before: float) -> Purged:
        """See `Holdings.purge`; other nodes hear of it."""
        purged = await self._shared.purge(model, before)
        await self._copies.forget(model, before)
        return purged


class NodePresence:
    """The `Presence` of a node: the mirror of the run table, and a cache of its own in front of the shared one.

    Large results come by way of `directory`, which is emptied; or, where they are to stay `away`, when something is
    made of them.
    """

    def __init__(self, runs: MirroredTable, cache: Local, shared: Shared, directory: Path, *, away: bool) -> None:
        self._away = away
        self._runs = runs
        self._cache = cache
        self._shared = shared
        self._directory = directory.absolute()
        self._loading: Flights[str, None] = Flights()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(0o700, parents=True)

    def knows(self, id: str) -> bool:
        """See `Presence.knows`. What is ready stays so, whether the store can be reached or not."""
        if self._runs.get(id) is not None:
            return True
        found = self._cache.get(id)
        return found is not None if self._runs.fresh else isinstance(found, Representation)

    async def load(self, id: str) -> None:
        """See `Presence.load`; all who ask meanwhile wait for the same."""
        await self._loading.join(id, lambda: self._load(id))

    async def submit(self, resource: Resource, asker: Asker) -> Run | None:
        """See `Presence.submit`."""
        return await self._runs.submit_unless_finished(resource, asker)

    async def _load(self, id: str) -> None:
        if not self._runs.fresh:
            await self._runs.look(id)
            if self._runs.get(id) is not None:
                return
        await self._fetch(id, None if self._away else self._directory)

    async def bring(self, id: str) -> Representation | None:
        """Have a large result here."""
        await self._fetch(id, self._directory)
        found = self._cache.get(id)
        return found if isinstance(found, Representation) and not found.away else None

    async def _fetch(self, id: str, directory: Path | None) -> None:
        async with self._cache.bringing():
            await self._take(id, await self._shared.fetch(id, directory))

    async def _take(self, id: str, fetched: Fetched) -> None:
        if fetched.ghost is None:
            return
        ghost, key = fetched.ghost, model_key(fetched.ghost.uri)
        if not isinstance(fetched.found, Failure) and (fetched.found is None or fetched.found.away):
            await self._cache.remember(ghost, key)
        if isinstance(fetched.found, Representation) and fetched.found.away:
            self._cache.know(fetched.found)
        elif fetched.found is not None:
            await self._put(Resource(id, ghost.uri, key), fetched.found, fetched.variants)

    async def _put(
        self, resource: Resource, found: Representation | Failure, variants: Sequence[Representation]
    ) -> None:
        try:
            primary = await self._cache.put(resource, found)
            for variant in variants:
                if isinstance(primary, Representation) and not variant.away:
                    await self._cache.put_variant(primary, replace(variant, derived=True))
        except (StorageFull, Evicted) as full:
            log.warning("a shared result has no room here", id=resource.id, reason=str(full))
            raise
        finally:
            for brought in (found, *variants):
                if isinstance(brought, Representation) and brought.path is not None:
                    brought.path.unlink(missing_ok=True)
