"""The public contract of `Interest`, for the tests of whoever writes another run table."""

from __future__ import annotations

from typing import Protocol

import pytest

from etagere.core.lifecycle import Event
from etagere.errors import OverCapacity
from etagere.ports import Interest, RunTable
from etagere.testing.samples import ManualClock, resource


class InterestedTable(RunTable, Interest, Protocol):
    """What keeps runs and knows which of them are wanted."""


async def claimed(table: RunTable) -> str | None:
    """The id of the next run, which is running now."""
    found = await table.claim(["default"])
    return None if found is None else found[0].id


@pytest.mark.anyio
class InterestContract:
    """Fixtures `clock` and `table`: empty, at most `MAX_PENDING` runs, of the patience `PATIENCE`.

    Fixture `dropped`: the ids that the table has told of, in their order.
    """

    MAX_PENDING = 3
    PATIENCE = 600.0

    @staticmethod
    def needless(model: str) -> bool:
        """The models that the table under test must be told not to compute for nobody."""
        return model == "needless@1"

    async def test_an_abandoned_run_is_behind_all_others(self, table: InterestedTable, clock: ManualClock) -> None:
        """Later ones included, of other models too."""
        await table.submit(resource("a"))
        clock.advance(self.PATIENCE)
        before = table.droppable
        await table.note({})
        assert (before, table.droppable) == (False, True)
        await table.submit(resource("b"))
        await table.submit(resource("c", model="other@1"))
        clock.advance(1)
        assert [table.position(name) for name in "abc"] == [3, 1, 2]
        assert [await claimed(table) for _ in range(4)] == ["b", "c", "a", None]
        assert not table.droppable

    async def test_who_is_asked_for_keeps_its_place(self, table: InterestedTable, clock: ManualClock) -> None:
        """However long it waits."""
        for name in "abc":
            await table.submit(resource(name))
        for _ in range(20):
            clock.advance(self.PATIENCE / 2)
            await table.note({"a": 1.0, "c": 1.0})
        assert [table.position(name) for name in "abc"] == [1, 3, 2]
        assert [await claimed(table) for _ in range(3)] == ["a", "c", "b"]

    async def test_patience_has_its_time(self, table: InterestedTable, clock: ManualClock) -> None:
        """And not a moment less, whatever the wall clock says."""
        for name in "ab":
            await table.submit(resource(name))
        clock.jump(10 * self.PATIENCE)
        clock.advance(self.PATIENCE - 1)
        await table.note({"b": 1.0})
        assert [table.position(name) for name in "ab"] == [1, 2]
        clock.advance(1)
        await table.note({})
        assert [table.position(name) for name in "ab"] == [2, 1]

    async def test_who_was_told_to_come_back_late_may(self, table: InterestedTable, clock: ManualClock) -> None:
        """After ten times the Retry-After, whatever others have been told since."""
        for name in "ab":
            await table.submit(resource(name))
        await table.note({"a": self.PATIENCE, "b": self.PATIENCE / 100})
        await table.note({"a": 1.0})
        clock.advance(9 * self.PATIENCE)
        await table.note({})
        assert [table.position(name) for name in "ab"] == [1, 2]
        for _ in range(2):
            clock.advance(self.PATIENCE)
            await table.note({"b": 1.0})
        assert [table.position(name) for name in "ab"] == [2, 1]

    async def test_asked_for_again_it_is_the_last_of_the_others(
        self, table: InterestedTable, clock: ManualClock
    ) -> None:
        """It has lost its turn, and nothing else."""
        await table.submit(resource("a"))
        await table.submit(resource("b", model="other@1"))
        clock.advance(self.PATIENCE)
        await table.note({"b": 1.0})
        await table.submit(resource("c"))
        await table.note({"a": 1.0})
        assert [table.position(name) for name in "abc"] == [3, 1, 2]
        assert [await claimed(table) for _ in range(3)] == ["b", "c", "a"]

    async def test_a_full_table_drops_the_one_abandoned_longest(
        self, table: InterestedTable, clock: ManualClock, dropped: list[str]
    ) -> None:
        """And refuses where there is none."""
        for name in "abc":
            await table.submit(resource(name, model=f"{name}@1", queue="gpu" if name == "b" else "default"))
        with pytest.raises(OverCapacity):
            await table.submit(resource("d"))
        clock.advance(self.PATIENCE / 2)
        await table.note({"a": 1.0})
        clock.advance(self.PATIENCE / 2)
        await table.note({"c": 1.0})
        clock.advance(self.PATIENCE / 2)
        await table.note({"c": 1.0})
        for name in "de":
            await table.submit(resource(name))
        assert dropped == ["b", "a"]
        assert [table.get(name) for name in "ab"] == [None, None]
        with pytest.raises(OverCapacity):
            await table.submit(resource("f"))
        assert [await claimed(table) for _ in range(4)] == ["c", "d", "e", None]

    async def test_a_dropped_run_is_started_again(
        self, table: InterestedTable, clock: ManualClock, dropped: list[str]
    ) -> None:
        """Like one that was never there."""
        for name in "abc":
            await table.submit(resource(name))
        clock.advance(self.PATIENCE)
        await table.note({"b": 1.0})
        await table.submit(resource("d"))
        await table.note({"a": 1.0})
        assert table.get("a") is None
        await table.submit(resource("a"))
        assert dropped == ["a", "c"]
        assert [await claimed(table) for _ in range(4)] == ["b", "d", "a", None]

    async def test_a_running_run_goes_on(self, table: InterestedTable, clock: ManualClock, dropped: list[str]) -> None:
        """It is not dropped either."""
        for name in "abc":
            await table.submit(resource(name))
        assert await claimed(table) == "a"
        clock.advance(self.PATIENCE)
        await table.note({"b": 1.0, "c": 1.0})
        assert table.report("a", 1)
        with pytest.raises(OverCapacity):
            await table.submit(resource("d"))
        assert dropped == []

    async def test_back_in_the_queue_it_is_behind_the_others(self, table: InterestedTable, clock: ManualClock) -> None:
        """As long as nobody asks for it."""
        for name in "ab":
            await table.submit(resource(name))
        assert await claimed(table) == "a"
        clock.advance(self.PATIENCE)
        await table.note({"b": 1.0})
        assert table.position("b") == 1
        await table.advance("a", Event.crash, 1)
        assert [table.position(name) for name in "ab"] == [2, 1]
        assert [await claimed(table) for _ in range(3)] == ["b", "a", None]

    async def test_what_is_not_to_be_computed_for_nobody_is_not_renewed(
        self, table: InterestedTable, clock: ManualClock
    ) -> None:
        """Progress or not; if somebody asks in time, it goes on."""
        await table.submit(resource("a", model="needless@1"))
        assert await claimed(table) == "a"
        assert table.report("a", 1)
        clock.advance(self.PATIENCE)
        await table.note({})
        assert not table.report("a", 1)
        assert not table.report("a", 1, 0.5, "half")
        await table.note({"a": 1.0})
        assert table.report("a", 1)

    async def test_nor_does_it_wait_to_be(self, table: InterestedTable, clock: ManualClock, dropped: list[str]) -> None:
        """It is dropped although there is room."""
        await table.submit(resource("a", model="needless@1"))
        await table.submit(resource("b"))
        clock.advance(self.PATIENCE)
        await table.note({})
        assert dropped == ["a"]
        assert [await claimed(table) for _ in range(2)] == ["b", None]

    async def test_ids_that_are_not_pending_are_no_matter(self, table: InterestedTable, clock: ManualClock) -> None:
        """A batch may come late, or twice."""
        await table.submit(resource("a"))
        await claimed(table)
        await table.advance("a", Event.succeed)
        for _ in range(2):
            await table.note({"a": 1.0, "unknown": 30.0})
        clock.advance(self.PATIENCE)
        await table.note({})
        assert [table.get("a"), table.get("unknown")] == [None, None]
