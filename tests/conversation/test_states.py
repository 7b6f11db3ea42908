"""Every state × request cell of docs/conversation.md, over a real server."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from tests.harness import Answer, Server

from etagere.core.canonical import resource_id
from etagere.core.etag import ready_tag

MODELS = Path(__file__).parents[1] / "models" / "conversation.py"
numbers = itertools.count(os.getpid() * 1000)


@dataclass
class Case:
    """A resource in some state: its target, its tags, and what its state needs to be left behind."""

    target: str
    pending: str
    ready: str
    server: Server

    @property
    def id(self) -> str:
        return self.pending[3:-1]


class Place:
    """A server and gates for its models, and two others in a state of their own."""

    def __init__(self, server: Server, gates: Path, data: Path, others: ExitStack) -> None:
        self.server, self.gates = server, gates
        self._data, self._others = data, others

    @cached_property
    def full(self) -> Server:
        """A server whose one place is taken by a run that goes on."""
        server = self._another("full", ETAGERE_MAX_PENDING="1")
        assert server.get(f"/gated?gate={self.gate()}").status == 202
        return server

    @cached_property
    def lost(self) -> list[Case]:
        """Runs, one for each cell, that were under way when their server was killed; it has been started again."""
        server = self._another("lost", "--runs", str(2 * len(ALL)))
        cases = [self.gated(server) for _ in range(2 * len(ALL))]
        for case in cases:
            assert server.get(case.target).status == 202
        deadline = time.monotonic() + 20
        while not all(server.get(case.target)["Run-Status"].startswith("state=running") for case in cases):
            assert time.monotonic() < deadline
        server.kill()
        assert server.process is not None
        assert server.process.stdout is not None
        server.process.stdout.close()
        server.printed = b""
        server.start()
        return cases

    def _another(self, name: str, *options: str, **settings: str) -> Server:
        env = {"GATES": str(self.gates), **settings}
        return self._others.enter_context(Server.serve(MODELS, self._data / name, *options, env=env))

    def case(self, model: str, query: str, body: object, server: Server | None = None) -> Case:
        id = resource_id(f"/{model}@1?{query}")
        digest = hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).digest()
        return Case(f"/{model}?{query}", f'W/"{id}"', str(ready_tag(id, digest, "json")), server or self.server)

    def gate(self) -> str:
        name = f"g{next(numbers)}"
        os.mkfifo(self.gates / name)
        return name

    def open(self, case: Case) -> None:
        with open(self.gates / case.target.partition("gate=")[2].partition("&")[0], "w"):
            pass

    def gated(self, server: Server | None = None) -> Case:
        gate = self.gate()
        return self.case("gated", f"gate={gate}&steps=4", {"gate": gate, "steps": 4}, server)

    def quick(self, server: Server | None = None) -> Case:
        x = next(numbers)
        return self.case("quick", f"label=a&x={x}", {"x": float(x), "label": "a"}, server)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    gates = tmp_path_factory.mktemp("gates")
    data = tmp_path_factory.mktemp("data")
    with (
        ExitStack() as others,
        Server.serve(MODELS, data / "first", "--runs", "4", env={"GATES": str(gates)}) as server,
    ):
        yield Place(server, gates, data, others)


State = Callable[[Place], Iterator[Case]]


def absent(place: Place) -> Iterator[Case]:
    yield place.quick()


def pending(place: Place) -> Iterator[Case]:
    case = place.gated()
    assert place.server.get(case.target).status == 202
    yield case
    place.open(case)
    assert place.server.result(case.target).etag == case.ready


def ready(place: Place) -> Iterator[Case]:
    case = place.quick()
    assert place.server.result(case.target).status == 200
    yield case


def ended(model: str) -> State:
    def state(place: Place) -> Iterator[Case]:
        case = place.case(model, f"x={next(numbers)}", 0)
        assert place.server.result(case.target).status in (422, 500)
        yield case

    return state


def lost(place: Place) -> Iterator[Case]:
    case = place.lost.pop()
    status = case.server.get(f"/r/{case.id}/status").json()
    assert (status["state"], status["attempt"]) in (("queued", 1), ("running", 2))
    yield case
    place.open(case)
    assert case.server.result(case.target).etag == case.ready


def over_capacity(place: Place) -> Iterator[Case]:
    yield place.quick(place.full)


FAILING = ["refusing", "failing", "hanging", "hoarding", "crashing"]
refused, failed, timeout, memory, poison = map(ended, FAILING)


def r202(answer: Answer, case: Case) -> None:
    assert answer.status == 202
    assert answer.etag == case.pending
    assert answer["Cache-Control"] == "no-store"
    assert int(answer["Retry-After"]) >= 1
    assert answer["Vary"] == "Accept, Prefer"
    assert answer["Content-Type"] == "application/vnd.etagere.status+json"
    id = case.id
    assert answer["Link"] == f'<r/{id}>; rel="alternate", <r/{id}/status>; rel="monitor"'
    assert answer["Run-Status"].startswith(("state=queued", "state=running"))
    if not answer.body:
        return
    document = answer.json()
    assert document["id"] == id
    assert document["state"] in ("queued", "running")
    assert document["links"]["result"] == f"r/{id}"


def r304p(answer: Answer, case: Case) -> None:
    assert answer.status == 304
    assert answer.body == b""
    assert answer.etag == case.pending
    assert answer["Cache-Control"] == "no-store"
    assert int(answer["Retry-After"]) >= 1
    assert "Prefer" in answer["Vary"]
    assert answer["Run-Status"].startswith("state=")


def r304r(answer: Answer, case: Case) -> None:
    assert answer.status == 304
    assert answer.body == b""
    assert answer.etag == case.ready
    assert answer["Cache-Control"].startswith("max-age=")
    # Of what is not there, nobody knows whether it was large enough to be coded.
    assert answer["Vary"] in ("Accept", "Accept, Accept-Encoding")
    ours = {"etag", "cache-control", "vary"}
    assert {name.lower() for name in answer.headers} - {"date", "server", "content-length"} == ours


def r200(answer: Answer, case: Case, cached: str = "hit") -> None:
    assert answer.status == 200
    assert answer.etag == case.ready
    assert int(answer["Content-Length"]) > 0
    assert answer["Content-Type"] == "application/json"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "sandbox"
    assert answer["Repr-Digest"].startswith("sha-256=:")
    assert answer["Cache-Status"] == f"etagere; {cached}"
    assert answer["Server-Timing"].startswith("run;dur=")
    assert answer["Vary"] == "Accept"
    assert 'rel="service-desc"' in answer["Link"]
    assert answer.headers["Last-Modified"] is None
    assert answer["Accept-Ranges"] == "bytes"


def r200w(answer: Answer, case: Case) -> None:
    """R200 to who has waited for it."""
    r200(answer, case, "fwd=miss")


def r206(answer: Answer, case: Case) -> None:
    assert answer.status == 206
    assert answer.etag == case.ready
    size = int(answer["Content-Range"].removeprefix("bytes 1-3/"))
    assert (answer["Content-Length"], len(answer.body)) == ("3", 3)
    whole = case.server.get(case.target)
    assert (len(whole.body), whole.body[1:4]) == (size, answer.body)
    same = (
        set(answer.headers) - {"Date", "Content-Length", "Content-Range"} - {"date", "content-length", "content-range"}
    )
    assert {name: answer[name] for name in same} == {name: whole[name] for name in same}


def problem(
    status: int, name: str, control: str = "no-store", retry_after: str | None = None
) -> Callable[[Answer, Case], None]:
    def check(answer: Answer, case: Case) -> None:
        assert answer.status == status
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["Cache-Control"] == control
        assert answer.headers["Retry-After"] == retry_after
        if not answer.body:
            return
        document = answer.json()
        assert document["type"] == f"/-/problems/{name}"
        assert document["status"] == status
        assert b"secret" not in answer.body
        assert b".py" not in answer.body

    return check


e422 = problem(422, "refused", "max-age=300")
e503 = problem(503, "over-capacity", retry_after="5")
NONE, OTHER, PT, RT, ANY, RANGE = "no tag", "another tag", "pending tag", "ready tag", "*", "range"
WAIT, POLL = "no tag and a wait", "pending tag and a wait"
ALL = [NONE, OTHER, PT, RT, ANY, RANGE, WAIT, POLL]
ROWS: dict[State, dict[str, Callable[[Answer, Case], None]]] = {
    absent: {NONE: r202, OTHER: r202, PT: r202, RT: r304r, ANY: r202, RANGE: r202, WAIT: r200w, POLL: r200w},
    pending: {NONE: r202, OTHER: r202, PT: r304p, RT: r304r, ANY: r304p, RANGE: r202, WAIT: r202, POLL: r304p},
    ready: {NONE: r200, OTHER: r200, PT: r200, RT: r304r, ANY: r304r, RANGE: r206, WAIT: r200, POLL: r200},
    refused: dict.fromkeys(ALL, e422),
    lost: {NONE: r202, OTHER: r202, PT: r304p, RT: r304r, ANY: r304p, RANGE: r202, WAIT: r202, POLL: r304p},
    over_capacity: {**dict.fromkeys(ALL, e503), RT: r304r},
}
for state, name in ((failed, "failed"), (timeout, "timeout"), (memory, "memory"), (poison, "poison")):
    ROWS[state] = {**dict.fromkeys(ALL, problem(500, f"run-{name}")), RT: r304r}

NAMES = ["absent", "pending", "ready", "refused", "lost", "over capacity", "failed", "timeout", "memory", "poison"]
STATE_NAMES = dict(zip(ROWS, NAMES, strict=True))
CELLS = [
    pytest.param(state, shown, check, id=f"{STATE_NAMES[state]}-{shown}".replace(" ", "-"))
    for state, row in ROWS.items()
    for shown, check in row.items()
]


def sent(case: Case, shown: str) -> dict[str, str]:
    tags = {OTHER: '"something else"', PT: case.pending, POLL: case.pending, RT: case.ready, ANY: "*"}
    more = {WAIT: {"Prefer": "wait=1"}, POLL: {"Prefer": "wait=1"}, RANGE: {"Range": "bytes=1-3"}}.get(shown, {})
    return {**more, "If-None-Match": tags[shown]} if shown in tags else more


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("state", "shown", "check"), CELLS)
def test_every_cell(place: Place, method: str, state: State, shown: str, check: Callable[..., None]) -> None:
    for case in state(place):
        answer = case.server.request(method, case.target, sent(case, shown))
        if method == "HEAD":
            assert answer.body == b""
        # Range is defined for GET alone.
        (r200 if check is r206 and method == "HEAD" else check)(answer, case)
        if check in (r304r, e503) and state in (absent, over_capacity):
            status = case.server.get(f"/r/{case.id}/status")
            assert status.status == 404, "neither a ready tag nor a refused request may start a run"
