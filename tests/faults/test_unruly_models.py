"""Models that misbehave, over HTTP: a described failure each, while all others go on undisturbed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.service import MODELS, Service, eventually, steady
from tests.harness import Answer

numbers = itertools.count(1)
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = tmp_path_factory.mktemp("unruly")
    env = {"EXECUTIONS": str(place / "executions")}
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
    detail = is_problem(service.result(target), 500, "run-poison")
    assert "3 times" in detail
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
def test_sigterm_may_be_ignored_but_not_the_time_limit(service: Service) -> None:
    began = time.monotonic()
    target = f"/ignores_sigterm?x={next(numbers)}"
    assert "time limit" in is_problem(service.result(target), 500, "run-timeout")
    assert 0.4 <= time.monotonic() - began < 5
    assert executions(service, "ignores_sigterm") == 1


@pytest.mark.usefixtures("others")
def test_a_memory_limit_is_kept(service: Service) -> None:
    target = f"/swallows?mib={400 + next(numbers)}"
    is_problem(service.result(target), 500, "run-memory")
    assert executions(service, "swallows") == 1


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


def test_a_timeout_is_forgotten_after_its_ttl_and_not_before(service: Service) -> None:
    target = f"/too_slow?x={next(numbers)}"
    before = executions(service, "too_slow")
    assert service.result(target).status == 500
    failed = time.monotonic()
    remembered = 0.0
    while service.get(target).status == 500:
        remembered = time.monotonic() - failed
        assert remembered < 6.5, "it is remembered for longer than its failure_ttl"
        time.sleep(0.05)
    assert remembered > 4.5
    assert service.result(target).status == 500
    assert executions(service, "too_slow") == before + 2


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
