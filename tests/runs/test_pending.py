"""What operators see of the runs, and cancel."""

from __future__ import annotations

from pathlib import Path

import pytest

from etagere.core.lifecycle import Event, State
from etagere.database import Database
from etagere.runs.memory import MemoryRunTable
from etagere.testing import PendingContract
from etagere.testing.samples import ManualClock, resource

pytestmark = pytest.mark.anyio


@pytest.fixture
def dropped() -> list[str]:
    return []


@pytest.fixture
async def table(database: Database, clock: ManualClock, dropped: list[str]) -> MemoryRunTable:
    return await started(database, clock, dropped)


async def started(database: Database, clock: ManualClock, dropped: list[str]) -> MemoryRunTable:
    table = MemoryRunTable(
        database, clock, 10, lambda _: None, lambda _: "default", patience=60, dropped=dropped.append
    )
    await table.load()
    return table


class TestMemoryRunTable(PendingContract):
    pass


async def test_who_lost_its_turn_keeps_its_place_in_the_list(table: MemoryRunTable, clock: ManualClock) -> None:
    for name in "ab":
        await table.submit(resource(name))
        clock.advance(1)
    clock.advance(60)
    await table.note({"b": 1.0})
    assert [table.position(name) for name in "ab"] == [2, 1]
    assert [run.id for run in table.pending()] == ["a", "b"]


@pytest.mark.parametrize("held", [False, True])
async def test_a_cancelled_run_is_gone_after_a_restart(
    tmp_path: Path, database: Database, table: MemoryRunTable, clock: ManualClock, held: bool
) -> None:
    await table.submit(resource("a"))
    if held:
        await table.claim(["default"])
    await table.cancel("a")
    if held:
        await table.cancel("a")  # once more is the same
        assert table.counts() == {State.queued: 0, State.running: 1}
        [run] = table.pending()
        await table.advance("a", Event.release, run.attempt)
    await database.close()
    again = Database(tmp_path)
    assert (await started(again, clock, [])).pending() == []
    await again.close()
