from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.valkey import Store

from etagere.factory import SystemClock
from etagere.runs.feed import Feed
from etagere.runs.mirror import Mirror, Mirrored
from etagere.runs.valkey import Rules, ValkeyRunTable
from etagere.testing import InterestContract, PendingContract, RunTableContract, SharesContract
from etagere.testing.samples import ManualClock
from etagere.valkey import Valkey, read_scripts

pytestmark = pytest.mark.anyio

SCRIPTS = read_scripts("etagere.runs")
FOREVER = 1e9


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store")).start()
    yield store
    store.stop()


@pytest.fixture
def dropped() -> list[str]:
    return []


@asynccontextmanager
async def a_table(
    server: Store, clock: ManualClock, rules: Rules, heard: Callable[[str, Mirrored], None]
) -> AsyncIterator[ValkeyRunTable]:
    """A table in an empty store whose time is the clock's."""
    server.wipe()
    store = Valkey(server.url, "test", lambda: (repr(clock.now()), repr(clock.monotonic())))
    await store.open()
    mirror = Mirror(heard)
    feed = Feed(store, SCRIPTS, mirror, SystemClock(), "node", dict)
    ready = asyncio.Event()
    following = asyncio.create_task(feed.follow(ready.set))
    await ready.wait()
    yield ValkeyRunTable(store, SCRIPTS, mirror, feed, clock, rules, lease=FOREVER, worker="worker")
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await store.close()


class TestValkeyRunTable(RunTableContract):
    @pytest.fixture
    async def table(self, server: Store, clock: ManualClock) -> AsyncIterator[ValkeyRunTable]:
        async with a_table(server, clock, Rules(self.MAX_PENDING, self.concurrency), lambda *_: None) as table:
            yield table


class TestShares(SharesContract):
    @pytest.fixture
    async def table(self, server: Store, clock: ManualClock) -> AsyncIterator[ValkeyRunTable]:
        rules = Rules(self.MAX_PENDING, RunTableContract.concurrency)
        async with a_table(server, clock, rules, lambda *_: None) as table:
            yield table


class TestInterest(InterestContract):
    @pytest.fixture
    async def table(self, server: Store, clock: ManualClock, dropped: list[str]) -> AsyncIterator[ValkeyRunTable]:
        rules = Rules(self.MAX_PENDING, lambda _: None, patience=self.PATIENCE, needless={"needless@1"})
        async with a_table(server, clock, rules, note_dropped(dropped)) as table:
            yield table


class TestPending(PendingContract):
    @pytest.fixture
    async def table(self, server: Store, clock: ManualClock, dropped: list[str]) -> AsyncIterator[ValkeyRunTable]:
        async with a_table(server, clock, Rules(100, lambda _: None), note_dropped(dropped)) as table:
            yield table


def note_dropped(dropped: list[str]) -> Callable[[str, Mirrored], None]:
    def heard(event: str, entry: Mirrored) -> None:
        if event in ("drop", "cancel"):
            dropped.append(entry.run.id)

    return heard
