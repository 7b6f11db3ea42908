"""What a cache tells of results that were not the same when they were computed again."""

from __future__ import annotations

import pytest

from etagere.caches.sqlite import SqliteCache
from etagere.database import Database
from etagere.testing.differences import DifferencesContract
from etagere.testing.samples import ManualClock, representation, resource

pytestmark = pytest.mark.anyio


@pytest.fixture
def cache(database: Database, clock: ManualClock) -> SqliteCache:
    return make(database, clock)


def make(database: Database, clock: ManualClock, ghosts: int = 100) -> SqliteCache:
    return SqliteCache(database, clock, database.directory / "blobs", 1 << 30, 1 << 20, ghosts=ghosts)


class TestSqliteCache(DifferencesContract):
    """With ghosts in the database."""


async def put_two(cache: SqliteCache, name: str, model: str = "heat@1") -> None:
    for body in (b"one", b"two"):
        await cache.put(resource(name, model), representation(name, body))


async def test_a_difference_outlives_the_service(database: Database, cache: SqliteCache, clock: ManualClock) -> None:
    await put_two(cache, "a")
    told = cache.ghost("a")
    await cache.close()
    await database.close()
    again = Database(database.directory)
    assert make(again, clock).ghost("a") == told
    await again.close()


async def test_a_late_result_is_compared_though_the_ghost_is_forgotten(database: Database, cache: SqliteCache) -> None:
    await cache.put(resource("a"), representation("a", b"one"))
    await database.write(lambda connection: connection.execute("DELETE FROM ghost"))
    await cache.put(resource("a"), representation("a", b"two"))
    assert cache.nondeterministic == {"heat@1": 1}


async def test_there_are_no_more_differences_than_ghosts(database: Database, clock: ManualClock) -> None:
    cache = make(database, clock, ghosts=10)
    for n in range(30):
        await put_two(cache, f"r{n}")
        clock.advance(1)
    ghosts, differences = (database.rows(f"SELECT id FROM {name} ORDER BY id") for name in ("ghost", "difference"))
    assert len(ghosts) == 10
    assert differences == ghosts


async def test_differences_are_counted_for_each_model(cache: SqliteCache, caplog: pytest.LogCaptureFixture) -> None:
    await put_two(cache, "a")
    await put_two(cache, "b", "tank@2")
    await put_two(cache, "c", "tank@2")
    assert cache.nondeterministic == {"heat@1": 1, "tank@2": 2}
    assert "id=a model=heat@1 first=" in caplog.text
