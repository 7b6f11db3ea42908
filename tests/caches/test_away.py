"""The cache of a node, and how results come there: what was purged while it was on its way does not stay."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.caches.sharing import connected
from tests.valkey import Store

from etagere.caches.away import AwayCache
from etagere.caches.blobstore import BlobStore
from etagere.caches.shared import PURGES, SharedCache
from etagere.core.clients import Asker
from etagere.core.lifecycle import Run
from etagere.core.representation import Representation, Resource
from etagere.core.tally import Tally
from etagere.database import Database
from etagere.errors import StorageFull
from etagere.factory.node import _forget, _Heard
from etagere.presence import NodePresence
from etagere.tasks import cancel
from etagere.testing.samples import EPOCH, ManualClock, representation, resource
from etagere.waiters import Waiters

pytestmark = pytest.mark.anyio
BODY = bytes(2_000_000)


class NothingPending:
    """A run table."""

    fresh = True

    def get(self, id: str) -> Run | None:
        return None

    async def look(self, id: str) -> None:
        raise AssertionError("all is known")

    async def submit_unless_finished(self, resource: Resource, asker: Asker) -> Run | None:
        raise AssertionError("nothing is started")


class Slow(BlobStore):
    """A directory whose blobs take as long as they are told to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory.as_uri())
        self.asked = asyncio.Event()
        self.given = asyncio.Event()

    async def fetch(self, name: str, target: Path, size: int, digest: bytes) -> None:
        await super().fetch(name, target, size, digest)
        self.asked.set()
        await self.given.wait()


class Node:
    """What a node has of its own, and its way to what all share; there is a large result `a`."""

    def __init__(self, directory: Path, shared: SharedCache, blobs: Slow) -> None:
        self.database = Database(directory / "data")
        clock = ManualClock()
        self.cache = AwayCache(self.database, clock, directory / "data" / "blobs", 1 << 30, 1 << 20)
        self.incoming = directory / "incoming"
        self.presence = NodePresence(NothingPending(), self.cache, shared, self.incoming, away=False)
        self.shared, self.blobs = shared, blobs

    def left(self) -> list[str]:
        return sorted(path.name for path in self.incoming.rglob("*") if path.is_file())


@pytest.fixture
async def node(server: Store, tmp_path: Path) -> AsyncIterator[Node]:
    server.wipe()
    (tmp_path / "blobs").mkdir()
    (tmp_path / "a").write_bytes(BODY)
    blobs = Slow(tmp_path / "blobs")
    async with connected(server) as store:
        shared = SharedCache(store, blobs, ManualClock(), 60)
        digest = hashlib.sha256(BODY).digest()
        large = replace(representation("a", BODY), digest=digest, body=None, path=tmp_path / "a")
        await shared.put(resource("a"), large)
        node = Node(tmp_path, shared, blobs)
        yield node
        await node.cache.close()
        await node.database.close()


@pytest.mark.parametrize("purged", [True, False])
async def test_what_is_purged_while_it_is_brought_does_not_stay(node: Node, purged: bool) -> None:
    loading = asyncio.create_task(node.presence.load("a"))
    await node.blobs.asked.wait()
    if purged:
        await node.cache.forget(None, EPOCH + 1)
    node.blobs.given.set()
    await loading
    assert isinstance(node.cache.get("a"), Representation) is not purged
    assert node.left() == []


async def test_what_finds_no_room_leaves_nothing(node: Node) -> None:
    node.blobs.given.set()
    await node.database.write(lambda connection: connection.pragma("query_only", True))
    with pytest.raises(StorageFull):
        await node.presence.load("a")
    assert node.blobs.asked.is_set()
    assert node.left() == []


async def test_who_has_missed_more_purges_than_are_known_forgets_all(node: Node) -> None:
    for _ in range(PURGES + 1):
        await node.shared.purge("rod", EPOCH)
    assert len(await node.shared.purges(PURGES)) == PURGES
    node.blobs.given.set()
    await node.presence.load("a")
    for model, before in await node.shared.purges(PURGES + 1):
        await node.cache.forget(model, before)
    assert node.cache.get("a") is None


async def test_a_purge_that_is_heard_of_while_another_is_done_is_done_too(node: Node) -> None:
    heard, beginning, going_on = _Heard(Waiters(1), Tally()), asyncio.Event(), asyncio.Event()
    forgotten: asyncio.Queue[str | None] = asyncio.Queue()

    class Slow(AwayCache):
        async def forget(self, model: str | None, before: float) -> None:
            beginning.set()
            await going_on.wait()
            forgotten.put_nowait(model)

    cache: Any = Slow(node.database, ManualClock(), node.incoming / "blobs", 1 << 30, 1 << 20)
    cluster: Any = SimpleNamespace(shared=node.shared)
    following = asyncio.create_task(_forget(heard, cluster, cache))
    await node.shared.purge("first", EPOCH)
    heard.pulse(False, 1)
    await beginning.wait()
    await node.shared.purge("second", EPOCH)
    heard.pulse(False, 2)
    going_on.set()
    async with asyncio.timeout(10):
        assert [await forgotten.get() for _ in range(2)] == ["first", "second"]
    await cancel([following])
    await cache.close()
