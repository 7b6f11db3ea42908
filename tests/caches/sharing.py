"""A shared cache for tests: a real store, a real directory, and what the contracts of a cache at hand need besides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.valkey import Store

from etagere.caches.blobstore import BlobStore
from etagere.caches.shared import SharedCache
from etagere.core.representation import INLINE_BYTES, Failure, Ghost, Printed, Representation, Resource
from etagere.ports import Clock, Fetched, Purged
from etagere.valkey import Valkey

TTL_S = 600.0


@asynccontextmanager
async def connected(server: Store, namespace: str = "test") -> AsyncIterator[Valkey]:
    store = Valkey(server.url, namespace)
    await store.open()
    yield store
    await store.close()


class AtHand:
    """A shared cache, and what there was of each resource when something was done with it last."""

    def __init__(self, store: Valkey, clock: Clock, directory: Path, ttl: float = TTL_S) -> None:
        self.store = store
        self.directory = directory
        place = directory / "blobs"
        place.mkdir()
        self.shared = SharedCache(store, BlobStore(place.as_uri()), clock, ttl)
        self.holdings = self
        self._found: dict[str, Fetched] = {}
        self._fetched = directory / "fetched"
        self._fetched.mkdir()

    def get(self, id: str) -> Representation | Failure | None:
        return self._found.get(id, Fetched()).found

    def ghost(self, id: str) -> Ghost | None:
        return self._found.get(id, Fetched()).ghost

    def variant(self, id: str, name: str) -> Representation | None:
        variants = self._found.get(id, Fetched()).variants
        return next((each for each in variants if each.name == name), None)

    async def put(
        self, resource: Resource, finished: Representation | Failure, printed: Printed | None = None
    ) -> Representation | Failure:
        given = self.in_file(finished) if isinstance(finished, Representation) else finished
        kept = await self.shared.put(resource, given, printed)
        await self.look(resource.id)
        return kept

    async def put_variant(self, primary: Representation, given: Representation) -> Representation:
        kept = await self.shared.put_variant(primary, self.in_file(given))
        await self.look(primary.id)
        return kept

    async def discard(self, id: str) -> None:
        """What a store does that has no room."""
        names = [] if "." in id else [n.decode() for n in await self.store.do("SMEMBERS", self.key(f"variants:{id}"))]
        keys = (f"result:{id}", f"failure:{id}", f"variants:{id}", *(f"result:{id}.{name}" for name in names))
        await self.store.do("DEL", *map(self.key, keys))
        await self.look(id.partition(".")[0])

    async def totals(self) -> tuple[int, int]:
        return await self.shared.totals()

    async def purge(self, model: str | None, before: float) -> Purged:
        purged = await self.shared.purge(model, before)
        for id in self._found:
            await self.look(id)
        return purged

    async def look(self, id: str) -> Fetched:
        self._found[id] = found = await self.shared.fetch(id, self._fetched)
        return found

    def key(self, name: str) -> str:
        return self.store.key(name)

    def in_file(self, given: Representation) -> Representation:
        if given.size <= INLINE_BYTES or given.body is None:
            return given
        path = self.directory / given.key
        path.write_bytes(given.body)
        return replace(given, body=None, path=path)

    def blobs(self) -> list[str]:
        return sorted(path.name for path in (self.directory / "blobs").rglob("*") if path.is_file())
