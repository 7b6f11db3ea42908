"""Whether the stored bodies are still what was put: compared with their SHA-256, and set aside where they are not."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Awaitable, Callable, Collection
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from etagere.caches.blobs import Blobs
from etagere.caches.records import BEHIND, Records
from etagere.core.representation import INLINE_BYTES
from etagere.database import Database
from etagere.flights import Flights
from etagere.logs import get_logger
from etagere.ports import Checked, Pace

BLOCK = 1024 * 1024
# Reading a row costs at least a page.
LEAST_READ = 4096
_FILES = "SELECT id, file FROM representation WHERE file IS NOT NULL"
_DAMAGE = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)

log = get_logger("etagere.cache")

Forget = Callable[[str], Awaitable[None]]
Remove = Callable[[Collection[str]], Awaitable[None]]


class _Row(NamedTuple):
    """A stored representation, and whether its row is what was put there."""

    key: str
    size: int
    file: str | None
    sound: bool


class StoredBodies:
    """The `Stored` of a single service.

    `files` is held while a blob arrives or leaves; `forget` discards a key with its variants, and `remove` removes
    those of the named blobs that no row names. After an unclean stop no file is used before it was compared.
    """

    def __init__(
        self, database: Database, blobs: Blobs, kept: Records, files: asyncio.Lock, forget: Forget, remove: Remove
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._records = kept
        self._files = files
        self._forget = forget
        self._remove = remove
        self._comparing: Flights[str, bool] = Flights()
        self._doubted = {file for _, file in database.rows(_FILES)} if database.doubted else set()

    async def confirm(self, path: Path) -> None:
        """Compare a file that is still in doubt; on every use of one.

        Raises:
            FileNotFoundError: it is not what was collected, and is set aside.
        """
        name = self._blobs.name_of(path)
        if name in self._doubted and not await self._comparing.join(name, partial(self._compare, name)):
            raise FileNotFoundError(errno.ENOENT, "the file is not the one that was collected", str(path))

    def trust(self, name: str) -> None:
        """There is no doubt about this blob: what was hashed just now is in its place."""
        self._doubted.discard(name)

    def set_aside(self, connection: apsw.Connection, key: str) -> bool:
        """Forget a body in the database that is not what was put there, still; the ghost stays."""
        dropped = self._records.drop_unsound(connection, key)
        if dropped is None:
            return False
        digest, body = dropped
        if body is not None:
            self._database.quarantine.keep(digest.hex(), body)
        log.error("a body is not what was put: it is set aside", id=key)
        return True

    async def sweep(self) -> int:
        """See `Stored.sweep`."""
        there = set(await asyncio.to_thread(lambda: list(self._blobs.names())))
        rows: list[tuple[str, str]] = await self._database.apart(_files)
        orphans = there.difference(file for _, file in rows)
        await self._remove(orphans)
        without = await self._without_file([row for row in rows if row[1] not in there])
        for key in without:
            await self._forget(key)
        return len(orphans) + len(without)

    async def check(self, after: str, pace: Pace) -> Checked | None:
        """See `Stored.check`."""
        rows = await self._database.apart(partial(self._read, after=after))
        if not rows:
            # Whatever was there at the start has been compared.
            self._doubted.clear()
            self._database.doubted = False
            return None
        damaged = 0
        for row in rows:
            if not row.sound:
                damaged += await self._drop(row.key)
            elif row.file is not None:
                damaged += not await self._compare(row.file, pace)
        await pace(sum(max(row.size, LEAST_READ) for row in rows if row.file is None))
        return Checked(rows[-1].key, len(rows), sum(row.size for row in rows), damaged)

    def _read(self, connection: apsw.Connection, after: str) -> list[_Row]:
        """The next rows, until they have a megabyte."""
        found: list[_Row] = []
        total = 0
        with closing(connection.cursor()) as cursor:
            rows: Any = cursor.execute(BEHIND, (after,))
            for row in rows:
                found.append(_Row(row[0], row[3], row[8], self._records.representation(row) is not None))
                total += row[3]
                if total >= INLINE_BYTES:
                    break
        return found

    async def _without_file(self, missing: list[tuple[str, str]]) -> list[str]:
        """The keys of those whose blob has not come since."""
        paths = [(key, self._blobs.path(file)) for key, file in missing]
        async with self._files:
            return await asyncio.to_thread(lambda: [key for key, path in paths if not path.exists()])

    async def _drop(self, key: str) -> bool:
        dropped = await self._database.write(partial(self.set_aside, key=key))
        if dropped:
            await self._forget(key)
        return dropped

    async def _compare(self, name: str, pace: Pace | None = None) -> bool:
        """Whether a blob is what its name says; else it is set aside with all that is kept of it."""
        path = self._blobs.path(name)
        if await _matches(path, pace) or not await self._take(path):
            self._doubted.discard(name)
            return True
        for (key,) in self._database.rows("SELECT id FROM representation WHERE file = ?", (name,)):
            log.error("a file is not what was collected: it is set aside", id=key, file=name)
            await self._forget(key)
        return False

    async def _take(self, path: Path) -> bool:
        async with self._files:
            # Another may have come into its place meanwhile.
            if await _matches(path):
                return False
            await asyncio.to_thread(self._database.quarantine.take, path)
            return True


def _files(connection: apsw.Connection) -> Any:
    return connection.execute(_FILES).fetchall()


async def _matches(path: Path, pace: Pace | None = None) -> bool:
    """Whether the content has the SHA-256 that the name tells; a file that is gone is in nobody's way.

    Raises:
        OSError: it cannot be read now.
    """
    digest, offset = hashlib.sha256(), 0
    try:
        while read := await asyncio.to_thread(_add, digest, path, offset):
            offset += read
            if pace is not None:
                await pace(read)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in _DAMAGE:
            raise
        return False
    return digest.hexdigest() == path.name


def _add(digest: Any, path: Path, offset: int) -> int:
    # Opened each time: who gives up leaves no descriptor to a thread that still reads.
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        block = file.read(BLOCK)
    digest.update(block)
    return len(block)
