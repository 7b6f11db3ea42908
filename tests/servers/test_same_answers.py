"""One table of requests, and the same answers from granian, which `etagere serve` runs, and from uvicorn."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Answer, Server

ROOT = Path(__file__).parents[2]
HTML = {"Accept": "text/html"}
OF_THE_SERVER = {"date", "server", "connection"}
OF_THE_MOMENT = {"run-status", "server-timing"}
REQUESTS: list[tuple[str, str, dict[str, str]]] = [
    *((method, "/quick?x=1", {}) for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE", "PATCH")),
    ("GET", "/quick?x=01.0&label=%61", {}),
    ("GET", "/quick?x=1&label=a%20b%2Bc+d", {}),
    ("GET", "/quick@1.json?x=1", {}),
    ("GET", "/quick?x=1", {"If-None-Match": "*"}),
    ("GET", "/quick?x=1", {"If-None-Match": '"a", W/"b"'}),
    ("GET", "/quick?x=1", {"If-Match": '"a"'}),
    ("GET", "/quick?x=1", {"If-Match": "*"}),
    ("GET", "/quick?x=1", {"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}),
    ("GET", "/quick?x=1", {"Accept": "text/csv"}),
    ("GET", "/quick?x=1", {"Accept": "*/*;q=0.1, application/json"}),
    ("GET", "/quick?x=1", {"If-None-Match": f'"{"a" * 9000}"'}),
    ("GET", "/quick?x=1", {"Host": "elsewhere.example"}),
    ("GET", "/quick?x=1_0&label=%zz&more=%ff", {}),
    ("GET", "/quick", {}),
    ("GET", "/quick?", {}),
    ("GET", "/quick?x=8&label=" + "a" * 20_000, {"Sec-Purpose": "prefetch"}),
    ("GET", "/quick?x=" + "9" * 60_000, {}),
    ("GET", "/large?n=2", {}),
    ("HEAD", "/large?n=2", {}),
    ("GET", "/refusing?x=1", {}),
    ("HEAD", "/refusing?x=1", {}),
    ("GET", "/failing?x=1", {}),
    ("GET", "/gated?gate=shut", {}),
    ("HEAD", "/gated?gate=shut", {}),
    ("GET", "/gated?gate=shut", {"If-None-Match": "*"}),
    ("GET", "/gated?gate=shut", HTML),
    ("GET", "/nothing?x=1", {}),
    ("GET", "/quick%2F?x=1", {}),
    ("GET", "/quick@7?x=1", {}),
    ("GET", "//quick?x=1", {}),
    ("GET", "/r/aaaa", {}),
    ("GET", "/", {}),
    ("GET", "/", HTML),
    ("HEAD", "/", {}),
    ("GET", "/-/models/quick", {}),
    ("GET", "/-/nothing", {}),
    ("GET", "/-/health/ready", {}),
    ("GET", "/-/static/style.css", {}),
    ("GET", "/robots.txt", {}),
]


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gates = tmp_path_factory.mktemp("gates")
    os.mkfifo(gates / "shut")
    return gates


@pytest.fixture(scope="module")
def granian(tmp_path_factory: pytest.TempPathFactory, gates: Path) -> Iterator[Server]:
    models = ROOT / "tests" / "models" / "conversation.py"
    with Server.serve(models, tmp_path_factory.mktemp("data"), env={"GATES": str(gates)}) as server:
        prepare(server)
        yield server


@pytest.fixture(scope="module", params=["httptools", "h11"])
def uvicorn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, gates: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "uvicorn", "--no-access-log", "--http", request.param, "--port", "0"]
    command += ["--h11-max-incomplete-event-size", "70000"] if request.param == "h11" else []
    data = tmp_path_factory.mktemp("data")
    env = {"ETAGERE_DATA": str(data), "GATES": str(gates), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    with Server([*command, "tests.models.conversation:app"], env, ROOT) as server:
        prepare(server)
        yield server


def prepare(server: Server) -> None:
    """Bring the resources of the table into their states."""
    for target in ("/quick?x=1", "/quick?x=1&label=a%20b%2Bc+d", "/large?n=2", "/refusing?x=1", "/failing?x=1"):
        server.result(target)
    assert server.get("/gated?gate=shut").status == 202


def seen(answer: Answer) -> tuple[int, list[tuple[str, str]], str]:
    """Status, fields and content, without what is another each time: the moment, and the length of what tells it.

    When to come back grows with the time for which a run has been pending, and one server was started before the other.
    """
    momentary = answer.status in (202, 422, 500)
    passing = OF_THE_SERVER | OF_THE_MOMENT | ({"content-length"} if momentary else set())
    named = sorted((name.lower(), value) for name, value in answer.headers.items())
    kept = [(name, value) for name, value in named if name not in passing]
    if answer.status in (202, 304):
        kept = [(name, "seconds" if name == "retry-after" and value.isdigit() else value) for name, value in kept]
    return answer.status, kept, "" if momentary else hashlib.sha256(answer.body).hexdigest()


@pytest.mark.parametrize(("method", "target", "asked"), REQUESTS, ids=[f"{m} {t[:40]}" for m, t, _ in REQUESTS])
def test_both_give_the_same_answer(
    granian: Server, uvicorn: Server, method: str, target: str, asked: dict[str, str]
) -> None:
    assert seen(granian.request(method, target, asked)) == seen(uvicorn.request(method, target, asked))
