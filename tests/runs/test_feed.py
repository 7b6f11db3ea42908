"""A mirror is true, or it is known not to be."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.valkey import Store

from etagere.core.lifecycle import Event
from etagere.factory import SystemClock
from etagere.runs.feed import PULSE_S, UNCONFIRMED_S, Feed
from etagere.runs.mirror import Mirror, Mirrored
from etagere.runs.rules import Rules
from etagere.runs.valkey import ValkeyRunTable
from etagere.tasks import cancel
from etagere.testing.samples import resource
from etagere.valkey import Valkey, read_scripts

pytestmark = pytest.mark.anyio

SCRIPTS = read_scripts("etagere.runs")
NOTICED_S = 10 * PULSE_S


class Node:
    """A run table and its feed; `news` is set when its mirror is true again, `gone` are those that it missed."""

    def __init__(self, server: Store) -> None:
        self.store = Valkey(server.url, "test")
        self.news = asyncio.Event()
        self.gone: list[str] = []
        self._heard: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.ended = asyncio.Event()
        self.mirror = mirror = Mirror(self._hear)
        self.feed = Feed(self.store, SCRIPTS, mirror, SystemClock(), "node", dict)
        rules = Rules(100, lambda _: None)
        self.table = ValkeyRunTable(self.store, SCRIPTS, mirror, self.feed, SystemClock(), rules, lease=30)

    async def heard(self, id: str) -> None:
        """Wait until this run was heard of."""
        async with asyncio.timeout(NOTICED_S):
            await self._heard[id].wait()

    def _hear(self, event: str, entry: Mirrored) -> None:
        self._heard[entry.run.id].set()
        if entry.run.ended:
            self.ended.set()
        if event == "gone":
            self.gone.append(entry.run.id)

    async def again(self) -> None:
        """Wait until all is read anew."""
        async with asyncio.timeout(NOTICED_S):
            await self.news.wait()
        self.news.clear()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store")).start()
    yield store
    store.stop()


@asynccontextmanager
async def following(server: Store) -> AsyncIterator[Node]:
    node = Node(server)
    task = asyncio.create_task(node.feed.follow(node.news.set))
    await node.again()
    yield node
    # What the client waits with may swallow a cancellation.
    await cancel([task], again=1.0)
    await node.store.close()


async def test_what_was_there_before_and_comes_after_is_known(server: Store) -> None:
    async with following(server) as first:
        await first.table.submit(resource("a"))
        async with following(server) as second:
            assert second.table.get("a") == first.table.get("a")
            for n in range(3):
                await first.table.submit(resource(f"b{n}"))
            await second.heard("b2")
            assert second.table.counts() == first.table.counts()


async def test_a_change_that_was_not_heard_of_is_noticed(server: Store) -> None:
    """Here one that nobody has published."""
    async with following(server) as node:
        await node.table.submit(resource("a"))
        await node.store.do("DEL", node.store.key("run:a"))
        await node.store.do("ZREM", node.store.key("runs"), "a")
        await node.store.do("HINCRBY", node.store.key("meta"), "seq", 1)
        await node.again()
        assert (node.table.get("a"), node.gone) == (None, ["a"])


async def test_a_gap_between_changes_is_noticed_at_once(server: Store) -> None:
    async with following(server) as node, following(server) as other:
        await node.store.do("HINCRBY", node.store.key("meta"), "seq", 1)
        await other.table.submit(resource("a"))
        await node.again()
        assert node.table.get("a") is not None


async def test_an_answer_that_is_read_after_the_end_was_heard_of_tells_nothing(server: Store) -> None:
    """The node that has asked would answer pings for a run that there is no more, and never hear of it again."""
    async with following(server) as node, following(server) as other:
        await other.table.submit(resource("a"))
        await node.heard("a")
        answer = json.loads(await node.store.script(SCRIPTS["look"], "a"))
        await other.table.advance("a", Event.cancel)
        async with asyncio.timeout(NOTICED_S):
            await node.ended.wait()
        node.mirror.take(answer, 0.0)
        assert node.table.get("a") is None
        node.news.clear()
        await node.store.do("HINCRBY", node.store.key("meta"), "seq", 1)
        await node.again()
        node.mirror.take(answer, 0.0)
        assert node.table.get("a") is None, "nor where all was read anew"
        await other.table.submit(resource("a"))
        await node.table.look("a")
        assert node.table.get("a") is not None


async def test_what_was_claimed_while_all_is_read_anew_goes_on(server: Store) -> None:
    async with following(server) as node:
        await node.table.submit(resource("a"))
        snapshot = await node.store.script(SCRIPTS["snapshot"], b"-inf", 10)
        records = [json.loads(record) for record in snapshot[2]]
        claimed = await node.table.claim(["default"])
        assert claimed is not None
        now = int((await node.store.do("HGET", node.store.key("meta"), "seq")).decode())
        node.mirror.renew(records, {}, now, "")
        assert node.table.report("a", claimed[0].attempt)
        node.mirror.renew(records, {}, int(snapshot[0]), "")
        assert not node.table.report("a", claimed[0].attempt), "a store that was set back has not claimed it"


async def test_an_emptied_store_is_noticed_and_hides_nothing_new(server: Store) -> None:
    """Numbers begin anew there, so that what is new looks older than what is known."""
    async with following(server) as node:
        for _ in range(3):
            await node.table.submit(resource("a"))
            await node.table.cancel("a")
        await node.table.submit(resource("b"))
        server.wipe()
        assert (await node.table.submit(resource("a"))).id == "a"
        assert node.table.get("a") is not None
        await node.again()
        assert [node.table.get(name) is not None for name in "ab"] == [True, False]


async def test_what_is_not_confirmed_is_not_known(server: Store) -> None:
    async with following(server) as node:
        await node.table.submit(resource("a"))
        assert node.feed.fresh
        server.kill()
        await asyncio.sleep(UNCONFIRMED_S + 0.1)
        assert (node.table.get("a"), node.feed.fresh) == (None, False)
        server.start()
        await node.again()
        assert node.feed.fresh


async def test_whatever_a_process_of_somebody_else_tells_of_itself_it_is_there(server: Store) -> None:
    async with following(server) as node:
        for name, told in (
            ("a", '{"runs": 2}'),
            ("b", "[]"),
            ("c", "{"),
            ("d", '{"kind": 5, "runs": "2", "pid": "x"}'),
        ):
            await node.store.script(SCRIPTS["pulse"], name, told, "", 15)
        nodes = await node.feed.nodes()
        assert [nodes[name].get("runs", 0) for name in "abcd"] == [2, 0, 0, 0]
        assert {(nodes[name]["kind"], nodes[name]["pid"]) for name in "abcd"} == {("worker", 0)}
