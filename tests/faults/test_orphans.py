"""`kill -9` of the service alone: nothing that it started goes on, and the next one owns everything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.gates import Gates
from tests.faults.service import Service, eventually, kill_process

AT_ONCE = 1.0
READY_SECONDS = 3.0


@pytest.fixture
def service(gates: Gates, tmp_path: Path) -> Iterator[Service]:
    with gates.service(tmp_path / "data", "--runs", "3") as started:
        yield started


def test_nothing_outlives_the_service(service: Service, gates: Gates) -> None:
    names = [gates.new() for _ in range(3)]
    targets = [f"/family?gate={name}" for name in names]
    tags = [service.get(target).etag for target in targets]
    eventually(lambda: len(gates.waiting()) == 3, 20, "three runs wait at their gates")
    before = service.processes()
    assert len(service.others()) >= 3 * 3, "of each run itself, its child and its descendant"
    assert service.helpers()

    service.kill()
    eventually(lambda: not service.processes(), AT_ONCE, "everything is gone")

    service.start()
    assert service.started_in[-1] <= READY_SECONDS
    assert not set(service.processes()) & set(before)
    assert (service.data / "lock").read_text().find(f'"pid": {service.pid}') > 0
    answers = [service.get(target, tag) for target, tag in zip(targets, tags, strict=True)]
    assert [answer.status for answer in answers] == [304] * 3
    assert [answer.etag for answer in answers] == tags
    gates.open(*names)
    assert {answer.status for answer in service.results(targets).values()} == {200}


@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_a_helper_takes_its_runs_along_and_comes_again(service: Service, gates: Gates, which: int) -> None:
    names = [gates.new() for _ in range(2)]
    targets = [f"/gated?gate={name}" for name in names]
    tags = [service.get(target).etag for target in targets]
    eventually(lambda: len(gates.waiting()) == 2, 20, "two runs wait at their gates")
    helpers, runs = sorted(service.helpers()), service.runs()
    assert len(runs) == 2
    assert kill_process(helpers[which], service.mark)
    eventually(lambda: not {*helpers, *runs} & set(service.processes()), AT_ONCE, "all helpers and runs are gone")
    for target, tag in zip(targets, tags, strict=True):
        assert service.get(target, tag).status == 304
    gates.open(*names)
    assert {answer.status for answer in service.results(targets).values()} == {200}
    assert service.helpers()


def test_a_run_that_has_ended_leaves_nobody_behind(service: Service, gates: Gates) -> None:
    name = gates.new()
    assert service.get(f"/family?gate={name}").status == 202
    eventually(gates.waiting, 20, "the run waits at its gate")
    assert len(service.others()) >= 3
    gates.open(name)
    assert service.result(f"/family?gate={name}").status == 200
    eventually(lambda: not service.others(), AT_ONCE, "the service is alone again")


def test_the_data_directory_is_the_owners_alone(service: Service) -> None:
    mode = service.data.stat().st_mode & 0o777
    assert mode == 0o700
    assert not [path for path in service.data.rglob("*") if path.stat().st_uid != os.getuid()]
