"""One bit is wrong, anywhere: it is found, set aside and computed again, and never served."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from pathlib import Path

import pytest

from etagere.caches.sqlite import SqliteCache
from etagere.core.representation import Representation
from etagere.database import Database
from etagere.testing.samples import ManualClock, resource
from etagere.testing.stored import Damage, StoredContract, checked, put
from etagere.testing.variants import variant

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@pytest.fixture
def cache(database: Database) -> SqliteCache:
    return make(database)


def make(database: Database) -> SqliteCache:
    return SqliteCache(database, ManualClock(), database.directory / "blobs", 1000 * MIB, 0)


def flip(path: Path) -> None:
    """Turn over one bit, and leave size and times as they are."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(place := random.randrange(found.st_size))
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1 << random.randrange(8)]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


async def flip_row(database: Database, key: str) -> None:
    (body,) = database.read("SELECT content FROM body WHERE id = ?", (key,)) or (b"",)
    flipped = bytearray(body)
    flipped[random.randrange(len(body))] ^= 1 << random.randrange(8)
    await database.write(lambda c: c.execute("UPDATE body SET content = ? WHERE id = ?", (bytes(flipped), key)))


async def read(cache: SqliteCache, found: Representation) -> bytes:
    return b"".join([chunk async for chunk in cache.stream(found)])


async def scrubbed(cache: SqliteCache) -> tuple[int, int]:
    """Bodies and damaged bodies of a whole round."""
    steps, _ = await checked(cache.stored)
    return sum(step.bodies for step in steps), sum(step.damaged for step in steps)


def aside(database: Database) -> list[str]:
    return sorted(path.name for path in (database.directory / "quarantine").glob("*"))


class TestStoredOfSqlite(StoredContract):
    @pytest.fixture
    def cache(self, database: Database) -> SqliteCache:
        return make(database)

    @pytest.fixture
    def damage(self, database: Database) -> Damage:
        async def damage(kept: Representation) -> None:
            if kept.path:
                flip(kept.path)
            else:
                await flip_row(database, kept.key)

        return damage


async def test_many_small_bodies_are_read_in_several_steps(cache: SqliteCache) -> None:
    for n in range(300):
        await put(cache, f"id{n}", b"%d" % n)
    assert await scrubbed(cache) == (300, 0)


async def test_every_flipped_bit_is_found(cache: SqliteCache, database: Database) -> None:
    bodies = {f"id{n}": os.urandom(random.choice([10, 5000, MIB + 1])) for n in range(24)}
    kept = {id: await put(cache, id, body) for id, body in bodies.items()}
    hurt = random.sample(sorted(bodies), 12)
    for id in hurt:
        if path := kept[id].path:
            flip(path)
        else:
            await flip_row(database, id)
    assert (await scrubbed(cache))[1] == 12
    assert {id for id in bodies if cache.get(id) is None} == set(hurt)
    assert all(cache.ghost(id) for id in bodies)
    assert set(aside(database)) <= {hashlib.sha256(bodies[id]).hexdigest() for id in hurt}
    for id in hurt:
        again = await put(cache, id, bodies[id])
        assert await read(cache, again) == bodies[id]
    assert (await scrubbed(cache))[1] == 0
    assert not cache.nondeterministic


async def test_a_damaged_file_of_a_variant_leaves_alone(cache: SqliteCache, database: Database) -> None:
    primary = await put(cache, "a", os.urandom(100))
    made = await cache.put_variant(primary, variant(primary, os.urandom(2 * MIB)))
    assert made.path is not None
    flip(made.path)
    assert await scrubbed(cache) == (2, 1)
    assert (cache.get("a"), cache.variant("a", "csv")) == (primary, None)
    assert aside(database) == [made.path.name]


async def test_a_damaged_body_in_memory_is_forgotten_too(database: Database) -> None:
    cache = SqliteCache(database, ManualClock(), database.directory / "blobs", 1000 * MIB, MIB)
    await put(cache, "a", b"right")
    await flip_row(database, "a")
    assert (await scrubbed(cache))[1] == 1
    assert cache.get("a") is None


@pytest.mark.parametrize("size", [100, 2 * MIB])
async def test_a_damaged_digest_is_damage(cache: SqliteCache, database: Database, size: int) -> None:
    for look in (scrubbed, lambda cache: asyncio.sleep(0, cache.get("a"))):
        kept = await put(cache, "a", os.urandom(size))
        wrong = bytes([kept.digest[0] ^ 1]) + kept.digest[1:]
        await database.write(lambda c, wrong=wrong: c.execute("UPDATE representation SET digest = ?", (wrong,)))
        await look(cache)
        assert cache.get("a") is None


async def test_content_that_several_share_is_lost_to_all(cache: SqliteCache, database: Database) -> None:
    body = os.urandom(2 * MIB)
    first, second = await put(cache, "a", body), await put(cache, "b", body)
    assert first.path == second.path
    assert first.path is not None
    flip(first.path)
    assert (await scrubbed(cache))[1] == 1
    assert (cache.get("a"), cache.get("b")) == (None, None)
    assert aside(database) == [first.path.name]


async def test_what_refers_to_nothing_is_swept_while_results_arrive(cache: SqliteCache, database: Database) -> None:
    lost, kept = await put(cache, "lost", os.urandom(2 * MIB)), await put(cache, "kept", os.urandom(2 * MIB))
    assert lost.path is not None
    assert kept.path is not None
    lost.path.unlink()
    (kept.path.parent / ("0" * 64)).write_bytes(b"no row")
    arriving = [asyncio.ensure_future(put(cache, f"new{n}", os.urandom(2 * MIB))) for n in range(5)]
    assert await cache.stored.sweep() == 2
    new = await asyncio.gather(*arriving)
    assert cache.get("lost") is None
    assert cache.ghost("lost") is not None
    for one in (kept, *new):
        assert len(await read(cache, one)) == one.size
    assert await cache.stored.sweep() == 0


async def test_after_an_unclean_stop_a_file_is_compared_before_it_is_used(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make(database)
    good, bad, worse = [await put(cache, name, os.urandom(2 * MIB)) for name in ("good", "bad", "worse")]
    assert bad.path is not None
    assert worse.path is not None
    flip(bad.path)
    flip(worse.path)
    database.doubted = True  # as after a kill
    cache = make(database)
    assert len(await read(cache, good)) == good.size
    for use in (lambda: read(cache, bad), lambda: cache.file(worse)):
        with pytest.raises(FileNotFoundError):
            await use()
    assert [cache.get(name) for name in ("good", "bad", "worse")] == [good, None, None]
    assert sorted(aside(database)) == sorted([bad.path.name, worse.path.name])
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert database.doubted
    assert (await scrubbed(cache))[1] == 0
    assert not database.doubted


async def test_many_who_want_a_doubted_file_at_once_get_it(database: Database) -> None:
    kept = await put(make(database), "a", os.urandom(3 * MIB))
    database.doubted = True
    cache = make(database)
    assert {len(body) for body in await asyncio.gather(*(read(cache, kept) for _ in range(20)))} == {3 * MIB}


async def test_a_doubted_file_that_is_written_again_is_trusted(database: Database) -> None:
    body = os.urandom(2 * MIB)
    kept = await put(make(database), "a", body)
    assert kept.path is not None
    flip(kept.path)
    database.doubted = True
    cache = make(database)
    await put(cache, "b", body)
    assert await read(cache, kept) == body
    assert aside(database) == []


async def test_what_is_collected_again_stays_in_doubt(database: Database) -> None:
    """A crash between the row and the end of the run has the collector put what the cache has."""
    kept = await put(make(database), "a", os.urandom(2 * MIB))
    assert kept.path is not None
    flip(kept.path)
    database.doubted = True
    cache = make(database)
    again = await cache.put(resource("a"), kept)
    assert again == kept
    with pytest.raises(FileNotFoundError):
        await read(cache, kept)


async def test_a_file_that_leaves_while_it_is_compared_is_no_damage(cache: SqliteCache, database: Database) -> None:
    for n in range(8):
        await put(cache, f"id{n}", os.urandom(2 * MIB))

    async def leave(_: int) -> None:
        await asyncio.gather(*(cache.discard(f"id{n}") for n in range(8)))

    last, damaged = "", 0
    while checked := await cache.stored.check(last, leave):
        last, damaged = checked.last, damaged + checked.damaged
    assert (damaged, aside(database)) == (0, [])
