"""SIGTERM under load: an orderly end, and runs that are taken up again as if nothing had been."""

from __future__ import annotations

import itertools
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from tests.faults.gates import Gates
from tests.faults.service import Service, eventually
from tests.harness import Answer

from etagere.core.lifecycle import CRASHES_ALLOWED

STOP_SECONDS = 12.0


@pytest.mark.parametrize(("number", "stops"), [(signal.SIGTERM, CRASHES_ALLOWED + 1), (signal.SIGINT, 1)])
def test_a_stop_queues_running_runs_again_and_counts_nothing(
    gates: Gates, tmp_path: Path, number: int, stops: int
) -> None:
    service = gates.service(tmp_path / "data", "--runs", "3")
    names = [gates.new() for _ in range(9)]
    targets = [f"/gated?gate={name}" for name in names]
    with service:
        tags = {target: service.get(target).etag for target in targets}
        for stopped in range(1, stops + 1):
            eventually(lambda seen=stopped: len(gates.begun()) == 3 * seen, 20, "three runs wait at their gates")
            assert service.process is not None
            began = time.monotonic()
            service.process.send_signal(number)
            assert service.stop() == 0
            assert time.monotonic() - began < STOP_SECONDS
            assert not service.processes()
            assert journal(service) == [("queued", 0, 0)] * len(names)
            service.start()
            for target, tag in tags.items():
                assert service.get(target, tag).status == 304
        gates.open(*names)
        answers = service.results(targets)
    assert {answer.status for answer in answers.values()} == {200}
    begun = gates.begun()
    for stopped in range(stops):
        assert set(begun[3 * stopped :][:3]) == set(names[:3]), "what ran before runs first again"


def test_a_stop_under_load_answers_everybody(gates: Gates, tmp_path: Path) -> None:
    """Whoever gets an answer gets a proper one; whoever was accepted is found again."""
    service = gates.service(tmp_path / "data", "--runs", "2")
    answers: dict[str, Answer] = {}
    faults: list[BaseException] = []
    gate = gates.new()
    gates.open(gate)

    def ask(n: int) -> None:
        try:
            for m in itertools.cycle(range(30)):
                target = f"/memory?gate={gate}&size={n * 10_000 + m}"
                answer = service.get(target)
                if answers.setdefault(target, answer).status == 202:
                    assert answer.status in (200, 202)
        except OSError:
            return  # the service is gone
        except BaseException as fault:
            faults.append(fault)

    with service:
        askers = [threading.Thread(target=ask, args=(n,)) for n in range(1, 5)]
        for asker in askers:
            asker.start()
        eventually(lambda: len(answers) > 40, 20, "there is some load")
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < STOP_SECONDS
        for asker in askers:
            asker.join(30)
        assert not faults
        assert {answer.status for answer in answers.values()} <= {202, 503}
        accepted = {target: answer.etag for target, answer in answers.items() if answer.status == 202}
        assert accepted
        service.start()
        for target, tag in accepted.items():
            assert service.get(target, tag).status in (304, 200)
        for target, answer in service.results(list(accepted)).items():
            assert answer.status == 200
            assert len(answer.body) == int(target.rpartition("=")[2])


def test_a_second_signal_changes_nothing(gates: Gates, tmp_path: Path) -> None:
    service = gates.service(tmp_path / "data")
    with service:
        gate = gates.new()
        assert service.get(f"/gated?gate={gate}").status == 202
        eventually(gates.waiting, 20, "the run waits at its gate")
        assert service.process is not None
        for _ in range(3):
            service.process.send_signal(signal.SIGTERM)
        assert service.stop() == 0
        assert journal(service) == [("queued", 0, 0)]
        service.start()


def journal(service: Service) -> list[tuple[str, int, int]]:
    """State, crashes and losses of each run that a service left behind."""
    connection = sqlite3.connect(service.data / "etagere.sqlite3")
    try:
        return connection.execute("SELECT state, crashes, losses FROM run").fetchall()
    finally:
        connection.close()
