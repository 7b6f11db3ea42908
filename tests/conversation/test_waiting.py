"""`Prefer: wait` and `only-if-cached`, over real servers."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conversation.asking import MODELS, Asking, Gates, numbers, served
from tests.harness import Answer, Server

from etagere.core.canonical import resource_id


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data"), "--runs", "8", env=gates.env) as server:
        yield server


def quick() -> str:
    return f"/quick?x={next(numbers)}"


def is_pending(answer: Answer, status: int, applied: str | None) -> bool:
    assert answer.status == status
    assert answer.etag.startswith('W/"')
    assert answer["Cache-Control"] == "no-store"
    assert answer.headers["Preference-Applied"] == applied
    return True


def is_not_cached(answer: Answer) -> bool:
    assert answer.status == 504
    assert answer["Cache-Control"] == "no-store"
    assert not answer.body or answer.json()["type"] == "/-/problems/not-cached"
    return True


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_new_run_is_waited_for_and_its_result_is_the_answer(server: Server, method: str) -> None:
    answer = server.request(method, quick(), {"Prefer": "wait=20"})
    assert answer.status == 200
    assert answer.headers["Preference-Applied"] is None
    assert answer["Vary"] == "Accept"
    assert answer["Cache-Status"] == "etagere; fwd=miss"
    assert bool(answer.body) is (method == "GET")


def test_the_answer_comes_with_the_result_and_not_before(server: Server, gates: Gates) -> None:
    gate = gates.new()
    target = f"/gated?gate={gate}"
    tag = server.get(target).etag
    asked = [
        Asking(server, target, Prefer="wait=20"),
        Asking(server, target, Prefer="wait=20", If_None_Match=tag),
        Asking(server, f"/r/{tag[3:-1]}", Prefer='respond-async, wait="20"; foo=bar', If_None_Match=tag),
        Asking(server, target, "HEAD", Prefer="wait=20", If_None_Match="*"),
    ]
    assert all(asking.held() for asking in asked)
    gates.open(gate)
    answers = [asking.answer() for asking in asked]
    assert [answer.status for answer in answers] == [200, 200, 200, 304]
    assert len({answer.etag for answer in answers}) == 1
    joined = "etagere; fwd=miss; collapsed"
    assert [answer.headers["Cache-Status"] for answer in answers] == [joined, joined, joined, None]
    for asking in asked:
        asking.leave()


def test_of_those_that_ask_together_one_has_started_the_run(server: Server, gates: Gates) -> None:
    gate = gates.new()
    asked = [Asking(server, f"/gated?gate={gate}", Prefer="wait=20") for _ in range(5)]
    assert all(asking.held(0.1) for asking in asked)
    gates.open(gate)
    said = Counter(asking.answer()["Cache-Status"] for asking in asked)
    assert said == {"etagere; fwd=miss": 1, "etagere; fwd=miss; collapsed": 4}
    for asking in asked:
        asking.leave()


def test_a_result_that_was_there_is_a_hit_for_who_would_wait(server: Server) -> None:
    target = quick()
    server.get(target, Prefer="wait=20")
    for preference in ({"Prefer": "wait=20"}, {}):
        assert server.get(target, **preference)["Cache-Status"] == "etagere; hit"


def test_a_part_of_what_was_waited_for_says_so_too(server: Server) -> None:
    part = server.get(quick(), Prefer="wait=20", Range="bytes=0-2")
    assert (part.status, part["Cache-Status"]) == (206, "etagere; fwd=miss")


@pytest.mark.parametrize(("model", "status"), [("refusing", 422), ("failing", 500), ("hanging", 500)])
def test_a_failure_ends_the_wait_too(server: Server, model: str, status: int) -> None:
    answer = server.get(f"/{model}?x={next(numbers)}", Prefer="wait=20")
    assert answer.status == status
    assert answer["Content-Type"] == "application/problem+json"


def test_after_the_time_the_answer_is_that_of_a_pending_run(server: Server, gates: Gates) -> None:
    gate = gates.new()
    began = time.monotonic()
    accepted = server.get(f"/gated?gate={gate}", Prefer="wait=1")
    assert is_pending(accepted, 202, "wait=1")
    pinged = server.get(f"/gated?gate={gate}", accepted.etag, Prefer="wait=01")
    assert is_pending(pinged, 304, "wait=1")
    assert time.monotonic() - began >= 2
    gates.open(gate)


@pytest.mark.parametrize("prefer", ["respond-async", "wait=0", "wait", "wait=-1", "wait=1e1", "wait=x, wait=9", "@,="])
def test_what_asks_for_no_wait_is_answered_at_once(server: Server, gates: Gates, prefer: str) -> None:
    gate = gates.new()
    began = time.monotonic()
    accepted = server.get(f"/gated?gate={gate}", Prefer=prefer)
    assert is_pending(accepted, 202, None)
    assert is_pending(server.get(f"/gated?gate={gate}", accepted.etag, Prefer=prefer), 304, None)
    assert time.monotonic() - began < 5
    gates.open(gate)


def test_a_preference_too_long_to_be_read(server: Server) -> None:
    x = next(numbers)
    assert server.get(f"/quick?x={x}", Prefer="a" * 8193).status == 431
    assert server.get(f"/r/{resource_id(f'/quick@1?label=a&x={x}')}/status").status == 404, "it must not start a run"


def test_the_longest_wait_is_the_services(tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    with Server.serve(MODELS, tmp_path / "data", env={**gates.env, "ETAGERE_MAX_WAIT": "1"}) as server:
        gate = gates.new()
        assert is_pending(server.get(f"/gated?gate={gate}", Prefer="wait=" + "9" * 5000), 202, "wait=1")
        gates.open(gate)


@pytest.mark.parametrize("kind", ["granian", "httptools", "h11"])
def test_beyond_the_limit_the_answer_comes_at_once_and_who_leaves_makes_room(kind: str, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    with served(kind, tmp_path / "data", gates, max_waiting="1") as server:
        gate = gates.new()
        target = f"/gated?gate={gate}"
        tag = server.get(target).etag
        with Asking(server, target, Prefer="wait=20", If_None_Match=tag) as first:
            assert first.held()
            assert is_pending(server.get(target, tag, Prefer="wait=1"), 304, None)
            assert is_pending(server.get(target, Prefer="wait=1"), 202, None)
        deadline = time.monotonic() + 10
        while server.get(target, tag, Prefer="wait=1").headers["Preference-Applied"] is None:
            assert time.monotonic() < deadline, "the place of a client that has gone stays taken"
        with Asking(server, target, Prefer="wait=20", If_None_Match=tag) as last:
            assert last.held()
            gates.open(gate)
            assert last.answer().status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_stops_answers_those_that_wait(number: int, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    with Server.serve(MODELS, tmp_path / "data", env=gates.env) as server:
        gate = gates.new()
        target = f"/gated?gate={gate}"
        tag = server.get(target).etag
        with (
            Asking(server, target, Prefer="wait=20") as one,
            Asking(server, target, Prefer="wait=20", If_None_Match=tag) as other,
        ):
            assert one.held()
            assert other.held()
            began = time.monotonic()
            assert server.process is not None
            server.process.send_signal(number)
            assert is_pending(one.answer(), 202, None)
            assert is_pending(other.answer(), 304, None)
            assert time.monotonic() - began < 5
            server.process.wait(30)
            assert server.process.returncode == 0
            assert time.monotonic() - began < 9, "nothing is left to wait for"


ONLY = {"Cache_Control": "max-age=60, only-if-cached"}


def test_only_if_cached_starts_no_run(server: Server) -> None:
    x = next(numbers)
    id = resource_id(f"/quick@1?label=a&x={x}")
    assert is_not_cached(server.get(f"/quick?x={x}", **ONLY))
    assert is_not_cached(server.request("HEAD", f"/quick?x={x}", {"Cache-Control": "only-if-cached"}))
    assert is_not_cached(server.get(f"/quick?x={x}", f'W/"{id}"', **ONLY))
    assert is_not_cached(server.get(f"/quick?x={x}", Sec_Purpose="prefetch", **ONLY))
    shown = f'"{id}.aaaaaaaaaa.json"'
    assert server.get(f"/quick?x={x}", shown, **ONLY).status == 304
    assert server.get(f"/r/{id}/status").status == 404


def test_only_if_cached_does_not_wait_for_a_run(server: Server, gates: Gates) -> None:
    gate = gates.new()
    target = f"/gated?gate={gate}"
    tag = server.get(target).etag
    assert is_not_cached(server.get(target, **ONLY))
    assert is_not_cached(server.get(target, tag, Prefer="wait=20", **ONLY))
    assert server.get(target, tag, Cache_Control="no-cache").status == 304
    gates.open(gate)


def test_only_if_cached_gets_what_is_there(server: Server) -> None:
    target = quick()
    ready = server.result(target)
    again = server.get(target, **ONLY)
    assert (again.status, again.body) == (200, ready.body)
    assert server.get(target, ready.etag, **ONLY).status == 304
    assert server.get(f"/r/{ready.etag[1:33]}", **ONLY).status == 200
    for model, status in (("refusing", 422), ("failing", 500)):
        failed = f"/{model}?x={next(numbers)}"
        assert server.result(failed).status == status
        assert server.get(failed, **ONLY).status == status


def test_what_is_wrong_with_a_request_comes_first(server: Server) -> None:
    assert server.get("/quick?x=1_0", **ONLY).status == 400
    assert server.get(quick(), Accept="text/nothing", **ONLY).status == 406
    assert server.get(quick(), If_Match='"a"', **ONLY).status == 412
    assert server.get("/nothing", **ONLY).status == 404
