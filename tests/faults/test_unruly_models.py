"""Models that misbehave, over HTTP: a described failure each, while all others go on undisturbed."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.service import MODELS, Service, eventually, steady
from tests.harness import Answer

numbers = itertools.count(1)
MIB = 1024 * 1024
LIMITS = {"ETAGERE_MAX_RUN_DIR": "16MiB", "ETAGERE_MAX_PROCESSES": "40"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = tmp_path_factory.mktemp("unruly")
    env = {"EXECUTIONS": str(place / "executions"), **LIMITS}
    with Service(MODELS / "unruly.py", place / "data", "--runs", "4", env=env) as started:
        yield started
        eventually(lambda: not started.others(), 2, "the service is alone in the end")


@pytest.fixture
def others(service: Service) -> Iterator[list[Answer]]:
    """Runs of a model that behaves, one after the other while the test goes on."""
    first = next(numbers) * 1_000_000
    with steady(service, f"/quiet?x={first // 1_000_000}{{:06}}") as answers:
        yield answers


def is_problem(answer: Answer, status: int, name: str) -> str:
    """The detail of a problem that tells nothing of the inside."""
    assert answer.status == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] is None
    document = answer.json()
    assert document["type"] == f"/-/problems/{name}"
    assert document["status"] == status
    for secret in (b"Traceback", b".py", b"/tmp", b"secret", str(MODELS).encode()):
        assert secret not in answer.body
    return str(document["detail"])


def executions(service: Service, model: str) -> int:
    return sum(line.split()[0] == model for line in service.executions())


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("raises", "ValueError"),
        ("exits", "SystemExit"),
        ("is_not_finite", "bad[1]"),
        ("is_no_json", "object"),
    ],
)
def test_a_failure_of_the_model_is_told_and_remembered(service: Service, model: str, said: str) -> None:
    target = f"/{model}?x={next(numbers)}"
    detail = is_problem(service.result(target), 500, "run-failed")
    assert said in detail
    assert is_problem(service.get(target), 500, "run-failed") == detail
    assert executions(service, model) == 1


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("model", ["segfaults", "exits_at_once", "kills_its_group"])
def test_what_crashes_three_times_is_given_up(service: Service, model: str) -> None:
    target = f"/{model}?x={next(numbers)}"
    answer = service.result(target)
    assert "3 times" in is_problem(answer, 500, "run-poison")
    told = answer.json()
    assert (told["attempts"], told["crashed"], told["lost"], told["attempt"]) == (3, 3, 0, 3)
    assert executions(service, model) == 3
    assert service.get(target).status == 500
    assert executions(service, model) == 3


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("detached", ["false", "true"])
def test_processes_left_behind_are_ended_and_the_result_stands(service: Service, detached: str) -> None:
    answer = service.result(f"/forks?x={next(numbers)}&detached={detached}")
    assert answer.status == 200
    # One at most is of the other runs, which go on.
    eventually(lambda: len(service.others()) <= 1, 2, "nobody is left behind")


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("model", ["ignores_sigterm", "stops_itself"])
def test_sigterm_may_be_ignored_but_not_the_time_limit(service: Service, model: str) -> None:
    began = time.monotonic()
    answer = service.result(f"/{model}?x={next(numbers)}")
    assert "time limit" in is_problem(answer, 500, "run-timeout")
    assert 0.4 <= time.monotonic() - began < 5
    assert answer.json()["limit"] == {"name": "time_limit", "value": 0.4, "unit": "s"}
    assert 0.4 <= answer.json()["seconds"] < 5
    assert executions(service, model) == 1


@pytest.mark.usefixtures("others")
def test_a_memory_limit_is_kept(service: Service) -> None:
    answer = service.result(f"/swallows?mib={400 + next(numbers)}")
    is_problem(answer, 500, "run-memory")
    assert answer.json()["limit"] == {"name": "memory_limit", "value": 100 * MIB, "unit": "bytes"}
    assert executions(service, "swallows") == 1


@pytest.mark.usefixtures("others")
def test_a_daemon_does_not_escape_the_memory_limit_nor_the_end(service: Service) -> None:
    is_problem(service.result(f"/hides_what_it_swallows?x={next(numbers)}"), 500, "run-memory")
    eventually(lambda: len(service.others()) <= 1, 2, "nobody is left behind")


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("sessions", ["false", "true"])
def test_a_fork_bomb_is_failed_and_gone(service: Service, sessions: str) -> None:
    answer = service.result(f"/multiplies?x={next(numbers)}&sessions={sessions}")
    assert "more than 40 processes" in is_problem(answer, 500, "run-failed")
    assert answer.json()["limit"] == {"name": "max_processes", "value": 40, "unit": "processes"}
    eventually(lambda: len(service.others()) <= 1, 10, "nobody is left behind")


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_run_may_not_fill_the_disk(service: Service, size: int) -> None:
    answer = service.result(f"/fills_the_disk?x={next(numbers)}&size={size}")
    assert "max_run_dir" in is_problem(answer, 500, "run-failed")
    assert answer.json()["limit"] == {"name": "max_run_dir", "value": 16 * MIB, "unit": "bytes"}


def test_pings_go_on_while_a_run_prints_without_end(service: Service) -> None:
    target, took = f"/prints_for_ever?x={next(numbers)}", []
    tag = service.get(target).etag
    eventually(lambda: service.get(f"{target}").json()["state"] == "running", 10, "it prints")
    for _ in range(200):
        began = time.monotonic()
        assert service.get(target, tag).status == 304
        took.append(time.monotonic() - began)
    assert sorted(took)[100] < 0.1


def test_what_a_run_printed_is_kept_for_operators_alone(service: Service) -> None:
    target = f"/dies?x={next(numbers)}"
    answer = service.result(target)
    is_problem(answer, 500, "run-poison")
    id = answer.json()["id"]
    assert b"secret" not in service.get(f"/r/{id}/status").body
    connection = sqlite3.connect(service.data / "etagere.sqlite3")
    try:
        rows = connection.execute("SELECT attempt, outcome, output FROM printed WHERE id = ?", (id,)).fetchall()
    finally:
        connection.close()
    assert rows == [(3, "poison", f"the secret is {target.rpartition('=')[2]}\n")]


def test_a_frozen_warm_process_is_noticed_and_its_runs_are_tried_again(service: Service) -> None:
    target, x = "/quiet?x={}", next(numbers) * 1_000_000
    (guard,) = [pid for pid, relation in service.processes().items() if relation.parent == service.pid]
    (warm,) = [pid for pid, relation in service.processes().items() if relation.parent == guard]
    os.kill(warm, signal.SIGSTOP)
    assert service.result(target.format(x), 30).json() == x * x
    assert warm not in service.processes()


@pytest.mark.usefixtures("others")
def test_a_gibibyte_of_output_is_read_and_forgotten(service: Service) -> None:
    before = resident(service)
    target = "/prints?mib=1024"
    largest = before
    tag = service.get(target).etag
    while (answer := service.get(target, tag)).status == 304:
        largest = max(largest, resident(service))
        time.sleep(0.02)
    assert answer.status == 200
    assert answer.json() == 1024
    assert largest - before < 64 * MIB


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("model", ["closes_everything", "removes_its_directory"])
def test_a_model_that_spoils_its_own_process_still_answers(service: Service, model: str) -> None:
    x = next(numbers)
    assert service.result(f"/{model}?x={x}").json() == x


@pytest.mark.usefixtures("others")
def test_a_refusal_is_kept_like_a_result(service: Service) -> None:
    x = next(numbers)
    for _ in range(2):
        answer = service.result(f"/refuses?x={x}")
        assert is_problem(answer, 422, "refused") == f"{x} is too much"
        assert answer["Cache-Control"] == "max-age=300"
    assert executions(service, "refuses") == 1


@pytest.mark.parametrize(("model", "attempts"), [("too_slow", 1), ("dies", 3)])
def test_a_failure_is_forgotten_after_its_ttl_and_not_before(service: Service, model: str, attempts: int) -> None:
    target = f"/{model}?x={next(numbers)}"
    before = executions(service, model)
    assert service.result(target).status == 500
    failed = time.monotonic()
    remembered = 0.0
    while service.get(target).status == 500:
        remembered = time.monotonic() - failed
        assert remembered < 6.5, "it is remembered for longer than its failure_ttl"
        time.sleep(0.05)
    assert remembered > 4.5
    assert service.result(target).status == 500
    assert executions(service, model) == before + 2 * attempts


def test_failures_survive_a_kill(service: Service) -> None:
    x = next(numbers)
    targets = [f"/{model}?x={x}" for model in ("raises", "refuses", "segfaults", "is_no_json")]
    before = {target: answer.body for target, answer in service.results(targets).items()}
    counted = len(service.executions())
    service.kill()
    service.start()
    for target, body in before.items():
        again = service.get(target)
        assert again.status in (422, 500)
        assert again.body == body
    assert len(service.executions()) == counted


def resident(service: Service) -> int:
    """Resident bytes of the service's main process."""
    return int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * 4096
