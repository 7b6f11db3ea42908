"""The public contract of shares: whose turn it is, and how many runs a client may start."""

from __future__ import annotations

import asyncio

import pytest

from etagere.core.clients import Asker
from etagere.core.lifecycle import Event
from etagere.errors import ShareExhausted
from etagere.testing.interest import InterestedTable, claimed
from etagere.testing.samples import Contract, ManualClock, resource


async def submit(table: InterestedTable, names: str, client: str, model: str = "heat@1", urgency: int = 3) -> None:
    """A run for each of these names."""
    for name in names.split():
        await table.submit(resource(name, model=model), Asker(client, urgency))


class SharesContract(Contract):
    """Fixture `table`: empty, at most `MAX_PENDING` runs, one run at a time of the model `single@1`."""

    MAX_PENDING = 10

    async def test_a_sweep_delays_nobody_by_more_than_what_goes_on(self, table: InterestedTable) -> None:
        await submit(table, "a1 a2 a3 a4 a5", "alice")
        assert [await claimed(table) for _ in range(2)] == ["a1", "a2"]
        await submit(table, "b1 b2", "bob")
        assert [await claimed(table) for _ in range(4)] == ["b1", "b2", "a3", "a4"]

    async def test_one_place_is_had_in_turns(self, table: InterestedTable) -> None:
        await submit(table, "a1 a2 a3", "alice")
        assert await claimed(table) == "a1"
        await submit(table, "b1 b2", "bob")
        await submit(table, "c1", "carol")
        order = []
        for ended in ("a1", "b1", "c1", "a2", "b2"):
            await table.advance(ended, Event.succeed, 1)
            order.append(await claimed(table))
        assert order == ["b1", "c1", "a2", "b2", "a3"]

    async def test_newcomers_are_behind_those_that_wait(self, table: InterestedTable) -> None:
        await submit(table, "z1", "zoe", model="single@1")
        await submit(table, "a1", "alice", model="single@1")
        assert await claimed(table) == "z1"
        await submit(table, "b1", "bob", model="single@1")
        await submit(table, "c1", "carol", model="single@1")
        order = []
        for ended in ("z1", "a1", "b1"):
            await table.advance(ended, Event.succeed, 1)
            order.append(await claimed(table))
        assert order == ["a1", "b1", "c1"]

    async def test_urgency_orders_a_clients_own_share(self, table: InterestedTable) -> None:
        await submit(table, "a1 a2", "alice")
        await submit(table, "b1", "bob", urgency=7)
        await submit(table, "a3", "alice", urgency=0)
        await submit(table, "a4", "alice", urgency=1)
        assert [await claimed(table) for _ in range(5)] == ["a3", "b1", "a4", "a1", "a2"]

    async def test_a_model_at_its_limit_holds_up_nothing_else_of_its_client(self, table: InterestedTable) -> None:
        await submit(table, "a1 a2", "alice", model="single@1")
        await submit(table, "a3", "alice")
        await submit(table, "b1", "bob", model="single@1")
        assert [await claimed(table) for _ in range(3)] == ["a1", "a3", None]
        await table.advance("a1", Event.succeed, 1)
        assert await claimed(table) == "b1"

    async def test_who_joins_has_its_turn_for_it(self, table: InterestedTable) -> None:
        await submit(table, "a1 a2 a3 a4", "alice")
        table.join("a4", Asker("bob"))
        assert [await claimed(table) for _ in range(5)] == ["a1", "a4", "a2", "a3", None]

    async def test_who_joins_may_make_it_more_urgent(self, table: InterestedTable) -> None:
        await submit(table, "a1 a2 a3", "alice")
        table.join("a3", Asker("alice", 1))
        table.join("a2", Asker("alice", 5))
        table.join("unknown", Asker("alice", 5))
        run = table.get("a3")
        assert run is not None
        assert run.urgency == 1
        assert [await claimed(table) for _ in range(3)] == ["a3", "a1", "a2"]

    async def test_who_hurries_keeps_its_turn_and_its_order(self, table: InterestedTable) -> None:
        await submit(table, "a1", "alice", model="single@1", urgency=7)
        await submit(table, "b1", "bob", urgency=0)
        table.join("a1", Asker("alice", 3))
        await submit(table, "c1", "carol", urgency=0)
        assert await claimed(table) == "a1"
        await submit(table, "d1", "dave", urgency=7)
        await submit(table, "d2 d3", "dave", urgency=0)
        table.join("d1", Asker("dave", 0))
        assert [await claimed(table) for _ in range(5)] == ["b1", "c1", "d1", "d2", "d3"]

    async def test_what_was_joined_is_counted_where_it_had_its_turn(self, table: InterestedTable) -> None:
        await submit(table, "a1 a2", "alice")
        table.join("a1", Asker("bob"))
        await submit(table, "b1", "bob")
        assert await claimed(table) == "a1", "in the share of alice, who came first"
        assert [await claimed(table) for _ in range(2)] == ["b1", "a2"]
        table.join("a2", Asker("carol"))
        await table.advance("a2", Event.crash, 1)
        assert await claimed(table) == "a2"

    async def test_a_client_starts_half_of_what_may_be_pending(self, table: InterestedTable) -> None:
        names = [f"a{n}" for n in range(self.MAX_PENDING // 2 + 3)]
        started = await asyncio.gather(
            *(table.submit(resource(name), Asker("alice")) for name in names), return_exceptions=True
        )
        refused = [outcome for outcome in started if isinstance(outcome, ShareExhausted)]
        assert len(refused) == 3
        assert {problem.retry_after is not None for problem in refused} == {True}
        assert await claimed(table) == names[0]
        with pytest.raises(ShareExhausted):
            await table.submit(resource("more"), Asker("alice"))
        assert (await table.submit(resource(names[1]), Asker("alice"))).id == names[1], "a join"
        await submit(table, "b1", "bob")
        await table.submit(resource("b1"), Asker("alice"))
        await table.advance(names[0], Event.succeed, 1)
        await table.submit(resource("more"), Asker("alice"))
        with pytest.raises(ShareExhausted):
            await table.submit(resource("another"), Asker("alice"))

    async def test_positions_are_those_of_the_turns(self, table: InterestedTable, clock: ManualClock) -> None:
        await submit(table, "a1 a2 a3", "alice")
        await submit(table, "b1 b2", "bob")
        await submit(table, "a4", "alice", urgency=1)
        assert [table.position(name) for name in ("a4", "b1", "a1", "b2", "a2", "a3")] == [1, 2, 3, 4, 5, 6]
        assert [await claimed(table) for _ in range(2)] == ["a4", "b1"]
        clock.advance(2)
        assert [table.position(name) for name in ("a1", "b2", "a2", "a3")] == [1, 2, 3, 4]
