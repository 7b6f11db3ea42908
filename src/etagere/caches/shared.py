"""The cache that many machines share: small bodies in the store, large ones as blobs, all with a time to live."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from etagere.caches import shared_records as records
from etagere.caches.blobstore import BlobStore
from etagere.core.etag import short_digest
from etagere.core.representation import INLINE_BYTES, Failure, Printed, Representation, Resource
from etagere.errors import Evicted, InternalError
from etagere.logs import get_logger
from etagere.ports import Clock, Fetched, Purged
from etagere.valkey import Valkey, ignore, read_scripts

GHOSTS_LIVE = 10
"""So many times as long as a result what is known of it is kept."""
AT_ONCE = 500
PURGES = 100
ORPHANED_S = 3600.0
"""A blob that nobody uses is removed after so long: it may be on its way."""

log = get_logger("etagere.cache")


class SharedCache:
    """What is finished, for all nodes; `ttl` is for how many seconds after its last use a result is kept.

    It is the `Keeper` of a collector, the `Shared` of nodes, and has the `Holdings` and `Prints` of operators.
    """

    def __init__(self, store: Valkey, blobs: BlobStore | None, clock: Clock, ttl: float) -> None:
        self.nondeterministic: Counter[str] = Counter()
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._ttl = int(ttl)
        self._ghost_ttl = int(ttl * GHOSTS_LIVE)
        self._scripts = read_scripts("etagere.caches")

    async def put(
        self, resource: Resource, finished: Representation | Failure, printed: Printed | None = None
    ) -> Representation | Failure:
        """See `Cache.put`.

        Raises:
            StoreLost: the store cannot be reached.
            ValueError: a result is large, and there is no place for large ones.
        """
        about, body = await self._sent(finished)
        ghost = {"uri": resource.uri, "model": resource.model, "seconds": repr(finished.seconds)}
        given = {"about": about, "ghost": ghost, "ttl": self._ttl, "ghost_ttl": self._ghost_ttl}
        if isinstance(finished, Failure):
            given["expires"] = int(finished.expires * 1000)
        if printed is not None:
            self.note(printed)
        now = repr(self._clock.now())
        found, there, first = await self._call("keep", resource.id, json.dumps(given), body, now)
        if first:
            self._report(resource, bytes.fromhex(first.decode()), finished)
        if not there:
            return finished
        kept = records.representation(found)
        return finished if kept is None else kept

    async def put_variant(self, primary: Representation, given: Representation) -> Representation:
        """See `Variants.put_variant`."""
        about, body = await self._sent(given)
        told = json.dumps({"about": about, "ttl": self._ttl})
        found = await self._call("variant", primary.id, primary.digest.hex(), given.name, told, body)
        if not found:
            raise Evicted(f"{given.key} has no primary representation")
        return records.representation(found) or given

    async def kept(self, id: str) -> Representation | None:
        """See `Keeper.kept`; a large body is not fetched."""
        _, result, _, _ = await self._call("fetch", id, self._ttl, self._ghost_ttl)
        return records.representation(result)

    async def fetch(self, id: str, directory: Path) -> Fetched:
        """See `Shared.fetch`."""
        ghost, result, failure, variants = await self._call("fetch", id, self._ttl, self._ghost_ttl)
        known = records.ghost(id, ghost)
        found = await self._whole(records.representation(result), directory)
        if found is None:
            return Fetched(known, records.failure(failure))
        others = [await self._whole(records.representation(each), directory) for each in variants]
        return Fetched(known, found, [each for each in others if each is not None])

    async def sign(self, representation: Representation, seconds: float) -> str | None:
        """A URL by which anybody can fetch a large result for so long; None where there is none."""
        if self._blobs is None or representation.size <= INLINE_BYTES:
            return None
        return await self._blobs.sign(_name(representation), seconds)

    def note(self, printed: Printed) -> None:
        """See `Prints.note`."""
        flat = records.printed_fields(printed)
        key = self._store.key(f"printed:{printed.id}")
        ignore(self._store.do("HSET", key, *flat))
        ignore(self._store.do("EXPIRE", key, self._ghost_ttl))

    async def printed(self, id: str) -> Printed | None:
        """See `Prints.printed`."""
        return records.printed(id, await self._store.do("HGETALL", self._store.key(f"printed:{id}")))

    async def totals(self) -> tuple[int, int]:
        """See `Holdings.totals`."""
        results = size = 0
        async for ids in self._scan("result:"):
            sizes = await asyncio.gather(
                *(self._store.do("HGET", self._store.key(f"result:{id}"), "size") for id in ids)
            )
            results += sum("." not in id for id in ids)
            size += sum(int(each) for each in sizes if each is not None)
        return results, size

    async def purge(self, model: str | None, before: float) -> Purged:
        """See `Holdings.purge`; nodes are told, and do so with what they have of it."""
        purged = Purged()
        for kind in ("result:", "failure:"):
            async for ids in self._scan(kind):
                primaries = [id for id in ids if "." not in id]
                done = await self._call("forget", model or "", repr(before), *primaries)
                purged = Purged(*map(sum, zip(purged, done, strict=True)))
        told = json.dumps({"model": model, "before": before})
        key = self._store.key("purges")
        await self._store.do("LPUSH", key, told)
        await self._store.do("LTRIM", key, 0, PURGES - 1)
        await self._store.do("HINCRBY", self._store.key("meta"), "purges", 1)
        await self.sweep()
        return purged

    async def purges(self, last: int) -> list[tuple[str | None, float]]:
        """The model and the time of the last purges, for those who have something of their own to forget."""
        told = await self._store.do("LRANGE", self._store.key("purges"), 0, last - 1)
        return [(each["model"], each["before"]) for each in map(json.loads, told)]

    async def sweep(self) -> int:
        """Remove blobs that nothing refers to any more; how many there were."""
        if self._blobs is None:
            return 0
        removed = 0
        for prefix in ("results", "incoming"):
            for blob in await self._blobs.listed(prefix):
                # One that has lain on its way for so long was left by somebody who is gone.
                if blob.age > ORPHANED_S and (prefix == "incoming" or not await self._is_used(blob.name)):
                    await self._blobs.remove(blob.name)
                    removed += 1
        return removed

    async def _is_used(self, name: str) -> bool:
        users = self._store.key(f"users:{name.partition('/')[2]}")
        for key in await self._store.do("SMEMBERS", users):
            if await self._store.do("EXISTS", self._store.key(f"result:{key.decode()}")):
                return True
            await self._store.do("SREM", users, key)
        return False

    async def _sent(self, finished: Representation | Failure) -> tuple[dict[str, str], bytes]:
        """The fields of what is to be kept, and its body; one that is large is where blobs are, then."""
        if isinstance(finished, Failure):
            return records.of_failure(finished), b""
        if finished.size <= INLINE_BYTES:
            return records.of_representation(finished, ""), await _body(finished)
        if self._blobs is None:
            raise ValueError("results of more than 1 MiB need a place that all share: set blobs")
        assert finished.path is not None
        await self._blobs.put(finished.path, _name(finished))
        return records.of_representation(finished, finished.digest.hex()), b""

    async def _whole(self, found: Representation | None, directory: Path) -> Representation | None:
        """A representation with its bytes; None where those are gone."""
        if found is None or found.body is not None:
            return found
        if self._blobs is None:
            log.error("a large result is shared where this node does not look: set blobs", id=found.id)
            return None
        target = directory / found.key
        try:
            await self._blobs.fetch(_name(found), target, found.size, found.digest)
        except FileNotFoundError as lost:
            log.error("a shared result is lost", id=found.key, reason=str(lost))
            await self._store.do("DEL", self._store.key(f"result:{found.key}"))
            return None
        return records.with_path(found, target)

    async def _scan(self, kind: str) -> AsyncIterator[Sequence[str]]:
        """What is behind all keys that begin so, in parts."""
        prefix = self._store.key(kind)
        cursor = "0"
        while True:
            pattern = prefix.replace("[", "\\[").replace("?", "\\?") + "*"
            cursor, keys = await self._store.do("SCAN", cursor, "MATCH", pattern, "COUNT", AT_ONCE)
            yield [key.decode().removeprefix(prefix) for key in keys]
            if int(cursor) == 0:
                return

    def _report(self, resource: Resource, first: bytes, finished: Representation | Failure) -> None:
        assert isinstance(finished, Representation)
        self.nondeterministic[resource.model] += 1
        digests = {"first": short_digest(first), "later": short_digest(finished.digest)}
        log.warning(
            "nondeterministic: computed again with another result", id=resource.id, model=resource.model, **digests
        )

    async def _call(self, script: str, id: str, *arguments: str | bytes | int | float) -> Any:
        try:
            return await self._store.script(self._scripts[script], id, *arguments)
        except InternalError as error:
            if "COLLISION" in str(error.__cause__):
                raise InternalError(f"Two canonical URIs have the id {id}.") from error
            raise


def _name(found: Representation) -> str:
    return f"results/{found.digest.hex()}"


async def _body(found: Representation) -> bytes:
    if found.body is not None:
        return found.body
    assert found.path is not None
    return await asyncio.to_thread(found.path.read_bytes)
