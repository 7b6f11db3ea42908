"""The result queue that many machines share: a stream in the store, which a group of collectors takes from."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from etagere import contents
from etagere.core.representation import INLINE_BYTES, Kind, Outcome
from etagere.errors import InternalError, ResultOutOfReach, StorageFull, StoreLost
from etagere.logs import get_logger
from etagere.results import SECOND
from etagere.runs import entries
from etagere.runs.entries import Fields
from etagere.valkey import Script, Valkey

GROUP = "collectors"
AT_ONCE = 16
POLL_S = 1.0
AGAIN_S = 0.5
STANDS_BACK = 4
"""So many times as long a collector that does not find everything leaves to others what nobody has done."""
FORGOTTEN_MS = 3_600_000
"""A collector that has taken nothing for so long is not there any more."""

_RESULT = "result"

T = TypeVar("T")

log = get_logger("etagere.results")


class Blobs(Protocol):
    """Where what is too large for the store lies on its way; `url` says where that is."""

    url: str

    async def put(self, path: Path, name: str) -> None:
        """Keep a file under this name."""
        ...

    async def fetch(self, name: str, target: Path, size: int, digest: bytes) -> None:
        """Write it to a file; FileNotFoundError where it is not there, or is not what was put."""
        ...

    async def remove(self, name: str) -> None:
        """Forget it."""
        ...


class ResultStream:
    """The `ResultQueue` of many machines, at either end: workers `put`, collectors do the rest.

    Results come into `directory`, if they are not small, and have at most `largest` bytes. What a collector has taken
    and not done in `idle` seconds, another takes over. `news` is set when there may be something to take. `delivered`
    is told each id and attempt that was put.
    """

    def __init__(
        self,
        store: Valkey,
        scripts: Mapping[str, Script],
        blobs: Blobs | None,
        directory: Path,
        news: asyncio.Event,
        *,
        idle: float,
        largest: int,
        delivered: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._finish = scripts["finish"]
        self._advance = scripts["advance"]
        self._blobs = blobs
        self._directory = directory
        self._news = news
        self._largest = largest
        self._delivered = delivered
        self._idle_ms = int(idle * 1000)
        self._name = secrets.token_hex(8)
        self._stream = store.key("results")
        self._found: deque[tuple[str, Fields]] = deque()
        self._deferred: deque[tuple[str, Outcome]] = deque()
        self._reading = asyncio.Lock()
        self._entries: dict[tuple[str, int], list[str]] = {}
        # What may be removed when an entry is done.
        self._arrived: dict[str, list[str]] = {}
        self._coming: set[str] = set()
        self._out_of_reach: set[str] = set()
        self._looked_for_idle = float("-inf")

    async def put(self, outcome: Outcome) -> Outcome:
        """See `ResultQueue.put`; a store or a place that is away is waited for, since runs may have taken hours."""
        put, fields = await self._patiently(outcome, partial(self._fields, outcome, secrets.token_hex(8)))
        about = put.resource.id, str(put.attempt), str(put.kind)
        pairs = [part for pair in fields.items() for part in pair]
        await self._patiently(outcome, lambda: self._store.script(self._finish, *about, *pairs))
        self._delivered(outcome.resource.id, outcome.attempt)
        if outcome.path is not None:
            await asyncio.to_thread(shutil.rmtree, outcome.path.parent, ignore_errors=True)
        return put

    async def _patiently(self, outcome: Outcome, do: Callable[[], Awaitable[T]]) -> T:
        said = ""
        while True:
            try:
                return await do()
            except (StoreLost, StorageFull) as error:
                if error.detail != said:
                    log.warning(
                        "an outcome waits until it can be handed over", id=outcome.resource.id, reason=error.detail
                    )
                said = error.detail
                await asyncio.sleep(AGAIN_S)

    async def take(self) -> Outcome:
        """See `ResultQueue.take`."""
        while True:
            entry, found = await self._next()
            outcome = found if isinstance(found, Outcome) else await self._take_in(entry, found)
            if outcome is not None:
                self._entries.setdefault((outcome.resource.id, outcome.attempt), []).append(entry)
                return outcome

    async def defer(self, outcome: Outcome) -> None:
        """See `ResultQueue.defer`."""
        entry = self._entries[outcome.resource.id, outcome.attempt].pop()
        self._deferred.append((entry, outcome))

    async def done(self, outcome: Outcome) -> None:
        """See `ResultQueue.done`."""
        key = outcome.resource.id, outcome.attempt
        known = self._entries.get(key, [])
        if known:
            await self._dismiss(known)
        # Until here it may be deferred, since the store may be away.
        self._entries.pop(key, None)
        for blob in (blob for entry in known for blob in self._arrived.pop(entry, [])):
            assert self._blobs is not None
            # One that is left is swept some time.
            with suppress(StorageFull):
                await self._blobs.remove(blob)

    async def open(self) -> None:
        """Make the group of collectors where there is none, and forget those that are gone."""
        try:
            await self._store.do("XGROUP", "CREATE", self._stream, GROUP, "0", "MKSTREAM")
        except InternalError as error:
            if "BUSYGROUP" not in str(error.__cause__):
                raise
        for consumer in await self._store.do("XINFO", "CONSUMERS", self._stream, GROUP):
            told = dict(zip(consumer[::2], consumer[1::2], strict=True))
            if not told[b"pending"] and told[b"idle"] > FORGOTTEN_MS:
                await self._store.do("XGROUP", "DELCONSUMER", self._stream, GROUP, told[b"name"])

    async def _fields(self, outcome: Outcome, token: str) -> tuple[Outcome, dict[str, bytes]]:
        """What is handed over, and its fields; what is large is where all find it then, under a name with the token."""
        fields = entries.encode(outcome)
        if outcome.path is None:
            return outcome, fields
        try:
            fields |= await self._sent(outcome, outcome.path, "", token)
            with suppress(FileNotFoundError):
                fields |= await self._sent(outcome, outcome.path.with_name(SECOND), "second_", token)
        except (PermissionError, IsADirectoryError, ValueError) as error:
            # It is the run's own doing, and would be so again.
            failed = replace(outcome, kind=Kind.failed, detail=str(error), path=None)
            return failed, entries.encode(failed)
        return outcome, fields

    async def _sent(self, outcome: Outcome, path: Path, prefix: str, token: str) -> dict[str, bytes]:
        """The fields that tell of a file: its bytes, or where they are."""
        size, digest, body = await asyncio.to_thread(contents.read, path, sys.maxsize)
        if body is not None:
            return {f"{prefix}body": body}
        if self._blobs is None:
            raise ValueError(f"the result has {size} bytes; more than 1 MiB need a place that all share: set blobs")
        # The same name each time that it is tried.
        name = f"incoming/{prefix}{outcome.resource.id}.{outcome.attempt}.{token}"
        await self._blobs.put(path, name)
        about = {"blob": name, "size": str(size), "digest": digest.hex()}
        return {"place": self._blobs.url.encode(), **{prefix + field: value.encode() for field, value in about.items()}}

    async def _next(self) -> tuple[str, Fields | Outcome]:
        # One reads for all who want something.
        async with self._reading:
            while True:
                if not self._found:
                    self._news.clear()
                    await self._read()
                if self._found:
                    return self._found.popleft()
                # However many are deferred, what comes meanwhile has its turn.
                if self._deferred:
                    return self._deferred.popleft()
                await _wait(self._news, POLL_S)

    async def _read(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            if now - self._looked_for_idle >= min(POLL_S, self._idle_ms / 2000):
                self._looked_for_idle = now
                # What is out of reach here, another is to get first.
                idle = self._idle_ms * (STANDS_BACK if self._out_of_reach else 1)
                taken_over = await self._store.do(
                    "XAUTOCLAIM", self._stream, GROUP, self._name, idle, "0", "COUNT", AT_ONCE
                )
                self._take_up(taken_over[1])
            found = await self._store.do(
                "XREADGROUP", "GROUP", GROUP, self._name, "COUNT", AT_ONCE, "STREAMS", self._stream, ">"
            )
            for _, entries_there in found or ():
                self._take_up(entries_there)
        except StoreLost:
            await asyncio.sleep(AGAIN_S)
        except InternalError as error:
            if "NOGROUP" not in str(error.__cause__):
                raise
            # The store was emptied.
            await self.open()

    def _take_up(self, found: Any) -> None:
        # What is large takes its time, in which it looks idle.
        waiting = (entry for entry, _ in (*self._found, *self._deferred))
        known = self._coming.union(waiting, *self._entries.values())
        new = ((entry, flat) for id, flat in found if (entry := id.decode()) not in known)
        self._found.extend((entry, _fields(flat)) for entry, flat in new)

    async def _take_in(self, entry: str, fields: Fields) -> Outcome | None:
        self._coming.add(entry)
        try:
            try:
                return await self._outcome(entry, fields)
            except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError) as error:
                log.error("an outcome is gone or cannot be read: its run is lost", entry=entry, reason=repr(error))
                await self._forget(entry, fields)
        except ResultOutOfReach as elsewhere:
            self._tell_of(elsewhere)
        except (StorageFull, StoreLost) as away:
            # It counts as taken, and is taken over like one of a collector that is gone.
            log.warning("an outcome cannot be fetched now", entry=entry, reason=away.detail)
        finally:
            self._coming.discard(entry)
        return None

    async def _outcome(self, entry: str, fields: Fields) -> Outcome:
        if "body" in fields and not any(name.startswith("second_") for name in fields):
            _check(len(fields["body"]), INLINE_BYTES)
            return entries.decode(fields, None, fields["body"])
        if not any(name in fields for name in ("body", "blob")):
            return entries.decode(fields, None, None)
        directory = self._directory / entry
        await asyncio.to_thread(_empty, directory)
        await self._bring(fields, "", directory / _RESULT)
        await self._bring(fields, "second_", directory / SECOND)
        return entries.decode(fields, directory / _RESULT, None)

    async def _bring(self, fields: Fields, prefix: str, target: Path) -> None:
        if (body := fields.get(f"{prefix}body")) is not None:
            _check(len(body), INLINE_BYTES)
            await asyncio.to_thread(target.write_bytes, body)
        elif (blob := fields.get(f"{prefix}blob")) is not None:
            size, digest = int(fields[f"{prefix}size"]), bytes.fromhex(fields[f"{prefix}digest"].decode())
            _check(size, self._largest)
            await self._fetch(blob.decode(), target, size, digest, fields.get("place", b"").decode())
            self._arrived.setdefault(target.parent.name, []).append(blob.decode())

    async def _fetch(self, blob: str, target: Path, size: int, digest: bytes, place: str) -> None:
        if self._blobs is None:
            raise ResultOutOfReach(place)
        try:
            await self._blobs.fetch(blob, target, size, digest)
        except FileNotFoundError as error:
            if place in ("", self._blobs.url):
                raise
            # To have it computed again would not bring it here, either.
            raise ResultOutOfReach(place) from error

    def _tell_of(self, elsewhere: ResultOutOfReach) -> None:
        """Say once where outcomes lie that this collector does not reach; they are taken over, perhaps by another."""
        place = elsewhere.detail
        if place not in self._out_of_reach:
            self._out_of_reach.add(place)
            log.error(
                "outcomes wait that are not where this collector looks: set blobs as the workers have it",
                theirs=place or None, here=self._blobs.url if self._blobs else "not set",
            )  # fmt: skip

    async def _forget(self, entry: str, fields: Fields) -> None:
        lose = self._store.script(self._advance, fields.get("id", b""), "lose", fields.get("attempt", b"0"))
        await asyncio.gather(lose, self._dismiss([entry]))

    async def _dismiss(self, taken: Sequence[str]) -> None:
        acknowledge = self._store.do("XACK", self._stream, GROUP, *taken)
        await asyncio.gather(acknowledge, self._store.do("XDEL", self._stream, *taken))


def _check(size: int, largest: int) -> None:
    if size > largest:
        raise ValueError(f"a result of {size} bytes, more than {largest}")


def _fields(flat: Any) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
