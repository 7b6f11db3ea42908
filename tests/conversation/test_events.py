"""The status as server-sent events, over real servers."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conversation.asking import MODELS, ROOT, Asking, Gates, numbers, served
from tests.harness import Server

STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Gates) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data"), "--runs", "8", env=gates.env) as server:
        yield server


def events_of(server: Server, path: str) -> str:
    """Start a run; the path of its events, by the link that the answer gives."""
    answer = server.get(path)
    assert answer.status in (200, 202)
    id = answer.json()["id"] if answer.status == 202 else answer.etag[1:33]
    return f"/r/{id}/events"


def ended_events(server: Server, path: str) -> str:
    """The same of a run that has ended."""
    events = events_of(server, path)
    assert server.get(path, Prefer="wait=20").status != 202
    return events


def document(event: dict[str, str]) -> dict[str, Any]:
    assert event["event"] == "status"
    found: dict[str, Any] = json.loads(event["data"])
    return found


def number(event: dict[str, str]) -> int:
    return int(event["id"].partition(".")[0])


def at_the_gate(stream: Iterator[dict[str, str]]) -> dict[str, str]:
    """The event that tells that the run waits at its gate."""
    return next(event for event in stream if "data" in event and document(event).get("message") == "at the gate")


def until_there_is_room(server: Server, path: str) -> None:
    deadline = time.monotonic() + 10
    while server.request("HEAD", path).status == 503:
        assert time.monotonic() < deadline, "the place of a client that has gone stays taken"


def test_a_run_is_followed_until_its_end(server: Server, gates: Gates) -> None:
    gate = gates.new()
    path = events_of(server, f"/gated?gate={gate}")
    with Asking(server, path) as asking:
        fields = asking.begin()
        assert asking.response.status == 200
        assert {name: fields[name] for name in STREAM} == STREAM
        stream = asking.events()
        waiting = at_the_gate(stream)
        assert document(waiting)["progress"] == 0.5
        assert asking.held(1.2), "nothing changes, so nothing is told"
        gates.open(gate)
        rest = list(stream)
    last = document(rest[-1])
    assert (last["state"], last["outcome"]) == ("succeeded", "succeeded")
    assert last["links"]["events"] == f"../..{path}"
    numbers = [number(event) for event in [waiting, *rest]]
    assert numbers == sorted(set(numbers))
    assert server.get(path.replace("events", "status")).json() == last


@pytest.mark.parametrize("kind", ["httptools", "h11"])
def test_on_another_server(kind: str, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    with served(kind, tmp_path / "data", gates, max_waiting="1") as server:
        gate = gates.new()
        path = events_of(server, f"/gated?gate={gate}")
        with Asking(server, path) as asking:
            assert asking.begin()["Content-Type"] == "text/event-stream"
            known = at_the_gate(asking.events())
        until_there_is_room(server, path)
        with Asking(server, path, Last_Event_ID=known["id"]) as asking:
            asking.begin()
            stream = asking.events()
            assert next(stream) == {"comment": ""}
            gates.open(gate)
            assert document(list(stream)[-1])["state"] == "succeeded"


def test_a_connection_on_which_nothing_happens_shows_that_it_lives(tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    hasty = "from etagere.asgi import events; events.HEARTBEAT_SECONDS = 0.1; from etagere.cli import main; main()"
    serve = [sys.executable, "-c", hasty, "serve", str(MODELS), "--data", str(tmp_path / "data"), "--port", "0"]
    with Server(serve, gates.env, ROOT) as server:
        gate = gates.new()
        with Asking(server, events_of(server, f"/gated?gate={gate}")) as asking:
            asking.begin()
            stream = asking.events()
            at_the_gate(stream)
            assert [next(stream) for _ in range(3)] == [{"comment": ""}] * 3
            gates.open(gate)
            assert "data" in list(stream)[-1]


def test_who_was_there_before_gets_what_is_new(server: Server, gates: Gates) -> None:
    gate = gates.new()
    path = events_of(server, f"/gated?gate={gate}")
    with Asking(server, path) as asking:
        asking.begin()
        known = at_the_gate(asking.events())
    with Asking(server, path, Last_Event_ID=known["id"]) as asking:
        assert asking.begin()["Content-Type"] == "text/event-stream"
        stream = asking.events()
        assert next(stream) == {"comment": ""}, "only a sign of life"
        gates.open(gate)
        events = list(stream)
    assert [document(event)["state"] for event in events][-1] == "succeeded"
    assert number(events[0]) == number(known) + 1
    ended = server.get(path, Last_Event_ID=events[-1]["id"])
    assert (ended.status, ended.body, ended["Cache-Control"]) == (204, b"", "no-store")


@pytest.mark.parametrize("last", ["", "7", "x.y", "-1.0123456789abcdef", "9" * 5000, "1.0123456789abcdef\xb2", "3.é"])
def test_an_id_that_is_none_of_ours_starts_from_the_beginning(server: Server, last: str) -> None:
    path = ended_events(server, "/quick?x=1")
    with Asking(server, path, Last_Event_ID=last) as asking:
        asking.begin()
        [event] = asking.events()
    assert number(event) == 1


@pytest.mark.parametrize(
    ("model", "state", "outcome", "name"),
    [
        ("quick", "succeeded", "succeeded", None),
        ("refusing", "failed", "refused", "refused"),
        ("failing", "failed", "failed", "run-failed"),
        ("hanging", "failed", "timeout", "run-timeout"),
    ],
)
def test_what_has_ended_is_one_event(server: Server, model: str, state: str, outcome: str, name: str | None) -> None:
    path = ended_events(server, f"/{model}?x={next(numbers)}")
    with Asking(server, path) as asking:
        fields = asking.begin()
        assert {field: fields[field] for field in STREAM} == STREAM
        [event] = asking.events()
    told = document(event)
    assert (told["state"], told["outcome"]) == (state, outcome)
    assert told.get("problem", {}).get("type") == (f"/-/problems/{name}" if name else None)


def test_a_failure_ends_a_stream(server: Server) -> None:
    path = events_of(server, f"/crashing?x={next(numbers)}")
    with Asking(server, path) as asking:
        asking.begin()
        *_, last = (event for event in asking.events() if "data" in event)
    assert document(last)["outcome"] == "poison"


def test_head_is_the_same_without_events(server: Server, gates: Gates) -> None:
    gate = gates.new()
    for path in (events_of(server, f"/gated?gate={gate}"), ended_events(server, "/quick?x=1")):
        answer = server.request("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")
        assert {name: answer[name] for name in STREAM} == STREAM
    gates.open(gate)


def test_an_unknown_id(server: Server) -> None:
    answer = server.get(f"/r/{'a' * 32}/events")
    assert (answer.status, answer.json()["type"]) == (404, "/-/problems/unknown-id")


def test_streams_and_waits_share_the_places(tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    with Server.serve(MODELS, tmp_path / "data", env={**gates.env, "ETAGERE_MAX_WAITING": "1"}) as server:
        gate = gates.new()
        target = f"/gated?gate={gate}"
        path = events_of(server, target)
        with Asking(server, path) as asking:
            asking.begin()
            at_the_gate(asking.events())
            refused = server.get(path)
            assert (refused.status, refused.json()["type"]) == (503, "/-/problems/too-many-waiting")
            assert int(refused["Retry-After"]) >= 1
            assert server.request("HEAD", path).status == 503
            assert server.get(target, Prefer="wait=1").headers["Preference-Applied"] is None
        until_there_is_room(server, path)
        assert server.request("HEAD", path).status == 200, "HEAD keeps no place"
        gates.open(gate)
        assert server.result(target).status == 200


def test_a_service_that_stops_ends_its_streams(tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    with Server.serve(MODELS, tmp_path / "data", env=gates.env) as server:
        gate = gates.new()
        with Asking(server, events_of(server, f"/gated?gate={gate}")) as asking:
            asking.begin()
            stream = asking.events()
            at_the_gate(stream)
            began = time.monotonic()
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            assert list(stream) == []
            server.process.wait(30)
            assert time.monotonic() - began < 9, "nothing is left to wait for"
