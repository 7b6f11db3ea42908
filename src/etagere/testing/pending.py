"""The public contract of `Pending`, for the tests of whoever writes another run table."""

from __future__ import annotations

from typing import Protocol

import pytest

from etagere.core.lifecycle import Event, Run, State
from etagere.ports import Pending, RunTable
from etagere.testing.samples import Contract, ManualClock, resource


class OperatedTable(RunTable, Pending, Protocol):
    """What keeps runs, and shows them to operators."""


class PendingContract(Contract):
    """Fixtures `table`: empty, at least three runs; `dropped`: the ids that the table has told of, in their order."""

    async def test_the_runs_are_in_the_order_of_their_submission(
        self, table: OperatedTable, clock: ManualClock
    ) -> None:
        """Whatever has become of them since."""
        await _submitted(table, clock)
        await table.claim(["default"])
        assert table.counts() == {State.queued: 2, State.running: 1}
        assert [run.id for run in table.pending()] == ["a", "b", "c"]
        assert [run.id for run in table.pending(State.queued)] == ["b", "c"]
        assert [run.id for run in table.pending(State.running)] == ["a"]
        await table.advance("a", Event.succeed)
        await table.claim(["default"])
        await table.advance("b", Event.crash)
        assert [run.id for run in table.pending()] == ["b", "c"]

    async def test_a_cancelled_queued_run_is_absent(
        self, table: OperatedTable, clock: ManualClock, dropped: list[str]
    ) -> None:
        """At once; a new one has nothing of it."""
        await _submitted(table, clock)
        cancelled = await table.cancel("b")
        assert cancelled is not None
        assert cancelled.state is State.queued
        assert table.get("b") is None
        assert dropped == ["b"]
        assert await table.cancel("b") is None
        again = await table.submit(resource("b"))
        assert again.created > cancelled.created
        assert [(await table.claim(["default"]) or (None,))[0] for _ in "acb"] == [
            table.get("a"), table.get("c"), table.get("b"),
        ]  # fmt: skip

    async def test_a_cancelled_running_run_is_not_renewed(
        self, table: OperatedTable, clock: ManualClock, dropped: list[str]
    ) -> None:
        """It stays until its attempt has been stopped, so that there is never a second one."""
        run = await _claimed(table, clock)
        assert table.report("a", 1)
        assert await table.cancel("a") == run
        assert not table.report("a", 1)
        assert not table.report("a", 1, 0.5, "half")
        assert table.get("a") is not None
        assert dropped == []
        assert await table.advance("a", Event.cancel, 1) is not None
        assert table.get("a") is None

    @pytest.mark.parametrize("event", [Event.crash, Event.lose, Event.release, Event.postpone])
    async def test_nor_does_it_come_back(
        self, table: OperatedTable, clock: ManualClock, dropped: list[str], event: Event
    ) -> None:
        """However its attempt ends."""
        await _claimed(table, clock)
        await table.cancel("a")
        after = await table.advance("a", event, 1)
        assert after is not None
        assert after.state is State.cancelled
        assert table.get("a") is None
        assert dropped == ["a"]

    async def test_a_result_that_comes_first_is_welcome(self, table: OperatedTable, clock: ManualClock) -> None:
        """As ever."""
        await _claimed(table, clock)
        await table.cancel("a")
        after = await table.advance("a", Event.succeed)
        assert after is not None
        assert after.state is State.succeeded
        await table.submit(resource("a"))
        assert (await _claim(table)).id == "b"
        assert (await _claim(table)).id == "c"
        assert (await _claim(table)).id == "a"
        assert table.report("a", 1), "the new run is another one"

    async def test_what_is_not_there_cannot_be_cancelled(self, table: OperatedTable) -> None:
        """And nothing comes of it."""
        assert await table.cancel("a") is None
        await table.submit(resource("a"))
        assert (await _claim(table)).id == "a"
        assert table.report("a", 1)


async def _submitted(table: RunTable, clock: ManualClock) -> None:
    for name in "abc":
        await table.submit(resource(name))
        clock.advance(1)


async def _claim(table: RunTable) -> Run:
    claimed = await table.claim(["default"])
    assert claimed is not None
    return claimed[0]


async def _claimed(table: RunTable, clock: ManualClock) -> Run:
    await _submitted(table, clock)
    run = await _claim(table)
    assert run.id == "a"
    return run
