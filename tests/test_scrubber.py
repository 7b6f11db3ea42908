from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etagere.caches.sqlite import SqliteCache
from etagere.core.representation import Representation
from etagere.database import Database
from etagere.factory import SystemClock
from etagere.scrubber import Scrubber
from etagere.testing.samples import representation, resource

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "data")
    yield database
    await database.close()


@pytest.fixture
def cache(database: Database) -> SqliteCache:
    return SqliteCache(database, SystemClock(), database.directory / "blobs", 1000 * MIB, MIB)


async def put(cache: SqliteCache, id: str, size: int) -> Representation:
    kept = await cache.put(resource(id), representation(id, os.urandom(size)))
    assert isinstance(kept, Representation)
    return kept


async def settled(database: Database) -> None:
    """Everything posted so far is done."""
    await database.write(lambda _: None)


async def test_a_round_is_no_faster_than_its_rate_and_leaves_the_loop_free(cache: SqliteCache) -> None:
    for n in range(4):
        await put(cache, str(n), 2 * MIB)
    scrubber = Scrubber(cache.stored, SystemClock(), rate=16 * MIB)
    began, steps, longest = time.monotonic(), 0, 0.0
    going = asyncio.ensure_future(scrubber.go_round())
    while not going.done():
        before = time.monotonic()
        await asyncio.sleep(0.001)
        steps, longest = steps + 1, max(longest, time.monotonic() - before)
    assert time.monotonic() - began >= 0.5
    assert steps > 50
    assert longest < 0.25
    assert (scrubber.rounds, scrubber.damaged) == (1, 0)


async def test_what_it_found_is_counted_and_told(cache: SqliteCache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    kept = await put(cache, "a", 2 * MIB)
    await put(cache, "b", 100)
    assert kept.path is not None
    with kept.path.open("r+b") as file:
        file.write(b"damage")
    scrubber = Scrubber(cache.stored, SystemClock(), rate=1000 * MIB)
    for _ in range(2):
        await scrubber.go_round()
    assert (scrubber.rounds, scrubber.damaged) == (2, 1)
    told = [(record.levelname, record.fields) for record in caplog.records if "checked" in record.message]  # type: ignore[attr-defined]
    assert [level for level, _ in told] == ["WARNING", "INFO"]
    assert (told[0][1]["damaged"], told[1][1]["damaged"]) == (1, 0)
    assert (told[0][1]["bodies"], told[1][1]["bodies"]) == (2, 1)


async def test_rounds_go_on_whatever_happens_in_one(
    cache: SqliteCache, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("etagere.scrubber.RETRY_S", 0.01)
    for n in range(3):
        await put(cache, str(n), 100)
    await database.write(lambda c: c.execute("UPDATE body SET content = x'00' WHERE id = '1'"))
    # What is damaged cannot be forgotten as long as nothing can be deleted.
    await database.write(
        lambda c: c.execute("CREATE TRIGGER stuck BEFORE DELETE ON representation BEGIN SELECT RAISE(ABORT, 'no'); END")
    )
    scrubber = Scrubber(cache.stored, SystemClock(), rate=1000 * MIB, every=0.01)
    going = asyncio.ensure_future(scrubber.scrub())
    async with asyncio.timeout(10):
        while not caplog.records:
            await settled(database)
        assert scrubber.rounds == 0
        await database.write(lambda c: c.execute("DROP TRIGGER stuck"))
        while scrubber.rounds < 3:
            await settled(database)
    going.cancel()
    assert scrubber.damaged == 1
