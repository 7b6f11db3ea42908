"""Whichever process dies, nothing of a run outlives it by a second, and the next run works."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.supervisor.bench import Bench, Watched, supervising

from etagere.core.representation import Kind
from etagere.errors import ImportFailed, LostProcess

pytestmark = pytest.mark.anyio

HOST = Path(__file__).parent / "host.py"
# The user without the rights of root; its interpreter may be where nobody else can reach it.
UNPRIVILEGED = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"] if os.getuid() == 0 else []


@contextmanager
def hosted(directory: Path, model: str, parameters: str, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    command = [*prefix, sys.executable, str(HOST), str(directory / "the runs"), model, parameters]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=directory)
    try:
        yield host
    finally:
        host.kill()
        host.communicate()


def said(host: subprocess.Popen[str], word: str) -> list[int]:
    """The process ids on the next line, which begins with `word`."""
    assert host.stdout is not None
    first, *pids = host.stdout.readline().split()
    assert first == word
    return [int(pid) for pid in pids]


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@pytest.mark.parametrize("others", [[], ["guard"], ["warm"]], ids=["alone", "with its guard", "with the warm process"])
def test_a_killed_service_leaves_nothing(tmp_path: Path, others: list[str]) -> None:
    with hosted(tmp_path, "waiting", '{"stubborn":true}') as host:
        family = dict(zip(("guard", "warm"), said(host, "service"), strict=True))
        watched = Watched([*family.values(), *said(host, "run")])
        victims = [host.pid, *(family[other] for other in others)]
        # Stopped first, so that none can act before all are killed.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for victim in victims:
                os.kill(victim, number)
        assert watched.gone_within(1.0)


def test_all_three_killed_at_once_leave_no_run(tmp_path: Path) -> None:
    with hosted(tmp_path, "waiting", '{"stubborn":true}') as host:
        family = said(host, "service")
        run, helper = said(host, "run")
        watched = Watched([*family, run])
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for victim in (host.pid, *family):
                os.kill(victim, number)
        assert watched.gone_within(1.0)
        os.kill(helper, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["guard", "warm"])
async def test_a_killed_warm_process_loses_its_runs_and_is_started_again(tmp_path: Path, victim: str) -> None:
    before = children(os.getpid())
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with supervising("assorted", tmp_path) as bench:
        (guard,) = children(os.getpid()) - before
        (warm,) = children(guard)
        run = asyncio.create_task(
            bench.run("waiting", stubborn=True, report=lambda _, pids: told.done() or told.set_result(pids) is None)
        )
        watched = Watched(map(int, (await told).split()))
        os.kill({"guard": guard, "warm": warm}[victim], signal.SIGKILL)
        with pytest.raises(LostProcess, match="the warm process died"):
            await run
        assert watched.gone_within(1.0)
        assert bench.left() == []
        assert (await bench.run("double", x=1.0)).kind is Kind.succeeded
        assert children(os.getpid()) - before != {guard}
    assert children(os.getpid()) == before


@pytest.mark.parametrize("guard_too", [False, True])
async def test_a_frozen_warm_process_is_ended_with_its_runs_and_started_again(tmp_path: Path, guard_too: bool) -> None:
    before = children(os.getpid())
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with supervising("assorted", tmp_path) as bench:
        (guard,) = children(os.getpid()) - before
        (warm,) = children(guard)
        first = asyncio.create_task(
            bench.run("waiting", stubborn=True, report=lambda _, pids: told.done() or told.set_result(pids) is None)
        )
        watched = Watched([*map(int, (await told).split()), warm, guard])
        for pid in (warm, guard)[: 1 + guard_too]:
            os.kill(pid, signal.SIGSTOP)
        ordered = asyncio.create_task(bench.run("double", id="b", x=1.0))
        for lost in (first, ordered):
            with pytest.raises(LostProcess, match="the warm process died"):
                await asyncio.wait_for(lost, 20)
        assert (await bench.run("double", id="c", x=1.0)).kind is Kind.succeeded
        assert watched.gone_within(1.0)
    assert children(os.getpid()) == before


@pytest.mark.parametrize("cancellations", [1, 2])
@pytest.mark.parametrize("known", [True, False], ids=["its outcome known", "at work"])
async def test_a_run_that_is_cancelled_while_its_process_ends(tmp_path: Path, known: bool, cancellations: int) -> None:
    before, complaints = children(os.getpid()), list[dict[str, Any]]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    reached: asyncio.Future[None] = loop.create_future()

    async def running(bench: Bench) -> None:
        if not known:
            await bench.run("waiting", report=lambda *_: reached.done() or reached.set_result(None) is None)
        async with bench.running("double", x=1.0):
            os.kill(warm, signal.SIGSTOP)
            reached.set_result(None)

    async with supervising("assorted", tmp_path) as bench:
        (guard,) = children(os.getpid()) - before
        (warm,) = children(guard)
        run = asyncio.create_task(running(bench))
        await reached
        os.kill(warm, signal.SIGSTOP)
        for _ in range(cancellations):
            run.cancel()
            await asyncio.wait([run], timeout=0.1)
            assert not run.done(), "its process may be there"
        os.kill(warm, signal.SIGKILL)
        with pytest.raises((asyncio.CancelledError, LostProcess)):
            await run
    del run
    gc.collect()
    assert complaints == []


async def test_a_warm_process_that_is_stopped_for_a_moment_goes_on(tmp_path: Path) -> None:
    before = children(os.getpid())
    async with supervising("assorted", tmp_path) as bench:
        (guard,) = children(os.getpid()) - before
        (warm,) = children(guard)
        os.kill(warm, signal.SIGSTOP)
        ordered = asyncio.create_task(bench.run("double", x=1.0))
        await asyncio.wait([ordered], timeout=2.0)
        assert not ordered.done()
        os.kill(warm, signal.SIGCONT)
        assert (await ordered).kind is Kind.succeeded
        assert children(guard) == {warm}


async def test_a_frozen_guard_does_not_hold_up_the_end(tmp_path: Path) -> None:
    before = children(os.getpid())
    async with supervising("assorted", tmp_path):
        (guard,) = children(os.getpid()) - before
        os.kill(guard, signal.SIGSTOP)
    assert children(os.getpid()) == before


async def test_an_interrupt_of_the_terminal_does_not_reach_runs(tmp_path: Path) -> None:
    before = children(os.getpid())
    async with supervising("assorted", tmp_path) as bench:
        (guard,) = children(os.getpid()) - before
        assert os.getpgid(guard) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for pid in (guard, *children(guard)):
                os.kill(pid, number)
        assert (await bench.run("double", x=1.0)).kind is Kind.succeeded
        assert children(os.getpid()) - before == {guard}


async def test_an_import_that_fails_is_told_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match=r"broken\.py does not import: LookupError: the table") as failure:
        async with supervising("broken", tmp_path):
            pytest.fail("it started")
    assert 'raise LookupError("the table is not there")' in failure.value.traceback
    assert "etagere/supervisor" not in failure.value.traceback


def test_without_privileges_in_a_directory_with_spaces(tmp_path: Path) -> None:
    place = tmp_path / "a directory of mine"
    place.mkdir()
    with hosted(place, "waiting", '{"stubborn":false}', *UNPRIVILEGED) as host:
        watched = Watched([*said(host, "service"), *said(host, "run")])
        host.kill()
        assert watched.gone_within(1.0)
    with hosted(place, "double", '{"x":2}', *UNPRIVILEGED) as host:
        assert host.stdout is not None
        assert "outcome succeeded" in host.stdout.read()
