"""Limits, kills and what is left after them: nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.supervisor.bench import MIB, Bench, Watched, is_gone, supervising

from etagere.core.representation import Kind
from etagere.errors import LostProcess
from etagere.supervisor.attempt import Superseded
from etagere.supervisor.linux import below

pytestmark = pytest.mark.anyio


class Heard:
    """Keeps the process ids that the model `waiting` reports, and says when it has."""

    def __init__(self) -> None:
        self.told: asyncio.Future[Watched] = asyncio.get_running_loop().create_future()

    def __call__(self, _: float, message: str) -> bool:
        if not self.told.done():
            self.told.set_result(Watched(map(int, message.split())))
        return True


@pytest.fixture(scope="module")
async def narrow(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    place = tmp_path_factory.mktemp("narrow")
    async with supervising("assorted", place, max_run_dir=16 * MIB, max_processes=32) as bench:
        yield bench


@pytest.fixture
def limited(narrow: Bench, tmp_path: Path) -> Bench:
    """A supervisor with low limits of its own."""
    return Bench(narrow.supervisor, narrow.directory, prefix=tmp_path.name)


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_run_beyond_its_time_is_killed_with_its_children(bench: Bench, stubborn: bool) -> None:
    heard = Heard()
    outcome = await bench.run("waiting", stubborn=stubborn, report=heard, time_limit=3.0)
    assert (outcome.kind, outcome.detail) == (Kind.timeout, "it took more than 3 s")
    assert 3.0 <= outcome.seconds < 30.0
    assert heard.told.result().gone_within(1.0)
    assert bench.left() == []


@pytest.mark.parametrize("stubborn", [False, True])
async def test_cancelling_kills_and_leaves_nothing(bench: Bench, stubborn: bool) -> None:
    heard = Heard()
    run = asyncio.create_task(bench.run("waiting", stubborn=stubborn, report=heard))
    watched = await heard.told
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert watched.gone_within(1.0)
    assert bench.left() == []


async def test_cancelling_before_the_process_has_started_kills_it_all_the_same(bench: Bench) -> None:
    for delay in range(20):
        run = asyncio.create_task(bench.run("waiting", id=str(delay), stubborn=False))
        for _ in range(delay):
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert bench.left() == []


async def test_an_attempt_that_is_fenced_out_is_killed(bench: Bench) -> None:
    heard = Heard()
    with pytest.raises(Superseded):
        await bench.run("waiting", stubborn=False, report=lambda *news: not heard(*news))
    assert heard.told.result().gone_within(1.0)
    assert bench.left() == []


@pytest.mark.parametrize("stubborn", [False, True])
async def test_an_attempt_that_is_not_renewed_is_killed_without_a_word_of_its_own(bench: Bench, stubborn: bool) -> None:
    heard = Heard()
    with pytest.raises(Superseded):
        await bench.run("waiting", stubborn=stubborn, report=heard, renew=lambda: not heard.told.done())
    assert heard.told.result().gone_within(1.0)
    assert bench.left() == []


async def test_a_run_that_has_ended_is_watched_and_renewed_no_longer(bench: Bench) -> None:
    before = asyncio.all_tasks()
    await bench.run("double", x=1.0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


async def test_memory_of_the_whole_group_counts(bench: Bench) -> None:
    outcome = await bench.run("hungry", mebibytes=96, memory_limit=64 * MIB)
    assert (outcome.kind, outcome.detail) == (Kind.memory, f"it used more than {64 * MIB} bytes of memory")


async def test_memory_of_a_daemon_counts(bench: Bench) -> None:
    outcome = await bench.run("hungry_daemon", mebibytes=96, memory_limit=64 * MIB)
    assert outcome.kind is Kind.memory
    assert outcome.facts == {"limit": {"name": "memory_limit", "value": 64 * MIB, "unit": "bytes"}}


async def test_a_stopped_run_is_ended_at_its_time_limit(bench: Bench) -> None:
    heard = Heard()
    outcome = await bench.run("stopping", report=heard, time_limit=1.5)
    assert outcome.kind is Kind.timeout
    assert outcome.facts == {"limit": {"name": "time_limit", "value": 1.5, "unit": "s"}}
    assert heard.told.result().gone_within(1.0)


@pytest.mark.parametrize("sessions", [False, True])
async def test_a_fork_bomb_is_failed_and_gone(limited: Bench, sessions: bool) -> None:
    before = set(below(os.getpid()))
    outcome = await limited.run("bomb", most=2000, sessions=sessions)
    assert (outcome.kind, outcome.detail) == (Kind.failed, "it has more than 32 processes at once (max_processes)")
    assert outcome.facts == {"limit": {"name": "max_processes", "value": 32, "unit": "processes"}}
    deadline = time.monotonic() + 20
    while len(set(below(os.getpid())) - before) > 1:
        assert time.monotonic() < deadline, "some are left"
        await asyncio.sleep(0.01)
    assert (await limited.run("double", id="b", x=1.0)).kind is Kind.succeeded


async def test_a_crowd_that_ignores_sigterm_does_not_delay_the_end(bench: Bench) -> None:
    """The time limit is known to be crossed before all of them are gone."""
    outcome = await bench.run("crowd", number=100, time_limit=2.0)
    assert outcome.kind is Kind.timeout
    assert 2.5 <= outcome.seconds < 10


@pytest.mark.parametrize("chunk", [MIB, 1])
async def test_a_run_that_fills_its_directory_is_failed(limited: Bench, chunk: int) -> None:
    outcome = await limited.run("writing", chunk=chunk)
    assert (outcome.kind, outcome.detail) == (
        Kind.failed, f"its directory takes more than {16 * MIB} bytes (max_run_dir)",
    )  # fmt: skip
    assert limited.left() == []


async def test_sparse_files_and_links_take_what_they_take(limited: Bench) -> None:
    outcome = await limited.run("writing", chunk=1, sparse=1 << 30, links=100, seconds=0.3)
    assert outcome.kind is Kind.succeeded


async def test_a_look_at_the_limits_that_fails_is_not_the_last(bench: Bench) -> None:
    never_comparable: Any = "much"
    outcome = await bench.run("pouring_late", memory_limit=never_comparable, time_limit=20.0)
    assert (outcome.kind, outcome.detail) == (Kind.failed, "the result has more than 4194304 bytes")


async def test_memory_that_setup_loaded_does_not_count(bench: Bench) -> None:
    outcome = await bench.run("reading_shared", memory_limit=48 * MIB)
    assert outcome.kind is Kind.succeeded


async def test_a_result_above_the_limit_is_failed(bench: Bench) -> None:
    outcome = await bench.run("filling", mebibytes=5, media_type="application/octet-stream")
    assert (outcome.kind, outcome.detail) == (Kind.failed, f"the result has more than {4 * MIB} bytes")
    assert bench.left() == []


@pytest.mark.parametrize("daemon", [False, True])
async def test_processes_that_stay_behind_are_killed(bench: Bench, daemon: bool) -> None:
    outcome = await bench.run("leaving_processes", daemon=daemon)
    assert outcome.path is not None, outcome
    assert is_gone(int(json.loads(outcome.path.read_bytes())))


async def test_a_flood_of_output_does_not_hold_up_another_run(bench: Bench) -> None:
    begun = asyncio.Event()
    flood = asyncio.create_task(bench.run("printing", mebibytes=256, report=lambda *_: begun.set() is None))
    await begun.wait()
    other = await bench.run("double", id="b", x=1.0)
    assert other.kind is Kind.succeeded
    assert not flood.done()
    outcome = await flood
    assert outcome.kind is Kind.succeeded
    assert outcome.output.endswith("-\nthe end\n")


async def test_many_runs_at_once_do_not_mix(bench: Bench) -> None:
    runs = [bench.run("double", id=str(n), x=float(n)) for n in range(40)]
    outcomes = await asyncio.gather(*runs)
    bodies = [json.loads(outcome.path.read_bytes()) for outcome in outcomes if outcome.path is not None]
    assert bodies == [{"x": float(n), "double": 2.0 * n} for n in range(40)]


async def test_closing_the_supervisor_loses_its_runs(tmp_path: Path) -> None:
    async with supervising("assorted", tmp_path) as bench:
        heard = Heard()
        run = asyncio.create_task(bench.run("waiting", stubborn=True, report=heard))
        watched = await heard.told
    with pytest.raises(LostProcess):
        await run
    assert watched.gone_within(1.0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.getuid() != 0:
        pytest.skip("only root can mount one")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


async def test_a_result_waits_for_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 * MIB))
    async with supervising("assorted", small_disk / "runs") as bench:
        run = asyncio.create_task(bench.run("filling", mebibytes=3, media_type="application/octet-stream"))
        while os.statvfs(small_disk).f_bavail and not run.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        ballast.unlink()
        outcome = await run
    assert outcome.kind is Kind.succeeded
    assert outcome.path is not None
    assert outcome.path.read_bytes() == bytes(3 * MIB)
