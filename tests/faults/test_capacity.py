"""Limits of a service: new runs are refused, and nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path

from tests.faults.gates import Gates
from tests.faults.service import eventually
from tests.harness import Answer

PROXIES = '["127.0.0.1"]'
numbers = itertools.count(1)


def one_of_many() -> dict[str, str]:
    """The fields of a request of yet another client."""
    return {"X_Forwarded_For": f"192.0.2.{next(numbers)}"}


def is_over_capacity(answer: Answer) -> None:
    assert answer.status == 503
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Cache-Control"] == "no-store"
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert answer.headers["ETag"] is None
    assert answer.json()["type"] == "/-/problems/over-capacity"


def test_over_capacity_only_new_runs_are_refused(gates: Gates, tmp_path: Path) -> None:
    with gates.service(tmp_path / "data", "--runs", "2", max_pending=5, trusted_proxies=PROXIES) as service:
        done = gates.new()
        gates.open(done)
        ready = service.result(f"/gated?gate={done}")
        assert ready.status == 200
        names = [gates.new() for _ in range(6)]
        *targets, sixth = [f"/gated?gate={name}" for name in names]
        tags = [service.get(target, **one_of_many()).etag for target in targets]
        for _ in range(3):
            is_over_capacity(service.get(sixth))
            is_over_capacity(service.get(sixth, tags[0]))
            for target, tag in zip(targets, tags, strict=True):
                assert service.get(target).status == 202
                assert service.get(target, tag).status == 304
            again = service.get(f"/gated?gate={done}")
            assert (again.status, again.body, again.etag) == (200, ready.body, ready.etag)
            assert service.get(f"/gated?gate={done}", ready.etag).status == 304
            assert service.get("/").status == 200
        eventually(lambda: len(gates.waiting()) == 2, 20, "two runs wait at their gates")
        gates.open(names[0])
        assert service.result(targets[0]).status == 200
        assert service.get(sixth, **one_of_many()).status == 202
        is_over_capacity(service.get("/gated?gate=another"))
        gates.open(*names[1:])
        assert {answer.status for answer in service.results([*targets, sixth]).values()} == {200}


def test_a_client_starts_half_of_it_and_a_restart_knows(gates: Gates, tmp_path: Path) -> None:
    with gates.service(tmp_path / "data", "--runs", "1", max_pending=5, trusted_proxies=PROXIES) as service:
        mine, theirs = [gates.new() for _ in range(3)], gates.new()
        targets = [f"/gated?gate={name}" for name in mine]
        for target in targets:
            assert service.get(target, X_Forwarded_For="192.0.2.1").status == 202
        for _ in range(2):
            refused = service.get("/gated?gate=another", X_Forwarded_For="1.2.3.4, 192.0.2.1")
            assert (refused.status, refused["Cache-Control"]) == (429, "no-store")
            assert refused.json()["type"] == "/-/problems/share-exhausted"
            assert 1 <= int(refused["Retry-After"]) <= 60
            assert service.get(f"/gated?gate={theirs}", X_Forwarded_For="192.0.2.2").status == 202
            assert service.get(f"/gated?gate={theirs}", X_Forwarded_For="192.0.2.1").status == 202, "a join"
            service.kill()
            service.start()
        gates.open(mine[0])
        eventually(lambda: theirs in gates.waiting(), 20, "the other client has its turn before the rest of a sweep")
        gates.open(theirs, *mine[1:])
        assert {answer.status for answer in service.results(targets).values()} == {200}


def test_a_quota_is_a_clients_own_and_a_restart_knows_it(gates: Gates, tmp_path: Path) -> None:
    mine, theirs = {"X_Forwarded_For": "192.0.2.1"}, {"X_Forwarded_For": "192.0.2.2"}
    with gates.service(tmp_path / "data", "--runs", "1", quota="2/day", trusted_proxies=PROXIES) as service:
        names = [gates.new() for _ in range(4)]
        first, second, third, fourth = [f"/gated?gate={name}" for name in names]
        assert [service.get(target, **mine).status for target in (first, second, third)] == [202, 202, 429]
        assert service.get(third, **theirs).status == 202
        assert service.get(third, **mine).status == 202, "a join"
        for _ in range(2):
            refused = service.get(fourth, **mine)
            assert (refused.status, refused.json()["type"]) == (429, "/-/problems/quota-exhausted")
            assert refused["RateLimit-Policy"] == '"runs";q=2;w=86400'
            assert 43_000 < int(refused["Retry-After"]) <= 43_200
            assert refused["RateLimit"] == f'"runs";r=0;t={refused["Retry-After"]}'
            assert service.get(first, **mine).status == 202, "a join"
            service.kill()
            service.start()
        assert service.get(fourth, **theirs).status == 202
        assert service.get("/gated?gate=another", **theirs).status == 429
        gates.open(*names)


def test_capacity_is_what_a_restart_finds(gates: Gates, tmp_path: Path) -> None:
    with gates.service(tmp_path / "data", "--runs", "1", max_pending=3, trusted_proxies=PROXIES) as service:
        names = [gates.new() for _ in range(3)]
        targets = [f"/gated?gate={name}" for name in names]
        tags = [service.get(target, **one_of_many()).etag for target in targets]
        service.kill()
        service.start()
        is_over_capacity(service.get("/gated?gate=another", **one_of_many()))
        assert [service.get(target, tag).status for target, tag in zip(targets, tags, strict=True)] == [304] * 3
        gates.open(*names)
        assert {answer.status for answer in service.results(targets).values()} == {200}


def test_the_concurrency_of_a_model_is_kept_and_holds_nobody_else(gates: Gates, tmp_path: Path) -> None:
    with gates.service(tmp_path / "data", "--runs", "3") as service:
        singles = [gates.new() for _ in range(4)]
        others = [gates.new() for _ in range(2)]
        targets = [f"/single?gate={name}" for name in singles] + [f"/gated?gate={name}" for name in others]
        for target in targets:
            assert service.get(target).status == 202
        eventually(lambda: set(gates.waiting()) == {singles[0], *others}, 20, "one of them and both others run")
        for name, after in zip(singles, [*singles[1:], None], strict=True):
            assert [waiting for waiting in gates.waiting() if waiting in singles] == [name]
            gates.open(name)
            if after is not None:
                eventually(lambda to=after: to in gates.waiting(), 20, "the next one runs")
        gates.open(*others)
        assert {answer.status for answer in service.results(targets).values()} == {200}
        assert one_at_a_time([event for event in gates.events() if event[0] in singles])


def test_one_run_at_a_time(gates: Gates, tmp_path: Path) -> None:
    with gates.service(tmp_path / "data", "--runs", "1") as service:
        names = [gates.new() for _ in range(4)]
        targets = [f"/{model}?gate={name}" for model, name in zip(["gated", "single"] * 2, names, strict=True)]
        for target in targets:
            assert service.get(target).status == 202
        eventually(gates.waiting, 20, "a run waits at its gate")
        expected = ["state=running", *(f"state=queued, position={n}" for n in (1, 2, 3))]
        # A position may be a second old.
        eventually(lambda: [service.get(target)["Run-Status"] for target in targets] == expected, 3, "all have a place")
        gates.open(*reversed(names))
        assert {answer.status for answer in service.results(targets).values()} == {200}
        assert one_at_a_time(gates.events())
        assert gates.begun() == names, "first come, first served"


def one_at_a_time(events: list[tuple[str, str]]) -> bool:
    names = [name for name, _ in events]
    return [event for _, event in events] == ["begins", "ends"] * (len(events) // 2) and names[::2] == names[1::2]
