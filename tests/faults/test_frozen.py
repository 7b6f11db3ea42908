"""SIGSTOP and SIGCONT: what is frozen is bounded by its limits, and goes on where it was when it thaws."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.faults.gates import Gates
from tests.faults.service import MODELS, Service, eventually

FROZEN_SECONDS = 1.0
PING_SECONDS = 0.5
TIME_LIMIT = 0.4


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def service(gates: Gates, tmp_path: Path) -> Iterator[Service]:
    with gates.service(tmp_path / "data", "--runs", "2") as started:
        yield started


def pings_for_a_while(service: Service, tags: dict[str, str]) -> None:
    """Pings are answered as ever."""
    deadline = time.monotonic() + FROZEN_SECONDS
    while time.monotonic() < deadline:
        for target, tag in tags.items():
            began = time.monotonic()
            assert service.get(target, tag).status == 304
            assert time.monotonic() - began < PING_SECONDS


def test_frozen_runs_go_on_when_they_thaw(service: Service, gates: Gates) -> None:
    names = [gates.new() for _ in range(2)]
    tags = {target: service.get(target).etag for target in (f"/gated?gate={name}" for name in names)}
    eventually(lambda: len(gates.waiting()) == 2, 20, "two runs wait at their gates")
    with frozen(*service.runs()):
        gates.open(*names)
        pings_for_a_while(service, tags)
    assert {answer.status for answer in service.results(list(tags)).values()} == {200}
    assert sorted(gates.begun()) == sorted(names), "each was computed once"


def test_a_frozen_run_has_its_time_limit(tmp_path: Path) -> None:
    """Stopped, a process takes no SIGTERM, and the grace is no longer for it."""
    env = {"EXECUTIONS": str(tmp_path / "executions")}
    with Service(MODELS / "unruly.py", tmp_path / "data", env=env) as service:
        tag = service.get("/ignores_sigterm?x=1").etag
        eventually(service.runs, 20, "it runs")
        run = service.runs()
        for pid in run:
            os.kill(pid, signal.SIGSTOP)
        answer = service.result("/ignores_sigterm?x=1", 5)
        assert (answer.status, answer.json()["type"]) == (500, "/-/problems/run-timeout")
        assert tag
        eventually(lambda: not set(run) & set(service.processes()), 2, "it is gone")
        assert service.result("/quiet?x=3").json() == 9


def test_frozen_helpers_go_on_when_they_thaw(service: Service, gates: Gates) -> None:
    """The warm process and its guard: what was ordered meanwhile begins then, and what ended is taken then."""
    running, waiting = gates.new(), [gates.new() for _ in range(3)]
    tags = {f"/gated?gate={running}": service.get(f"/gated?gate={running}").etag}
    eventually(gates.waiting, 20, "a run waits at its gate")
    with frozen(*service.helpers()):
        for target in (f"/gated?gate={name}" for name in waiting):
            tags[target] = service.get(target).etag
        pings_for_a_while(service, tags)
        gates.open(running, *waiting)
    assert {answer.status for answer in service.results(list(tags)).values()} == {200}
    assert sorted(gates.begun()) == sorted([running, *waiting]), "each was computed once"


@pytest.mark.parametrize("who", ["everybody", "the service alone"])
def test_a_frozen_service_goes_on_when_it_thaws(service: Service, gates: Gates, who: str) -> None:
    """Like a machine that was asleep: nothing is lost or done twice because of the time that has gone by."""
    names = [gates.new() for _ in range(3)]
    tags = {target: service.get(target).etag for target in (f"/gated?gate={name}" for name in names)}
    eventually(lambda: len(gates.waiting()) == 2, 20, "two runs wait at their gates")
    with frozen(*(service.processes() if who == "everybody" else [service.pid])):
        gates.open(*names)
        time.sleep(FROZEN_SECONDS)
    for target, tag in tags.items():
        assert service.get(target, tag).status in (304, 200)
    assert {answer.status for answer in service.results(list(tags)).values()} == {200}
    assert sorted(gates.begun()) == sorted(names), "each was computed once"


def test_a_frozen_service_can_be_killed(service: Service, gates: Gates) -> None:
    """What is frozen dies of SIGKILL like everything else, and takes along what it has started."""
    name = gates.new()
    target = f"/family?gate={name}"
    tag = service.get(target).etag
    eventually(gates.waiting, 20, "a run waits at its gate")
    for pid in [*service.others(), service.pid]:
        os.kill(pid, signal.SIGSTOP)
    service.kill()
    eventually(lambda: not service.processes(), 1, "everything is gone")
    service.start()
    assert service.get(target, tag).status == 304
    gates.open(name)
    assert service.result(target).status == 200
