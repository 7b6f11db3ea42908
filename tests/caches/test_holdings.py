"""All that is kept, counted and forgotten."""

from __future__ import annotations

import pytest

from etagere.caches.lent import LENT_S
from etagere.caches.sqlite import SqliteCache
from etagere.database import Database
from etagere.testing import HoldingsContract
from etagere.testing.holdings import LARGE
from etagere.testing.samples import EPOCH, ManualClock, representation, resource

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024


@pytest.fixture
def cache(database: Database, clock: ManualClock) -> SqliteCache:
    return SqliteCache(database, clock, database.directory / "blobs", 100 * MIB, 10 * MIB)


class TestSqliteHoldings(HoldingsContract):
    pass


async def test_files_are_removed_and_lent_ones_later(
    cache: SqliteCache, clock: ManualClock, database: Database
) -> None:
    for id in "ab":
        await cache.put(resource(id), representation(id, id.encode() * LARGE))
    lent = cache.get("a")
    assert [chunk async for chunk in cache.stream(lent, 0, 0)] == []  # type: ignore[arg-type]
    blobs = database.directory / "blobs"
    await cache.holdings.purge("heat", EPOCH + 1)
    assert [path.name for path in blobs.glob("*/*")] == [lent.path.name]  # type: ignore[union-attr]
    clock.advance(LENT_S)
    await cache.holdings.purge("heat", EPOCH + 1)
    await cache.put(resource("c"), representation("c", b"c"))
    await cache.close()
    assert list(blobs.glob("*/*")) == []


async def test_a_model_is_found_after_a_restart_in_another_cache(
    cache: SqliteCache, clock: ManualClock, database: Database
) -> None:
    await cache.put(resource("a", "old@1"), representation("a", b"a"))
    again = SqliteCache(database, clock, database.directory / "blobs", 100 * MIB, 10 * MIB)
    assert (await again.holdings.purge("old@1", EPOCH + 1)).results == 1
    assert again.get("a") is None
