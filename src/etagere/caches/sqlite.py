"""The cache of one service: SQLite for small bodies, files for large ones, the most recent in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from etagere.caches import records
from etagere.caches.blobs import Blobs
from etagere.caches.holdings import SqliteHoldings
from etagere.caches.lent import Lent
from etagere.caches.prints import with_printed
from etagere.caches.recent import Recent
from etagere.caches.records import Kept, Records
from etagere.caches.stored import StoredBodies
from etagere.core.etag import short_digest
from etagere.core.representation import INLINE_BYTES, Difference, Failure, Ghost, Printed, Representation, Resource
from etagere.core.tally import Held
from etagere.database import Database
from etagere.logs import get_logger
from etagere.ports import Clock

CHUNK = 256 * 1024
TOUCHES_EVERY_S = 5.0
GHOSTS = 1_000_000

log = get_logger("etagere.cache")


Keep = Callable[..., Kept]
"""An action of `Records` that lacks the connection, what is kept, its blob's name and the time."""


class SqliteCache:
    """The `Cache` of a single service, and its `Variants`.

    `size_limit` bounds the bytes on disk, `memory_limit` those in memory. A representation that
    nobody has asked for is not evicted for `keep` seconds after it was put, nor while it is `awaited`,
    so that whoever waits for it finds it.
    `nondeterministic` counts the results that were others than those before, by model, since the start;
    `stored` checks what is kept, `holdings` is all of it.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        directory: Path,
        size_limit: int,
        memory_limit: int,
        keep: float = 90.0,
        ghosts: int = GHOSTS,
    ) -> None:
        self.nondeterministic: Counter[str] = Counter()
        self._evicted = 0
        self._database = database
        self._clock = clock
        self._blobs = Blobs(directory)
        self._records = Records(self._blobs.directory, size_limit, ghosts, keep)
        self._recent = Recent(memory_limit)
        # Held from a blob's arrival to its row's commit, and while blobs without a row are removed.
        self._files = asyncio.Lock()
        self._lent = Lent(clock)
        self.stored = StoredBodies(
            database, self._blobs, self._records, self._files, self.discard, self._remove_unnamed
        )
        self.holdings = SqliteHoldings(database, self._let_go)
        self._touched: dict[str, float] = {}
        self._flushed = clock.now()

    def get(self, id: str) -> Representation | Failure | None:
        """See `Cache.get`."""
        found = self._recent.get(id) or self._load(id)
        if found is None:
            return None
        if isinstance(found, Failure) and found.expires <= self._clock.now():
            self._recent.drop(id)
            return None
        self._touch(id)
        return found

    async def kept(self, id: str) -> Representation | None:
        """See `Keeper.kept`."""
        found = self.get(id)
        return found if isinstance(found, Representation) else None

    def ghost(self, id: str) -> Ghost | None:
        """See `Cache.ghost`."""
        row = self._database.read(records.GHOST, (id,))
        if row is None:
            return None
        self._touch(id)
        return records.ghost(row)

    async def remember(self, ghost: Ghost, model: str) -> None:
        """Keep what is known of a resource of which there is nothing here; `model` is `name@version`."""
        await self._database.write(partial(records.keep_ghost, found=ghost, model=model, now=self._clock.now()))

    async def put(
        self, resource: Resource, finished: Representation | Failure, printed: Printed | None = None
    ) -> Representation | Failure:
        """See `Cache.put`. A file that is moved in stays where it was until that is recorded.

        Raises:
            InternalError: the id is that of another canonical URI.
        """
        # Cut short between a blob and its row, it would leave the one without the other.
        return await asyncio.shield(self._put(resource, finished, printed))

    def variant(self, id: str, name: str) -> Representation | None:
        """See `Variants.variant`."""
        key = f"{id}.{name}"
        found = self._recent.get(key) or self._load_representation(key)
        if not isinstance(found, Representation):
            return None
        self._touch(key)
        return found

    async def put_variant(self, primary: Representation, given: Representation) -> Representation:
        """See `Variants.put_variant`."""
        return await asyncio.shield(self._put_variant(primary, given))

    async def file(self, representation: Representation) -> Path | None:
        """See `Variants.file`."""
        if representation.path is not None:
            (await self._opened(representation.path, representation)).close()
        return representation.path

    async def stream(
        self, representation: Representation, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[bytes]:
        """See `Cache.stream`."""
        stop = representation.size if stop is None else stop
        if representation.path is None:
            yield (representation.body or b"")[start:stop]
            return
        if start == stop:
            self._lent.lend(representation.path)
        file = await self._opened(representation.path, representation)
        reading: asyncio.Future[bytes] | None = None
        try:
            file.seek(start)
            while start < stop:
                reading = asyncio.ensure_future(asyncio.to_thread(file.read, min(CHUNK, stop - start)))
                if not (chunk := await asyncio.shield(reading)):
                    return
                yield chunk
                start += len(chunk)
        finally:
            if reading is None or reading.done():
                file.close()
            else:
                # Closed under a thread that reads it, its descriptor could be another file's by then.
                reading.add_done_callback(lambda _: file.close())

    async def discard(self, id: str) -> None:
        """See `Cache.discard`.

        Raises:
            StorageFull: it could not be recorded; nothing was changed.
        """
        dropped = await self._database.write(partial(records.drop, key=id))
        self._recent.drop(id)
        await self._let_go(dropped)

    def held(self) -> Held:
        """What there is, in numbers."""
        row = self._database.read(records.HELD)
        assert row is not None
        size, representations, ghosts = row
        return Held(size, representations, ghosts, self._evicted)

    async def close(self) -> None:
        """Finish what concerns files and note what was used; the database is closed after this."""
        await self._remove_unnamed(self._lent.end())
        async with self._files:
            self._flush()

    async def _opened(self, path: Path, wanted: Representation) -> BinaryIO:
        await self.stored.confirm(path)
        return await asyncio.to_thread(self._blobs.open, path, wanted.size, wanted.mtime_ns)

    def _load(self, id: str) -> Representation | Failure | None:
        found: Representation | Failure | None = self._load_representation(id)
        if found is None and (row := self._database.read(records.FAILURE, (id, self._clock.now()))):
            found = records.failure(row)
            self._recent.put(found)
        return found

    def _load_representation(self, key: str) -> Representation | None:
        row = self._database.read(records.REPRESENTATION, (key,))
        if row is None:
            return None
        found = self._records.representation(row)
        if found is None:
            log.error("a body is not what was put: it is discarded", id=key)
            self._database.post(partial(self.stored.set_aside, key=key))
        else:
            self._recent.put(found)
        return found

    def _touch(self, id: str) -> None:
        self._touched[id] = now = self._clock.now()
        # A clock that was set back flushes once too often.
        if not 0 <= now - self._flushed < TOUCHES_EVERY_S:
            self._flush()

    def _flush(self) -> None:
        self._flushed = self._clock.now()
        if self._touched:
            pairs = [(used, touched) for touched, used in self._touched.items()]
            self._touched = {}
            self._database.post(partial(records.touch, used=pairs))

    async def _put(
        self, resource: Resource, finished: Representation | Failure, printed: Printed | None
    ) -> Representation | Failure:
        # What was used lately must not look old to the eviction.
        self._flush()
        if isinstance(finished, Failure):
            now = self._clock.now()
            action = partial(self._records.keep_failure, resource=resource, given=finished, now=now)
            kept = await self._database.write(with_printed(action, printed))
        else:
            keep = with_printed(partial(self._records.keep_representation, resource=resource), printed)
            kept = await self._place(finished, keep)
            if kept.difference is not None:
                self._report(resource, kept.difference)
        await self._take(kept)
        return kept.finished

    def _report(self, resource: Resource, difference: Difference) -> None:
        self.nondeterministic[resource.model] += 1
        digests = {"first": short_digest(difference.first), "later": short_digest(difference.later)}
        log.warning(
            "nondeterministic: computed again with another result", id=resource.id, model=resource.model, **digests
        )

    async def _put_variant(self, primary: Representation, given: Representation) -> Representation:
        self._flush()
        kept = await self._place(given, partial(self._records.keep_variant, primary=primary))
        assert isinstance(kept.finished, Representation)
        await self._take(kept)
        return kept.finished

    async def _take(self, kept: Kept) -> None:
        self._recent.put(kept.finished)
        self._evicted += len(kept.evicted)
        await self._let_go(kept.evicted)

    async def _let_go(self, gone: Collection[tuple[str, str | None]]) -> None:
        """Forget what has no row any more, and remove its files."""
        for key, _ in gone:
            self._recent.drop(key)
        await self._remove_unnamed([file for _, file in gone if file is not None])

    async def _place(self, given: Representation, keep: Keep) -> Kept:
        return await (self._put_file if given.size > INLINE_BYTES else self._put_inline)(given, keep)

    async def _put_inline(self, given: Representation, keep: Keep) -> Kept:
        body = given.body
        if body is None:
            assert given.path is not None, "a representation has a body or a file"
            body = await asyncio.to_thread(given.path.read_bytes)
        return await self._record(given, replace(given, body=body, path=None, mtime_ns=0), keep, file=None)

    async def _put_file(self, given: Representation, keep: Keep) -> Kept:
        name = self._blobs.name(given.digest)
        content = given.path if given.body is None else given.body
        assert content is not None, "a representation has a body or a file"
        try:
            async with self._files:
                # The same content may serve another id already, which knows it by its time.
                row = self._database.read("SELECT mtime_ns FROM representation WHERE file = ?", (name,))
                mtime_ns = await asyncio.to_thread(self._blobs.adopt, name, content, row[0] if row else None)
                stored = replace(given, body=None, path=self._blobs.path(name), mtime_ns=mtime_ns)
                # What is collected again after a crash is the blob itself, and not what was hashed just now.
                if given.path != stored.path:
                    self.stored.trust(name)
                return await self._record(given, stored, keep, file=name)
        finally:
            await self._remove_unnamed([name])

    async def _record(self, given: Representation, stored: Representation, keep: Keep, file: str | None) -> Kept:
        now = self._clock.now()
        kept = await self._database.write(partial(keep, given=stored, file=file, now=now))
        moved = isinstance(kept.finished, Representation) and kept.finished.digest == given.digest
        if moved and given.path is not None and given.path != stored.path:
            await asyncio.to_thread(given.path.unlink, missing_ok=True)
        return kept

    async def _remove_unnamed(self, names: Collection[str]) -> None:
        """Remove those blobs that no representation uses."""
        if not names and not self._lent.kept:
            return
        async with self._files:
            read = partial(self._database.read, "SELECT 1 FROM representation WHERE file = ?")
            unnamed = [name for name in self._lent.kept.union(names) if read((name,)) is None]
            with self._lent.removing(unnamed) as free:
                await asyncio.to_thread(self._blobs.remove, free)
