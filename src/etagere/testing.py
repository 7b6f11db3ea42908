"""Contracts: what every run table, cache and result queue must do, as tests to subclass.

An adapter's test subclasses a contract and provides its fixtures::

    class TestMyRunTable(RunTableContract):
        @pytest.fixture
        async def table(self, clock): ...
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from etagere.core.lifecycle import CRASHES_ALLOWED, Event, InvalidTransition, State
from etagere.core.representation import Failure, Kind, Outcome, Representation, Resource
from etagere.errors import OverCapacity
from etagere.ports import Cache, ResultQueue, RunTable

EPOCH = 1_700_000_000.5


class ManualClock:
    """A `Clock` that stands still until told otherwise."""

    def __init__(self, now: float = EPOCH) -> None:
        self._now = now
        self._monotonic = 100.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP does."""
        self._now += seconds


def resource(name: str, model: str = "heat@1", queue: str = "default") -> Resource:
    """A resource whose id is the name."""
    return Resource(name, f"/{model}?name={name}", model, queue)


def representation(id: str, body: bytes, created: float = EPOCH) -> Representation:
    """A representation with its body in memory."""
    digest = hashlib.sha256(body).digest()
    return Representation(id, "bin", "application/octet-stream", digest, len(body), created, 1.5, body=body)


def failure(id: str, expires: float, kind: Kind = Kind.failed) -> Failure:
    """A failure that is remembered until `expires`."""
    return Failure(id, kind, "it did not work", EPOCH, 0.5, expires, attempt=2)


def outcome(of: Resource, attempt: int = 1, path: Path | None = None) -> Outcome:
    """An outcome with every field set."""
    return Outcome(of, attempt, Kind.succeeded, EPOCH, EPOCH + 2, path, "text/plain", "detail", "trace\udc80", "\x00é")


class _Contract:
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The service runs on asyncio."""
        return "asyncio"

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The adapter under test must be given this clock."""
        return ManualClock()


class RunTableContract(_Contract):
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


class ResultQueueContract(_Contract):
    """Fixture `results`: an empty result queue."""

    async def test_outcomes_arrive_whole_and_in_order(self, results: ResultQueue) -> None:
        sent = [outcome(resource("a"), path=Path("/some/where")), outcome(resource("b"), attempt=2)]
        for each in sent:
            await results.put(each)
        taken = [await results.take() for _ in sent]
        assert taken == sent
        for each in taken:
            await results.done(each)

    async def test_a_deferred_outcome_comes_after_the_others(self, results: ResultQueue) -> None:
        sent = [outcome(resource(name)) for name in "abc"]
        for each in sent:
            await results.put(each)
        await results.defer(await results.take())
        assert [await results.take() for _ in sent] == [sent[1], sent[2], sent[0]]

    async def test_take_waits_for_an_outcome(self, results: ResultQueue) -> None:
        taking = asyncio.ensure_future(results.take())
        await asyncio.sleep(0)
        assert not taking.done()
        await results.put(outcome(resource("a")))
        assert await taking == outcome(resource("a"))


class CacheContract(_Contract):
    """Fixture `cache`: empty, of at least 20 MiB."""

    LARGE = 3 * 1024 * 1024

    async def test_nothing_is_known_at_first(self, cache: Cache) -> None:
        assert cache.get("a") is None
        assert cache.ghost("a") is None

    async def test_a_small_representation_is_kept(self, cache: Cache) -> None:
        given = representation("a", b"small")
        assert await cache.put(resource("a"), given) == given
        assert cache.get("a") == given
        assert await self._streamed(cache, given) == b"small"

    async def test_an_empty_body_is_a_body(self, cache: Cache) -> None:
        given = representation("a", b"")
        await cache.put(resource("a"), given)
        assert cache.get("a") == given

    async def test_a_large_file_is_moved_in(self, cache: Cache, tmp_path: Path) -> None:
        body = bytes(range(256)) * (self.LARGE // 256)
        given = self._in_file(tmp_path / "result", body)
        kept = await cache.put(resource("a"), given)
        assert isinstance(kept, Representation)
        assert (kept.digest, kept.size, kept.body) == (given.digest, given.size, None)
        assert given.path is not None
        assert not given.path.exists()
        assert cache.get("a") == kept
        assert await self._streamed(cache, kept) == body

    async def test_a_small_file_is_moved_in(self, cache: Cache, tmp_path: Path) -> None:
        given = self._in_file(tmp_path / "result", b"small")
        kept = await cache.put(resource("a"), given)
        assert isinstance(kept, Representation)
        assert given.path is not None
        assert not given.path.exists()
        assert await self._streamed(cache, kept) == b"small"

    async def test_the_first_representation_wins(self, cache: Cache) -> None:
        first = representation("a", b"first")
        await cache.put(resource("a"), first)
        assert await cache.put(resource("a"), representation("a", b"second")) == first
        assert await cache.put(resource("a"), failure("a", EPOCH + 60)) == first
        assert cache.get("a") == first

    async def test_a_failure_is_forgotten_when_it_expires(self, cache: Cache, clock: ManualClock) -> None:
        given = failure("a", clock.now() + 60)
        assert await cache.put(resource("a"), given) == given
        assert cache.get("a") == given
        clock.advance(60)
        assert cache.get("a") is None

    async def test_a_representation_replaces_a_failure(self, cache: Cache, clock: ManualClock) -> None:
        await cache.put(resource("a"), failure("a", clock.now() + 60))
        await cache.put(resource("a"), representation("a", b"late"))
        assert cache.get("a") == representation("a", b"late")

    async def test_a_discarded_representation_leaves_its_ghost(self, cache: Cache) -> None:
        given = representation("a", b"body")
        await cache.put(resource("a"), given)
        await cache.discard("a")
        await cache.discard("a")
        assert cache.get("a") is None
        ghost = cache.ghost("a")
        assert ghost is not None
        assert (ghost.uri, ghost.digest, ghost.seconds) == (resource("a").uri, given.digest, given.seconds)

    async def test_the_ghost_of_a_failure_has_no_digest(self, cache: Cache) -> None:
        await cache.put(resource("a"), failure("a", EPOCH + 60))
        ghost = cache.ghost("a")
        assert ghost is not None
        assert (ghost.digest, ghost.seconds) == (None, 0.5)

    async def test_a_discarded_file_is_not_found(self, cache: Cache, tmp_path: Path) -> None:
        kept = await cache.put(resource("a"), self._in_file(tmp_path / "result", b"x" * self.LARGE))
        assert isinstance(kept, Representation)
        await cache.discard("a")
        with pytest.raises(FileNotFoundError):
            await self._streamed(cache, kept)

    async def test_discarding_does_not_break_a_stream(self, cache: Cache, tmp_path: Path) -> None:
        kept = await cache.put(resource("a"), self._in_file(tmp_path / "result", b"x" * self.LARGE))
        assert isinstance(kept, Representation)
        stream = cache.stream(kept)
        received = await anext(stream)
        await cache.discard("a")
        async for chunk in stream:
            received += chunk
        assert received == b"x" * self.LARGE

    @pytest.mark.parametrize("size", [5, LARGE])
    @pytest.mark.parametrize("span", [(0, 0), (0, 1), (1, 4), (3, None), (5, 5), (2, LARGE - 1)])
    async def test_a_stream_is_what_lies_between(
        self, cache: Cache, tmp_path: Path, size: int, span: tuple[int, int | None]
    ) -> None:
        body = hashlib.shake_128(b"").digest(size)
        kept = await cache.put(resource("a"), self._in_file(tmp_path / "result", body))
        assert isinstance(kept, Representation)
        assert b"".join([chunk async for chunk in cache.stream(kept, *span)]) == body[slice(*span)]

    async def test_a_file_that_is_lent_can_be_opened_after_it_was_discarded(self, cache: Cache, tmp_path: Path) -> None:
        body = b"x" * self.LARGE
        kept = await cache.put(resource("a"), self._in_file(tmp_path / "result", body))
        assert isinstance(kept, Representation)
        assert [chunk async for chunk in cache.stream(kept, 0, 0)] == []
        await cache.discard("a")
        assert cache.get("a") is None
        if kept.path is not None:
            assert kept.path.read_bytes() == body

    async def test_two_ids_may_have_the_same_content(self, cache: Cache, tmp_path: Path) -> None:
        body = b"y" * self.LARGE
        for name in "ab":
            await cache.put(resource(name), self._in_file(tmp_path / name, body, id=name))
        await cache.discard("a")
        kept = cache.get("b")
        assert isinstance(kept, Representation)
        assert await self._streamed(cache, kept) == body

    async def _streamed(self, cache: Cache, kept: Representation) -> bytes:
        return b"".join([chunk async for chunk in cache.stream(kept)])

    def _in_file(self, path: Path, body: bytes, id: str = "a") -> Representation:
        path.write_bytes(body)
        digest = hashlib.sha256(body).digest()
        return Representation(id, "bin", "application/octet-stream", digest, len(body), EPOCH, 1.5, path=path)
