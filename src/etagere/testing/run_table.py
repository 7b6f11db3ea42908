"""The public contract of `RunTable`, for the tests of whoever writes another one."""

from __future__ import annotations

import asyncio

import pytest

from etagere.core.lifecycle import CRASHES_ALLOWED, Event, InvalidTransition, State
from etagere.errors import OverCapacity
from etagere.ports import RunTable
from etagere.testing.samples import Contract, ManualClock, resource


class RunTableContract(Contract):
    """Fixture `table`: empty, at most `MAX_PENDING` runs, one run at a time of the model `single@1`."""

    MAX_PENDING = 5

    @staticmethod
    def concurrency(model: str) -> int | None:
        """The limits that the table under test must be given."""
        return 1 if model == "single@1" else None

    async def test_a_submitted_run_is_queued(self, table: RunTable, clock: ManualClock) -> None:
        run = await table.submit(resource("a"))
        assert table.get("a") == run
        assert (run.state, run.attempt, run.created, run.model) == (State.queued, 0, clock.now(), "heat@1")
        assert table.get("b") is None

    async def test_simultaneous_submits_are_one_run(self, table: RunTable) -> None:
        runs = await asyncio.gather(*(table.submit(resource("a")) for _ in range(50)))
        assert len({run.id for run in runs}) == 1
        assert await table.claim(["default"]) is not None
        assert await table.claim(["default"]) is None

    async def test_a_join_is_never_refused(self, table: RunTable) -> None:
        for n in range(self.MAX_PENDING):
            await table.submit(resource(f"r{n}"))
        with pytest.raises(OverCapacity) as refused:
            await table.submit(resource("more"))
        assert refused.value.retry_after is not None
        assert table.get("more") is None
        assert (await table.submit(resource("r0"))).id == "r0"

    async def test_a_place_becomes_free_when_a_run_ends(self, table: RunTable) -> None:
        for n in range(self.MAX_PENDING):
            await table.submit(resource(f"r{n}"))
        await table.advance("r1", Event.cancel)
        assert (await table.submit(resource("more"))).state is State.queued

    async def test_claims_are_first_in_first_out(self, table: RunTable) -> None:
        for name in "abc":
            await table.submit(resource(name))
        assert [await self._claimed(table) for _ in range(4)] == ["a", "b", "c", None]

    async def test_a_claim_has_the_resource_and_a_new_attempt(self, table: RunTable, clock: ManualClock) -> None:
        await table.submit(resource("a"))
        clock.advance(3)
        claimed = await table.claim(["default"])
        assert claimed is not None
        run, found = claimed
        assert found == resource("a")
        assert (run.state, run.attempt, run.started) == (State.running, 1, clock.now())
        assert table.get("a") == run

    async def test_simultaneous_claims_never_share_a_run(self, table: RunTable) -> None:
        for n in range(self.MAX_PENDING):
            await table.submit(resource(f"r{n}"))
        claims = await asyncio.gather(*(table.claim(["default"]) for _ in range(2 * self.MAX_PENDING)))
        ids = sorted(claim[0].id for claim in claims if claim is not None)
        assert ids == [f"r{n}" for n in range(self.MAX_PENDING)]

    async def test_only_the_named_queues_are_claimed_from(self, table: RunTable) -> None:
        await table.submit(resource("a", queue="gpu"))
        await table.submit(resource("b"))
        assert await self._claimed(table, "default") == "b"
        assert await self._claimed(table, "default") is None
        assert await self._claimed(table, "default", "gpu") == "a"

    async def test_a_model_at_its_limit_is_passed_over(self, table: RunTable) -> None:
        await table.submit(resource("a", model="single@1"))
        await table.submit(resource("b", model="single@1"))
        await table.submit(resource("c"))
        assert [await self._claimed(table) for _ in range(3)] == ["a", "c", None]
        await table.advance("a", Event.succeed, 1)
        assert await self._claimed(table) == "b"

    async def test_progress_belongs_to_the_current_attempt(self, table: RunTable) -> None:
        await table.submit(resource("a"))
        assert not table.report("a", 0, 0.5, "")
        await table.claim(["default"])
        assert table.report("a", 1, 0.5, "half")
        assert not table.report("a", 2, 0.9, "")
        assert not table.report("b", 1, 0.9, "")
        run = table.get("a")
        assert run is not None
        assert (run.progress, run.message) == (0.5, "half")

    async def test_an_event_of_another_attempt_changes_nothing(self, table: RunTable) -> None:
        await table.submit(resource("a"))
        await table.claim(["default"])
        before = table.get("a")
        assert await table.advance("a", Event.crash, 2) is None
        assert await table.advance("b", Event.crash) is None
        assert table.get("a") == before

    async def test_an_event_that_the_state_does_not_have_is_a_fault(self, table: RunTable) -> None:
        await table.submit(resource("a"))
        with pytest.raises(InvalidTransition):
            await table.advance("a", Event.crash)

    async def test_a_released_run_costs_nothing_and_keeps_its_place(self, table: RunTable) -> None:
        await table.submit(resource("a"))
        await table.submit(resource("b"))
        await table.claim(["default"])
        run = await table.advance("a", Event.release, 1)
        assert run is not None
        assert (run.state, run.crashes, run.losses, run.delay) == (State.queued, 0, 0, 0.0)
        assert [await self._claimed(table) for _ in range(3)] == ["a", "b", None]
        again = table.get("a")
        assert again is not None
        assert again.attempt == 2

    async def test_a_lost_run_waits_for_its_delay_by_the_monotonic_clock(
        self, table: RunTable, clock: ManualClock
    ) -> None:
        await table.submit(resource("a"))
        await table.claim(["default"])
        run = await table.advance("a", Event.lose, 1)
        assert run is not None
        assert run.delay > 0
        clock.jump(3600)
        assert await table.claim(["default"]) is None
        clock.advance(run.delay)
        assert await self._claimed(table) == "a"

    async def test_a_late_outcome_ends_a_queued_run(self, table: RunTable) -> None:
        await table.submit(resource("a"))
        await table.claim(["default"])
        await table.advance("a", Event.crash, 1)
        ended = await table.advance("a", Event.succeed)
        assert ended is not None
        assert ended.state is State.succeeded
        assert table.get("a") is None
        assert await table.claim(["default"]) is None

    async def test_poison_stays_pending_until_its_outcome_is_collected(self, table: RunTable) -> None:
        await table.submit(resource("a"))
        for attempt in range(1, CRASHES_ALLOWED + 1):
            assert await self._claimed(table) == "a"
            after = await table.advance("a", Event.crash, attempt)
        assert after is not None
        assert after.state is State.failed
        assert table.get("a") is not None
        assert await table.claim(["default"]) is None
        await table.advance("a", Event.fail)
        assert table.get("a") is None

    async def test_position_is_the_rank_among_the_queued(self, table: RunTable, clock: ManualClock) -> None:
        for name in "abc":
            await table.submit(resource(name))
        assert [table.position(name) for name in "abc"] == [1, 2, 3]
        await table.claim(["default"])
        clock.advance(1)
        assert [table.position(name) for name in "abc"] == [None, 1, 2]
        assert table.position("unknown") is None

    async def _claimed(self, table: RunTable, *queues: str) -> str | None:
        claimed = await table.claim(queues or ["default"])
        return None if claimed is None else claimed[0].id
