"""One table of requests, and the same answers from granian, which `etagere serve` runs, and from uvicorn."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Answer, Server

from etagere.core.canonical import resource_id
from etagere.core.etag import pending_tag, ready_tag

ROOT = Path(__file__).parents[2]
HTML = {"Accept": "text/html"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ONLY_CACHED = {"Cache-Control": "only-if-cached"}
QUICK = resource_id("/quick@1?label=a&x=1")
READY = str(ready_tag(QUICK, hashlib.sha256(b'{"x":1.0,"label":"a"}').digest(), "json"))
PENDING = str(pending_tag(resource_id("/gated@1?gate=shut&steps=4")))
OF_THE_SERVER = {"date", "server", "connection", "transfer-encoding"}
OF_THE_MOMENT = {"run-status", "server-timing"}
MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z|<dt>Computed in</dt><dd>[^<]+")
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
    ("GET", "/quick?x=1", {"If-None-Match": READY}),
    ("GET", "/quick?x=1", {"Range": "bytes=1-3"}),
    ("HEAD", "/quick?x=1", {"Range": "bytes=1-3"}),
    ("GET", "/quick?x=1", {"Range": "bytes=0-1, 4-5, -2"}),
    ("GET", "/quick?x=1", {"Range": "bytes=3-1"}),
    ("GET", "/quick?x=1", {"Range": "bytes=9999-"}),
    ("GET", "/quick?x=1", {"Range": "bytes=1-3", "If-Range": READY}),
    ("GET", "/quick?x=1", {"Range": "bytes=1-3", "If-Range": '"a"'}),
    ("GET", "/large?n=2", {"Range": "bytes=1000000-1999999"}),
    ("GET", "/large?n=2", {"Range": "bytes=0-9, -10"}),
    ("GET", "/large?n=2", {"Range": "bytes=9999999-"}),
    ("GET", "/gated?gate=shut", {"Range": "bytes=1-3"}),
    ("GET", "/quick?x=1", {"Prefer": "wait=1"}),
    ("GET", "/gated?gate=shut", {"Prefer": "wait=1"}),
    ("GET", "/gated?gate=shut", {"Prefer": "wait=1", "If-None-Match": PENDING}),
    ("GET", "/gated?gate=shut", {"Prefer": "respond-async", "If-None-Match": PENDING}),
    ("GET", "/quick?x=1", ONLY_CACHED),
    ("GET", "/gated?gate=shut", ONLY_CACHED),
    ("GET", "/quick?x=9", ONLY_CACHED),
    ("GET", "/series?rows=400", {}),
    ("GET", "/series?rows=400", {"Accept": "text/csv"}),
    ("GET", "/series.csv?rows=400", {}),
    ("HEAD", "/series.csv?rows=400", {}),
    ("GET", "/series.png?rows=400", {}),
    *(("GET", "/series?rows=400", {"Accept-Encoding": coding}) for coding in ("gzip", "zstd, gzip", "*;q=0", "br")),
    ("GET", "/series?rows=400", {"Accept-Encoding": "gzip", "Range": "bytes=1-3"}),
    ("GET", "/series?rows=400", HTML),
    ("GET", f"/r/{QUICK}", {}),
    ("GET", f"/r/{QUICK}.json", {}),
    ("GET", f"/r/{QUICK}.png", {}),
    ("GET", f"/r/{QUICK}/status", {}),
    ("HEAD", f"/r/{QUICK}/status", {}),
    ("GET", f"/r/{QUICK}/status", HTML),
    ("GET", f"/r/{QUICK}/events", {}),
    ("HEAD", f"/r/{QUICK}/events", {}),
    ("GET", f"/r/{QUICK}/nothing", {}),
    ("GET", "/-/docs", {}),
    ("GET", "/-/docs", {"If-None-Match": "*"}),
    ("GET", "/-/openapi.json", {}),
    ("GET", "/-/models/quick", HTML),
    ("GET", "/-/problems/", {}),
    ("GET", "/-/problems/refused", {}),
    ("GET", "/-/problems/refused", HTML),
    ("GET", "/-/problems/nothing", HTML),
]
QUERIES: list[tuple[str, dict[str, str], bytes]] = [
    ("/quick", JSON, b'{"x": 1}'),
    ("/quick", FORM, b"x=01.0"),
    ("/quick@1.json", FORM, b"x=1"),
    ("/gated", JSON, b'{"gate": "shut"}'),
    ("/quick", FORM | ONLY_CACHED, b"x=9"),
    ("/quick", FORM, b"x=1_0&more="),
    ("/quick", JSON, b'{"x": 1, "x": 1}'),
    ("/quick", JSON, b""),
    ("/quick?x=1", FORM, b"x=1"),
    ("/quick", {}, b"x=1"),
    ("/quick", {"Content-Type": "text/plain"}, b"x=1"),
    ("/quick", JSON | {"Content-Encoding": "gzip"}, b"x=1"),
    ("/", JSON, b"{}"),
    ("/nothing", JSON, b"{}"),
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
    ready = ("/quick?x=1", "/quick?x=1&label=a%20b%2Bc+d", "/large?n=2", "/series?rows=400")
    for target in (*ready, "/refusing?x=1", "/failing?x=1"):
        server.result(target)
    assert server.get("/gated?gate=shut").status == 202


def seen(answer: Answer) -> tuple[int, list[tuple[str, str]], str]:
    """Status, fields and content, without what is another each time: the moment, and the length of what tells it.

    When to come back grows with the time for which a run has been pending, and one server was started before the other.
    """
    momentary = answer.status in (202, 422, 500) or answer["Content-Type"] == "text/event-stream"
    content = MOMENT.sub(b"moment", answer.body)
    passing = OF_THE_SERVER | OF_THE_MOMENT | ({"content-length"} if momentary or content != answer.body else set())
    named = sorted((name.lower(), value) for name, value in answer.headers.items())
    kept = [(name, value) for name, value in named if name not in passing]
    if answer.status in (202, 304):
        kept = [(name, "seconds" if name == "retry-after" and value.isdigit() else value) for name, value in kept]
    return answer.status, kept, "" if momentary else hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(("method", "target", "asked"), REQUESTS, ids=[f"{m} {t[:40]}" for m, t, _ in REQUESTS])
def test_both_give_the_same_answer(
    granian: Server, uvicorn: Server, method: str, target: str, asked: dict[str, str]
) -> None:
    assert seen(granian.request(method, target, asked)) == seen(uvicorn.request(method, target, asked))


@pytest.mark.parametrize(("target", "asked", "content"), QUERIES, ids=[f"{t} {c[:20]!r}" for t, _, c in QUERIES])
def test_both_give_the_same_answer_to_a_query(
    granian: Server, uvicorn: Server, target: str, asked: dict[str, str], content: bytes
) -> None:
    one, other = (server.request("QUERY", target, asked, content) for server in (granian, uvicorn))
    assert seen(one) == seen(other)


def test_each_kind_of_answer_is_compared(granian: Server) -> None:
    got = {granian.request(method, target, asked).status for method, target, asked in REQUESTS}
    got |= {granian.request("QUERY", target, asked, content).status for target, asked, content in QUERIES}
    assert got == {200, 202, 204, 206, 303, 304, 400, 404, 405, 406, 412, 414, 415, 416, 421, 422, 431, 500, 503, 504}
