"""Variants leave with their primary, count towards the limit, and are never those of other bytes."""

from __future__ import annotations

import pytest

from etagere.caches.sqlite import SqliteCache
from etagere.core.representation import Representation
from etagere.database import Database
from etagere.testing.samples import ManualClock, representation, resource
from etagere.testing.variants import VariantsContract
from etagere.testing.variants import variant as of

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


def make(database: Database, size: int = 100 * MIB, memory: int = MIB) -> SqliteCache:
    return SqliteCache(database, ManualClock(), database.directory / "blobs", size, memory, keep=0.0)


async def put(cache: SqliteCache, id: str, body: bytes = b"primary") -> Representation:
    kept = await cache.put(resource(id), representation(id, body))
    assert isinstance(kept, Representation)
    return kept


def blobs(database: Database) -> int:
    return sum(path.is_file() for path in (database.directory / "blobs").rglob("*"))


class TestVariantsOfSqlite(VariantsContract):
    @pytest.fixture
    def cache(self, database: Database) -> SqliteCache:
        return make(database)


class TestVariantsOfSqliteWithoutMemory(VariantsContract):
    @pytest.fixture
    def cache(self, database: Database) -> SqliteCache:
        return make(database, memory=0)


async def test_discarding_the_primary_takes_its_variants_along(database: Database) -> None:
    cache = make(database)
    primary, other = await put(cache, "a"), await put(cache, "b", b"another")
    large = await cache.put_variant(primary, of(primary, b"x" * (MIB + 1)))
    assert large.path is not None
    await cache.put_variant(other, of(other, b"y"))
    assert blobs(database) == 1
    await cache.discard("a")
    assert (cache.get("a"), cache.variant("a", "csv"), blobs(database)) == (None, None, 0)
    assert cache.variant("b", "csv") is not None


async def test_variants_count_and_leave_with_the_oldest_primary(database: Database) -> None:
    cache = make(database, size=5 * MIB, memory=0)
    old = await put(cache, "old", b"o" * MIB)
    await cache.put_variant(old, of(old, b"v" * (2 * MIB)))
    new = await put(cache, "new", b"n" * MIB)
    assert cache.variant("old", "csv") is not None
    await cache.put_variant(new, of(new, b"w" * (2 * MIB)))
    assert (cache.get("old"), cache.variant("old", "csv")) == (None, None)
    assert (cache.get("new"), blobs(database)) == (new, 1)
    assert cache.variant("new", "csv") is not None
    assert database.read("SELECT bytes FROM total") == (3 * MIB,)


async def test_a_variant_does_not_drive_out_its_own_primary(database: Database) -> None:
    cache = make(database, size=2 * MIB, memory=0)
    primary = await put(cache, "a", b"p" * MIB)
    await cache.put_variant(primary, of(primary, b"v" * MIB))
    await cache.put_variant(primary, of(primary, b"z" * MIB, coding="gzip"))
    assert cache.get("a") == primary


async def test_variants_of_a_primary_whose_body_was_damaged_are_not_those_of_the_next(database: Database) -> None:
    cache = make(database, memory=0)
    primary = await put(cache, "a")
    await cache.put_variant(primary, of(primary, b"x" * (MIB + 1)))
    await database.write(lambda connection: connection.execute("UPDATE body SET content = x'00' WHERE id = 'a'"))
    assert cache.get("a") is None
    await put(cache, "a", b"other bytes")
    assert (cache.variant("a", "csv"), blobs(database)) == (None, 0)


async def test_a_large_variant_is_streamed(database: Database) -> None:
    cache = make(database)
    primary = await put(cache, "a")
    body = bytes(range(256)) * 8192
    kept = await cache.put_variant(primary, of(primary, body))
    assert kept.body is None
    assert b"".join([chunk async for chunk in cache.stream(kept)]) == body
