from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from etagere.caches.lent import LENT_S
from etagere.caches.sqlite import TOUCHES_EVERY_S, SqliteCache
from etagere.core.representation import Representation, Resource
from etagere.core.tally import Held
from etagere.database import Database
from etagere.errors import InternalError, StorageFull
from etagere.testing import CacheContract
from etagere.testing.samples import EPOCH, ManualClock, failure, representation, resource

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@pytest.fixture
def cache(database: Database, clock: ManualClock) -> SqliteCache:
    return make(database, clock)


def make(
    database: Database, clock: ManualClock, size: int = 1000 * MIB, memory: int = MIB, **options: float
) -> SqliteCache:
    return SqliteCache(database, clock, database.directory / "blobs", size, memory, **options)  # type: ignore[arg-type]


class TestSqliteCache(CacheContract):
    @pytest.fixture
    def cache(self, database: Database, clock: ManualClock) -> SqliteCache:
        return make(database, clock)


class TestSqliteCacheWithoutMemory(CacheContract):
    @pytest.fixture
    def cache(self, database: Database, clock: ManualClock) -> SqliteCache:
        return make(database, clock, memory=0)


def in_file(path: Path, body: bytes, id: str = "a") -> Representation:
    path.write_bytes(body)
    digest = hashlib.sha256(body).digest()
    return Representation(id, "bin", "application/octet-stream", digest, len(body), EPOCH, 1.5, path=path)


def files(cache: SqliteCache, database: Database) -> list[Path]:
    return [path for path in (database.directory / "blobs").rglob("*") if path.is_file()]


async def settled(database: Database) -> None:
    """Everything posted so far is done."""
    await database.write(lambda _: None)


async def test_results_survive_a_restart(
    database: Database, cache: SqliteCache, clock: ManualClock, tmp_path: Path
) -> None:
    small = await cache.put(resource("small"), representation("small", b"body"))
    large = await cache.put(resource("large"), in_file(tmp_path / "large", b"x" * 2 * MIB, "large"))
    failed = await cache.put(resource("failed"), failure("failed", EPOCH + 60))
    await cache.close()
    await database.close()
    again = Database(database.directory)
    cache = make(again, clock)
    assert [cache.get(id) for id in ("small", "large", "failed")] == [small, large, failed]
    assert isinstance(large, Representation)
    assert large.path is not None
    assert large.path.is_absolute()
    await again.close()


async def test_a_damaged_body_is_never_served(
    database: Database, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make(database, clock, memory=0)
    await cache.put(resource("a"), representation("a", b"right"))
    for damage in ("UPDATE body SET content = x'00'", "DELETE FROM body"):
        await database.write(lambda connection, damage=damage: connection.execute(damage))
        caplog.clear()
        assert cache.get("a") is None
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        await settled(database)
        assert database.read("SELECT count(*) FROM representation") == (0,)
        assert cache.ghost("a") is not None
        await cache.put(resource("a"), representation("a", b"right"))
        assert cache.get("a") == representation("a", b"right")
    assert not cache.nondeterministic


async def test_a_damaged_body_is_replaced_by_a_sound_one(database: Database, clock: ManualClock) -> None:
    cache = make(database, clock, memory=0)
    await cache.put(resource("a"), representation("a", b"right"))
    await database.write(lambda connection: connection.execute("UPDATE body SET content = x'00'"))
    putting = asyncio.ensure_future(cache.put(resource("a"), representation("a", b"right")))
    await asyncio.sleep(0)
    cache.get("a")
    await putting
    await settled(database)
    assert cache.get("a") == representation("a", b"right")


async def test_a_damaged_file_is_not_found(cache: SqliteCache, tmp_path: Path) -> None:
    kept = await cache.put(resource("a"), in_file(tmp_path / "result", b"x" * 2 * MIB))
    assert isinstance(kept, Representation)
    assert kept.path is not None
    with kept.path.open("r+b") as file:
        file.write(b"y")
    with pytest.raises(FileNotFoundError):
        await anext(cache.stream(kept))


async def test_large_bytes_become_a_file(cache: SqliteCache, database: Database) -> None:
    body = os.urandom(2 * MIB)
    kept = await cache.put(resource("a"), representation("a", body))
    assert isinstance(kept, Representation)
    assert kept.body is None
    assert kept.path in files(cache, database)
    assert b"".join([chunk async for chunk in cache.stream(kept)]) == body


async def test_a_stream_that_is_abandoned_closes_its_file(cache: SqliteCache, tmp_path: Path) -> None:
    kept = await cache.put(resource("a"), in_file(tmp_path / "result", b"x" * 2 * MIB))
    assert isinstance(kept, Representation)
    before = len(os.listdir("/proc/self/fd"))
    stream = cache.stream(kept)
    await anext(stream)
    assert len(os.listdir("/proc/self/fd")) > before
    await stream.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_the_same_content_is_one_file_until_nobody_needs_it(
    cache: SqliteCache, database: Database, tmp_path: Path
) -> None:
    for id in "ab":
        await cache.put(resource(id), in_file(tmp_path / id, b"z" * 2 * MIB, id))
    assert len(files(cache, database)) == 1
    first, second = cache.get("a"), cache.get("b")
    assert isinstance(first, Representation)
    assert isinstance(second, Representation)
    assert [len(chunk) async for chunk in cache.stream(first)] == [len(chunk) async for chunk in cache.stream(second)]
    await cache.discard("a")
    assert len(files(cache, database)) == 1
    await cache.discard("b")
    assert files(cache, database) == []


async def test_putting_again_what_is_kept_changes_nothing(
    cache: SqliteCache, database: Database, tmp_path: Path
) -> None:
    kept = await cache.put(resource("a"), in_file(tmp_path / "result", b"x" * 2 * MIB))
    assert await cache.put(resource("a"), kept) == kept
    again = await cache.put(resource("a"), in_file(tmp_path / "again", b"x" * 2 * MIB))
    assert again == kept
    assert not (tmp_path / "again").exists()
    assert isinstance(kept, Representation)
    assert sum([len(chunk) async for chunk in cache.stream(kept)]) == 2 * MIB


async def test_another_result_is_reported(
    cache: SqliteCache, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await cache.put(resource("a"), in_file(tmp_path / "first", b"1" * 2 * MIB))
    kept = await cache.put(resource("a"), in_file(tmp_path / "second", b"2" * 2 * MIB))
    assert (tmp_path / "second").exists()
    assert len(files(cache, database)) == 1
    assert kept.id == "a"
    (record,) = caplog.records
    assert (record.levelname, "id=a" in record.message) == ("WARNING", True)
    await cache.discard("a")
    await cache.put(resource("a"), representation("a", b"third"))
    assert cache.nondeterministic == {"heat@1": 2}
    ghost = cache.ghost("a")
    assert ghost is not None
    assert ghost.digest == hashlib.sha256(b"third").digest()


async def test_a_failure_does_not_take_the_digest_from_the_ghost(cache: SqliteCache) -> None:
    given = representation("a", b"body")
    await cache.put(resource("a"), given)
    await cache.discard("a")
    await cache.put(resource("a"), failure("a", EPOCH + 60))
    ghost = cache.ghost("a")
    assert ghost is not None
    assert ghost.digest == given.digest
    assert not cache.nondeterministic


async def test_one_id_is_one_canonical_uri(cache: SqliteCache, database: Database, tmp_path: Path) -> None:
    await cache.put(resource("a"), failure("a", EPOCH + 60))
    given = in_file(tmp_path / "result", b"x" * 2 * MIB)
    with pytest.raises(InternalError):
        await cache.put(resource("a", model="other@1"), given)
    assert given.path is not None
    assert given.path.exists()
    assert files(cache, database) == []


async def test_the_least_recently_used_leave_first(database: Database, clock: ManualClock, tmp_path: Path) -> None:
    cache = make(database, clock, size=7 * MIB, keep=0)
    for id in "abc":
        await cache.put(resource(id), in_file(tmp_path / id, id.encode() * 2 * MIB, id))
        clock.advance(1)
    assert cache.get("a") is not None
    clock.advance(1)
    await cache.put(resource("d"), in_file(tmp_path / "d", b"d" * 2 * MIB, "d"))
    assert [id for id in "abcd" if cache.get(id)] == ["a", "c", "d"]
    assert len(files(cache, database)) == 3
    assert cache.ghost("b") is not None
    assert database.read("SELECT bytes, ghosts FROM total") == (6 * MIB, 4)


async def test_new_results_are_safe_from_eviction_for_a_while(database: Database, clock: ManualClock) -> None:
    cache = make(database, clock, size=2500, keep=90)
    for id in "abcd":
        await cache.put(resource(id), representation(id, os.urandom(1000)))
        clock.advance(1)
    assert all(cache.get(id) for id in "abcd")
    clock.advance(90)
    await cache.put(resource("e"), representation("e", os.urandom(1000)))
    assert [id for id in "abcde" if cache.get(id)] == ["d", "e"]


async def test_a_result_that_is_awaited_is_safe_for_longer(database: Database, clock: ManualClock) -> None:
    cache = make(database, clock, size=2500, keep=90)
    for id in "abc":
        awaited = 1800 if id == "a" else 0
        await cache.put(resource(id), replace(representation(id, os.urandom(1000)), awaited=awaited))
        clock.advance(1)
    clock.advance(1700)
    await cache.put(resource("d"), representation("d", os.urandom(1000)))
    assert [id for id in "abcd" if cache.get(id)] == ["a", "d"]


async def test_a_result_larger_than_the_cache_is_kept_until_the_next(database: Database, clock: ManualClock) -> None:
    cache = make(database, clock, size=100, keep=0)
    await cache.put(resource("a"), representation("a", b"x" * 1000))
    assert cache.get("a") is not None
    await cache.put(resource("b"), representation("b", b"y"))
    assert cache.get("a") is None


async def test_what_it_holds_in_numbers(database: Database, clock: ManualClock) -> None:
    cache = make(database, clock, size=2 * MIB, keep=0)
    assert cache.held() == Held(0, 0, 0, 0)
    for name in "abc":
        clock.advance(1)
        await cache.put(resource(name), representation(name, bytes(900_000)))
    assert cache.held() == Held(1_800_000, 2, 3, 1)
    await cache.discard("c")
    assert cache.held() == Held(900_000, 1, 3, 1)


async def test_eviction_does_not_break_a_stream(database: Database, clock: ManualClock, tmp_path: Path) -> None:
    cache = make(database, clock, size=3 * MIB, keep=0)
    kept = await cache.put(resource("a"), in_file(tmp_path / "a", b"a" * 2 * MIB))
    assert isinstance(kept, Representation)
    stream = cache.stream(kept)
    received = await anext(stream)
    await cache.put(resource("b"), in_file(tmp_path / "b", b"b" * 2 * MIB, "b"))
    assert cache.get("a") is None
    async for chunk in stream:
        received += chunk
    assert received == b"a" * 2 * MIB


async def test_uses_are_written_in_batches(database: Database, cache: SqliteCache, clock: ManualClock) -> None:
    await cache.put(resource("a"), representation("a", b"body"))
    used = "SELECT used, asked FROM representation JOIN ghost USING (id)"
    clock.advance(1)
    cache.get("a")
    await settled(database)
    assert database.read(used) == (EPOCH, EPOCH)
    clock.advance(TOUCHES_EVERY_S)
    cache.get("a")
    await settled(database)
    assert database.read(used) == (clock.now(), clock.now())


async def test_hits_in_memory_read_no_row(database: Database, cache: SqliteCache) -> None:
    given = await cache.put(resource("a"), representation("a", b"body"))
    await database.write(lambda connection: connection.execute("DELETE FROM representation"))
    assert cache.get("a") is given


async def test_memory_is_bounded(database: Database, clock: ManualClock) -> None:
    cache = make(database, clock, memory=100_000)
    for n in range(20):
        await cache.put(resource(str(n)), representation(str(n), b"x" * 10_000))
    await database.write(lambda connection: connection.execute("DELETE FROM representation"))
    held = [n for n in range(20) if cache.get(str(n))]
    assert held == list(range(20))[-len(held) :]
    assert 5 <= len(held) <= 10


async def test_ghosts_and_their_failures_are_bounded(database: Database, clock: ManualClock) -> None:
    cache = make(database, clock, ghosts=10, memory=0)
    for n in range(10):
        await cache.put(resource(str(n)), failure(str(n), float("inf")))
        clock.advance(1)
    cache.ghost("0")
    clock.advance(1)
    for n in range(10, 13):
        await cache.put(resource(str(n)), failure(str(n), float("inf")))
    known = [n for n in range(13) if cache.ghost(str(n))]
    assert known == [0, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert [n for n in range(13) if cache.get(str(n))] == known


async def test_a_ghost_of_a_long_uri_counts_as_several(database: Database, clock: ManualClock) -> None:
    cache = make(database, clock, ghosts=10)
    for name, size in (("a", 0), ("b", 5 * 16384), ("c", 0), ("d", 3 * 16384)):
        await cache.put(Resource(name, f"/m@1?x={'y' * size}", "m@1", "default"), representation(name, b"z"))
        clock.advance(1)
    assert [name for name in "abcd" if cache.ghost(name)] == ["c", "d"]
    assert database.read("SELECT ghosts FROM total") == (5,)


async def test_expired_failures_are_deleted_by_and_by(
    database: Database, cache: SqliteCache, clock: ManualClock
) -> None:
    await cache.put(resource("a"), failure("a", clock.now() + 10))
    clock.advance(20)
    await cache.put(resource("b"), failure("b", clock.now() + 10))
    assert database.rows("SELECT id FROM failure") == [("b",)]


async def test_what_a_crash_left_is_swept(database: Database, cache: SqliteCache, tmp_path: Path) -> None:
    kept = await cache.put(resource("a"), in_file(tmp_path / "a", b"a" * 2 * MIB))
    assert isinstance(kept, Representation)
    assert kept.path is not None
    (kept.path.parent / ("0" * 64)).write_bytes(b"no row")
    kept.path.with_suffix(".tmp").write_bytes(b"half")
    assert await cache.stored.sweep() == 2
    assert files(cache, database) == [kept.path]


async def test_a_put_that_is_cancelled_is_whole(database: Database, cache: SqliteCache, tmp_path: Path) -> None:
    putting = asyncio.ensure_future(cache.put(resource("a"), in_file(tmp_path / "a", b"a" * 2 * MIB)))
    await asyncio.sleep(0)
    putting.cancel()
    while (kept := cache.get("a")) is None:
        await settled(database)
    assert putting.cancelled()
    assert isinstance(kept, Representation)
    assert sum([len(chunk) async for chunk in cache.stream(kept)]) == 2 * MIB
    await cache.close()


async def test_many_puts_at_once_of_few_ids(cache: SqliteCache, database: Database, tmp_path: Path) -> None:
    given = [in_file(tmp_path / str(n), str(n % 3).encode() * 2 * MIB, f"id{n % 3}") for n in range(12)]
    await asyncio.gather(*(cache.put(resource(each.id), each) for each in given), *(cache.discard("id0") for _ in "12"))
    assert not cache.nondeterministic
    for id in ("id1", "id2"):
        kept = cache.get(id)
        assert isinstance(kept, Representation)
        assert sum([len(chunk) async for chunk in cache.stream(kept)]) == 2 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Database]:
    database = Database(directory)
    try:
        yield database
    finally:
        await database.close()


async def test_a_full_disk_changes_nothing_and_room_heals(small_disk: Path, clock: ManualClock, tmp_path: Path) -> None:
    async with opened(small_disk / "data") as database:
        cache = make(database, clock, memory=0)
        before = await cache.put(resource("before"), representation("before", b"body"))
        (small_disk / "ballast").write_bytes(b"x" * 10 * MIB)
        given = [
            in_file(tmp_path / "a", b"a" * 3 * MIB, "a"),
            representation("b", os.urandom(900 * 1024)),
            representation("c", os.urandom(900 * 1024)),
        ]
        for _ in range(3):
            results = await asyncio.gather(*(cache.put(resource(r.id), r) for r in given), return_exceptions=True)
            assert StorageFull in [type(result) for result in results]
        assert isinstance(results[0], StorageFull)
        assert given[0].path is not None
        assert given[0].path.stat().st_size == 3 * MIB
        assert cache.get("a") is None
        assert files(cache, database) == []
        assert cache.get("before") == before
        (small_disk / "ballast").unlink()
        for each in given:
            assert (await cache.put(resource(each.id), each)).id == each.id
        assert not given[0].path.exists()
        for each in given:
            kept = cache.get(each.id)
            assert isinstance(kept, Representation)
            assert sum([len(chunk) async for chunk in cache.stream(kept)]) == each.size
    async with opened(small_disk / "data") as database:
        cache = make(database, clock, memory=0)
        assert cache.get("before") == before
        assert database.read("PRAGMA integrity_check") == ("ok",)


async def test_a_file_whose_row_finds_no_room_stays_where_it_was(
    database: Database, cache: SqliteCache, tmp_path: Path
) -> None:
    given = in_file(tmp_path / "a", b"a" * 2 * MIB)
    long = resource("a", model="m" * 1_000_000)
    (pages,) = database.read("PRAGMA page_count") or (0,)
    await database.write(lambda connection: connection.pragma("max_page_count", pages))
    for _ in range(2):
        with pytest.raises(StorageFull):
            await cache.put(long, given)
        assert given.path is not None
        assert given.path.exists()
        assert files(cache, database) == []
        assert (cache.get("a"), cache.ghost("a")) == (None, None)
    await database.write(lambda connection: connection.pragma("max_page_count", 1_000_000))
    kept = await cache.put(long, given)
    assert isinstance(kept, Representation)
    assert files(cache, database) == [kept.path]
    assert not given.path.exists()


async def lent(cache: SqliteCache, path: Path, id: str = "a") -> Path:
    """The path of a file that was lent."""
    kept = await cache.put(resource(id), in_file(path, id.encode() * 2 * MIB, id))
    assert isinstance(kept, Representation)
    assert [chunk async for chunk in cache.stream(kept, 0, 0)] == []
    assert kept.path is not None
    return kept.path


async def test_a_lent_file_leaves_after_a_while(cache: SqliteCache, clock: ManualClock, tmp_path: Path) -> None:
    path = await lent(cache, tmp_path / "result")
    await cache.discard("a")
    clock.advance(LENT_S / 2)
    await cache.put(resource("b"), representation("b", b"small"))
    assert path.exists()
    clock.advance(LENT_S / 2)
    await cache.put(resource("c"), representation("c", b"small"))
    assert not path.exists()


async def test_a_lent_file_leaves_at_the_end(cache: SqliteCache, database: Database, tmp_path: Path) -> None:
    gone, wanted = await lent(cache, tmp_path / "a"), await lent(cache, tmp_path / "b", "b")
    await cache.discard("a")
    assert set(files(cache, database)) == {gone, wanted}
    await cache.close()
    assert files(cache, database) == [wanted]


async def test_a_lent_file_that_is_wanted_again_stays(cache: SqliteCache, clock: ManualClock, tmp_path: Path) -> None:
    path = await lent(cache, tmp_path / "result")
    await cache.discard("a")
    assert await lent(cache, tmp_path / "again") == path
    clock.advance(LENT_S)
    await cache.put(resource("c"), representation("c", b"small"))
    await cache.close()
    assert path.exists()
