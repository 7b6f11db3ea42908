"""The cache that many machines share: small bodies in the store, large ones as blobs, all with a time to live."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from etagere.caches import shared_records as records
from etagere.caches.blobstore import BlobStore
from etagere.caches.shared_records import Flat
from etagere.core.etag import short_digest
from etagere.core.representation import INLINE_BYTES, Failure, Printed, Representation, Resource
from etagere.errors import Evicted, InternalError, ResultOutOfReach, StorageFull
from etagere.logs import get_logger
from etagere.ports import Clock, Fetched, Purged
from etagere.valkey import Valkey, ignore, read_scripts

GHOSTS_LIVE = 10
"""So many times as long as a result what is known of it is kept."""
LONGEST_S = 100 * 365 * 86400.0
AT_ONCE = 500
SIGNED_S = 300.0
"""So long a client has for beginning to fetch what it was sent to."""
PURGES = 100
RESULTS, INCOMING = "results", "incoming"
ORPHANED_S = {RESULTS: 3600.0, INCOMING: 7 * 86400.0}
"""What nobody uses is removed after so long. It may be about to be recorded; or, on its way to a collector, wait for
one: then it is worth a run."""

log = get_logger("etagere.cache")


class SharedCache:
    """What is finished, for all nodes; `ttl` is for how many seconds after its last use a result is kept.

    It is the `Keeper` of a collector, the `Shared` of nodes, and has the `Holdings` and `Prints` of operators.
    `nondeterministic` counts the results that were others than those before, by model, which this process has put.
    """

    def __init__(self, store: Valkey, blobs: BlobStore | None, clock: Clock, ttl: float) -> None:
        self.nondeterministic: Counter[str] = Counter()
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._ttl = _milliseconds(ttl)
        self._ghost_ttl = _milliseconds(ttl * GHOSTS_LIVE)
        self._scripts = read_scripts("etagere.caches")

    async def put(
        self, resource: Resource, finished: Representation | Failure, printed: Printed | None = None
    ) -> Representation | Failure:
        """See `Cache.put`.

        Raises:
            StoreLost: the store cannot be reached.
            ValueError: a result is large, and there is no place for large ones.
            InternalError: the id is that of another canonical URI.
        """
        about, body = await self._sent(finished)
        ghost = {"uri": resource.uri, "model": resource.model, "seconds": repr(finished.seconds)}
        given = {"about": about, "ghost": ghost, "ttl": self._kept_for(finished), "ghost_ttl": self._ghost_ttl}
        if printed is not None:
            self.note(printed)
        now = repr(self._clock.now())
        there, first = await self._call("keep", resource.id, json.dumps(given), body, now)
        kept = records.representation(there) if there else finished
        if kept is None:
            await self._discard(resource.id, there)
            return await self.put(resource, finished)
        if first:
            self._report(resource, bytes.fromhex(first.decode()), finished)
        return kept

    async def put_variant(self, primary: Representation, given: Representation) -> Representation:
        """See `Variants.put_variant`; raises as `put`, too."""
        about, body = await self._sent(given)
        told = json.dumps({"about": about, "ttl": self._ttl})
        there = await self._call("variant", primary.id, primary.digest.hex(), given.name, told, body)
        if there is None:
            raise Evicted(f"{given.key} has no primary representation")
        kept = records.representation(there) if there else given
        if kept is None:
            await self._discard(given.key, there)
            return await self.put_variant(primary, given)
        return kept

    async def kept(self, id: str) -> Representation | None:
        """See `Keeper.kept`; a large body is not fetched, and it does not count as used."""
        return records.representation(await self._store.do("HGETALL", self._store.key(f"result:{id}")))

    async def fetch(self, id: str, directory: Path | None) -> Fetched:
        """See `Shared.fetch`; what is damaged or lost is discarded, and counts as absent.

        Raises:
            StoreLost: the store cannot be reached.
            ResultOutOfReach: a large result cannot be fetched now.
        """
        ghost, result, failure, variants = await self._call("fetch", id, self._ttl, self._ghost_ttl)
        # Each key may be evicted without the others.
        known = next((told for flat in (ghost, result, failure) if (told := records.ghost(id, flat))), None)
        found = await self._whole(id, result, directory)
        if found is None:
            return Fetched(known, self._lasting(records.failure(failure)))
        try:
            named = [(f"{id}.{name.decode()}", flat) for name, flat in variants]
            others = [await self._whole(key, flat, directory) for key, flat in named]
        except BaseException:
            if found.path is not None:
                found.path.unlink(missing_ok=True)
            raise
        return Fetched(known, found, [each for each in others if each is not None])

    async def url(self, found: Representation) -> str | None:
        """See `Redirects.url`; a result that is asked for in this way is used by that. There may be another by now."""
        key = self._store.key(f"result:{found.key}")
        if self._blobs is None or await self._store.do("HGET", key, "blob") != found.digest.hex().encode():
            return None
        await self._store.do("PEXPIRE", key, self._ttl)
        return await self._blobs.sign(_name(found), SIGNED_S)

    def note(self, printed: Printed) -> None:
        """See `Prints.note`."""
        ignore(self._store.script(self._scripts["note"], printed.id, self._ttl, *records.printed_fields(printed)))

    async def printed(self, id: str) -> Printed | None:
        """See `Prints.printed`."""
        return records.printed(id, await self._store.do("HGETALL", self._store.key(f"printed:{id}")))

    async def totals(self) -> tuple[int, int]:
        """See `Holdings.totals`."""
        totals = [await self._call("totals", *keys) async for keys in self._scan("result:")]
        results, size = map(sum, zip((0, 0), *totals, strict=True))
        return results, size

    async def purge(self, model: str | None, before: float) -> Purged:
        """See `Holdings.purge`; nodes are told, and do so with what they have of it."""
        purged, free = Purged(), set[bytes]()
        for kind in ("result:", "failure:"):
            async for keys in self._scan(kind):
                ids = (key for key in keys if "." not in key)
                *done, blobs = await self._call("forget", model or "", repr(before), *ids)
                purged = Purged(*map(sum, zip(purged, done, strict=True)))
                free.update(blobs)
        await self._call("purged", json.dumps({"model": model, "before": before}), PURGES)
        await self._remove(free)
        return purged

    async def purges(self, last: int) -> list[tuple[str | None, float]]:
        """The model and the time of the last purges, for those who have something of their own to forget.

        Where there were more than are known, all may have been purged.
        """
        if last <= 0:
            return []
        if last > PURGES:
            return [(None, sys.float_info.max)]
        told = await self._store.do("LRANGE", self._store.key("purges"), 0, last - 1)
        return [(each["model"], each["before"]) for each in map(json.loads, told)]

    async def sweep(self) -> int:
        """Remove blobs that nothing refers to any more; how many there were.

        One that is put again at this very moment may be lost by that; then the result is computed once more.
        """
        if self._blobs is None:
            return 0
        removed = await self._blobs.clean(ORPHANED_S[INCOMING])
        for folder, orphaned in ORPHANED_S.items():
            for blob in await self._blobs.listed(folder):
                if blob.age > orphaned and not await self._is_used(blob.name):
                    await self._blobs.remove(blob.name)
                    removed += 1
        # Of those that were announced and never came.
        async for blobs in self._scan("users:"):
            for name in blobs:
                await self._call("users", name)
        return removed

    async def _is_used(self, name: str) -> bool:
        folder, _, blob = name.partition("/")
        return folder == RESULTS and await self._call("users", blob) > 0

    async def _remove(self, blobs: set[bytes]) -> None:
        if self._blobs is None:
            return
        try:
            for blob in blobs:
                await self._blobs.remove(f"{RESULTS}/{blob.decode()}")
        except StorageFull as away:
            log.warning("blobs that were purged are left to be swept", reason=away.detail)

    async def _sent(self, finished: Representation | Failure) -> tuple[dict[str, str], bytes]:
        """The fields of what is to be kept, and its body; one that is large is where blobs are, then."""
        if isinstance(finished, Failure):
            return records.of_failure(finished), b""
        if finished.size <= INLINE_BYTES:
            return records.of_representation(finished, ""), await _body(finished)
        if self._blobs is None:
            raise ValueError("results of more than 1 MiB need a place that all share: set blobs")
        assert finished.path is not None, "what is large is a file"
        blob = finished.digest.hex()
        # A store without room refuses this, before all those bytes have been sent in vain.
        await self._store.do("SADD", self._store.key(f"users:{blob}"), finished.key)
        await self._blobs.put(finished.path, _name(finished))
        return records.of_representation(finished, blob), b""

    async def _whole(self, key: str, flat: Flat, directory: Path | None) -> Representation | None:
        """The representation of a hash, with its bytes if they have a place to go; None where it is none any more."""
        if not flat:
            return None
        found = records.representation(flat)
        if found is not None and found.body is None and directory is not None:
            found = await self._downloaded(found, directory / key)
        if found is None:
            await self._discard(key, flat)
        return found

    async def _downloaded(self, found: Representation, target: Path) -> Representation | None:
        if self._blobs is None:
            # To compute it again would not bring it here, either.
            log.error("a large result is shared where this node does not look: set blobs", id=found.key)
            raise ResultOutOfReach("This node does not know the place where large results are shared.")
        try:
            await self._blobs.fetch(_name(found), target, found.size, found.digest)
        except FileNotFoundError:
            return None
        except StorageFull as full:
            raise ResultOutOfReach(full.detail) from full
        return records.with_path(found, target)

    async def _discard(self, key: str, flat: Flat) -> None:
        log.error("a shared result is not what was put: it is discarded", id=key)
        await self._call("discard", key, records.digest(flat))

    def _kept_for(self, finished: Representation | Failure) -> int:
        """Milliseconds; the store's own date is of no concern."""
        if isinstance(finished, Failure):
            return _milliseconds(finished.expires - self._clock.now())
        return max(self._ttl, _milliseconds(finished.awaited))

    def _lasting(self, failure: Failure | None) -> Failure | None:
        return failure if failure is not None and failure.expires > self._clock.now() else None

    async def _scan(self, kind: str) -> AsyncIterator[Sequence[str]]:
        """What is behind all keys that begin so, in parts; one that is written meanwhile may come twice."""
        prefix = self._store.key(kind)
        cursor = b""
        while cursor != b"0":
            cursor, keys = await self._store.do("SCAN", cursor or b"0", "MATCH", f"{prefix}*", "COUNT", AT_ONCE)
            if keys:
                yield [key.decode().removeprefix(prefix) for key in keys]

    def _report(self, resource: Resource, first: bytes, finished: Representation | Failure) -> None:
        assert isinstance(finished, Representation)
        self.nondeterministic[resource.model] += 1
        digests = {"first": short_digest(first), "later": short_digest(finished.digest)}
        log.warning(
            "nondeterministic: computed again with another result", id=resource.id, model=resource.model, **digests
        )

    async def _call(self, script: str, *arguments: str | bytes | int | float) -> Any:
        try:
            return await self._store.script(self._scripts[script], *arguments)
        except InternalError as error:
            if "COLLISION" in str(error.__cause__):
                raise InternalError(f"Two canonical URIs have the id {arguments[0]!r}.") from error
            raise


def _name(found: Representation) -> str:
    return f"{RESULTS}/{found.digest.hex()}"


def _milliseconds(seconds: float) -> int:
    return max(1, int(min(seconds, LONGEST_S) * 1000))


async def _body(found: Representation) -> bytes:
    if found.body is not None:
        return found.body
    assert found.path is not None
    return await asyncio.to_thread(found.path.read_bytes)
