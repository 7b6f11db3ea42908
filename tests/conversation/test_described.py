"""Real answers, each held against what the OpenAPI document says of it."""

from __future__ import annotations

import http.client
import os
import re
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from tests.harness import Answer, Server

MODELS = Path(__file__).parents[1] / "models"
PAGE = "text/html,*/*;q=0.8"
# Fields of HTTP itself, and those that OpenAPI describes elsewhere.
UNTOLD = {"date", "server", "connection", "transfer-encoding", "content-length", "content-type"}


@dataclass(frozen=True)
class Request:
    path: str
    target: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    settled: bool = False


def whole(target: str, status: int = 200, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(target.partition("?")[0], target, status, named, settled=True)


def at_once(target: str, status: int, path: str | None = None, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(path or target.partition("?")[0], target, status, named)


REQUESTS = [
    at_once("/quick?x=1001", 202),
    at_once("/quick?x=1002", 202, Accept=PAGE),
    at_once("/quick.json?x=1003", 202, path="/quick.{format}"),
    whole("/quick?x=1.5"),
    whole("/quick?x=1.5", Accept=PAGE),
    whole("/quick@1?x=1.5"),
    Request("/quick.{format}", "/quick.json?x=1.5", 200, settled=True),
    whole("/table?rows=3"),
    whole("/large?n=2"),
    whole("/refusing?x=1", 422),
    whole("/failing?x=1", 500),
    whole("/hanging?x=1", 500),
    whole("/crashing?x=1", 500),
    at_once("/quick?x=a&y=2", 400),
    at_once("/quick?x=%zz", 400),
    Request("/quick", "/quick?x=1.5", 206, {"Range": "bytes=0-2"}, settled=True),
    Request("/quick", "/quick?x=1.5", 206, {"Range": "bytes=0-2, 5-6"}, settled=True),
    Request("/large", "/large?n=2", 206, {"Range": "bytes=0-2"}, settled=True),
    Request("/quick", "/quick?x=1.5", 416, {"Range": "bytes=9999-"}, settled=True),
    at_once("/quick?x=1006", 504, Cache_Control="only-if-cached"),
    at_once("/quick?x=a", 400, Accept="text/html"),
    at_once("/quick.png?x=1", 404, path="/quick.{format}"),
    at_once("/large?n=1", 406, Accept="image/webp"),
    at_once("/quick?x=1004", 412, If_Match='"other"'),
    at_once("/quick?x=1&label=" + "a" * 60_000, 414),
    at_once("/quick?x=1", 421, Host="elsewhere.example"),
    at_once("/quick?x=1", 431, Accept="a" * 9000),
    at_once("/quick?x=1005", 503, Sec_Purpose="prefetch"),
    at_once("/r/" + "a" * 32, 404, path="/r/{id}"),
    at_once("/r/" + "a" * 32 + "/status", 404, path="/r/{id}/status"),
    at_once("/r/" + "a" * 32 + "/events", 404, path="/r/{id}/events"),
    at_once("/", 200),
    at_once("/", 200, Accept=PAGE),
    at_once("/-/openapi.json", 200),
    at_once("/-/docs", 200, Accept=PAGE),
    at_once("/-/models/quick", 200, path="/-/models/{model}"),
    at_once("/-/models/nothing", 404, path="/-/models/{model}"),
    at_once("/-/problems/", 200),
    at_once("/-/problems/", 200, Accept=PAGE),
    at_once("/-/problems/refused", 200, path="/-/problems/{type}"),
    at_once("/-/problems/refused", 200, path="/-/problems/{type}", Accept=PAGE),
    at_once("/-/problems/nothing", 404, path="/-/problems/{type}"),
    at_once("/-/docs", 304, If_None_Match="*"),
    at_once("/-/openapi.json", 304, If_None_Match="*"),
    at_once("/", 304, If_None_Match="*"),
    at_once("/-/health/live", 200),
    at_once("/-/health/ready", 200),
    at_once("/robots.txt", 200),
]


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    return dict(server.get("/-/openapi.json").json())


def undescribed(document: dict[str, Any], path: str, answer: Answer, method: str = "get") -> list[str]:
    """What of an answer its description does not have, and the reverse."""
    described = document["paths"][path][method]["responses"].get(str(answer.status))
    if described is None:
        return [f"status {answer.status}"]
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    fields = {name.lower(): part for name, part in described["headers"].items()}
    sent = {name.lower() for name in answer.headers}
    faults = [f"field {name}" for name in sent - fields.keys() - UNTOLD]
    faults += [f"no field {name}" for name, part in fields.items() if part.get("required") and name not in sent]
    media_type = answer.headers["Content-Type"]
    if media_type and not {media_type, media_type.partition(";")[0]} & described.get("content", {}).keys():
        faults.append(f"type {media_type}")
    return faults


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda asked: f"{asked.status}-{asked.target[:40]}")
def test_every_answer_is_as_described(server: Server, document: dict[str, Any], request_: Request) -> None:
    if request_.settled:
        server.result(request_.target)
    answer = server.request("GET", request_.target, request_.headers)
    assert answer.status == request_.status, answer.body
    assert undescribed(document, request_.path, answer) == []


def test_every_answer_of_a_run_is_as_described(server: Server, document: dict[str, Any], gates: Path) -> None:
    os.mkfifo(gates / "described")
    target = "/gated?gate=described"
    accepted = server.get(target)
    id = accepted.json()["id"]
    pending = server.get(target, accepted.etag)
    status = server.get(f"/r/{id}/status")
    page = server.get(f"/r/{id}/status", Accept=PAGE)
    alias = server.get(f"/r/{id}", accepted.etag)
    with open(gates / "described", "w"):
        pass
    ready = server.result(target)
    unchanged = server.get(target, ready.etag)
    fixed = server.get("/gated.json?gate=described", ready.etag)
    short = server.get(f"/r/{id}")
    statuses = [answer.status for answer in (accepted, pending, ready, unchanged, fixed, short)]
    assert statuses == [202, 304, 200, 304, 304, 200]
    for path, answers in {
        "/gated": [accepted, pending, ready, unchanged],
        "/gated.{format}": [fixed],
        "/r/{id}": [alias, short],
        "/r/{id}/status": [status, page],
    }.items():
        for answer in answers:
            assert undescribed(document, path, answer) == []


def test_the_events_are_as_described(server: Server, document: dict[str, Any]) -> None:
    id = server.result("/quick?x=1.5").etag[1:33]
    told = server.get(f"/r/{id}/events")
    known = re.search(rb"^id: (\S+)", told.body)
    assert known is not None
    nothing_new = server.get(f"/r/{id}/events", Last_Event_ID=known[1].decode())
    assert (told.status, nothing_new.status) == (200, 204)
    for answer in (told, nothing_new):
        assert undescribed(document, "/r/{id}/events", answer) == []
    fields = [part["name"] for part in document["paths"]["/r/{id}/events"]["get"]["parameters"]]
    assert fields == ["Last-Event-ID"]


def test_an_alias_with_a_format_is_as_described(server: Server, document: dict[str, Any]) -> None:
    location = server.query("/quick.json", {"x": 1.5})["Location"]
    assert re.fullmatch(r"r/[a-z2-7]{32}\.json", location)
    ready = server.result(f"/{location}")
    answers = [ready, server.get(f"/{location}", ready.etag), server.get(f"/{location.replace('.json', '.png')}")]
    assert [answer.status for answer in answers] == [200, 304, 404]
    for answer in answers:
        assert undescribed(document, "/r/{id}.{format}", answer) == []


def test_what_waited_is_as_described(server: Server, document: dict[str, Any], gates: Path) -> None:
    gate = gates / "waited"
    os.mkfifo(gate)
    late = server.get("/gated?gate=waited", Prefer="wait=1")
    assert (late.status, late["Preference-Applied"]) == (202, "wait=1")
    ping = server.get("/gated?gate=waited", late.etag, Prefer="wait=1")
    assert (ping.status, ping["Preference-Applied"]) == (304, "wait=1")
    with open(gate, "w"):
        pass
    ready = server.get("/gated?gate=waited", late.etag, Prefer="wait=20")
    assert ready.status == 200
    for answer in (late, ping, ready):
        assert undescribed(document, "/gated", answer) == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"x": 1.25}', {"Content-Type": "application/json"}, 303),
        (b"x=1.25", {"Content-Type": "application/x-www-form-urlencoded"}, 303),
        (b"{}", {"Content-Type": "application/json"}, 400),
        (b"{}", {}, 400),
        (b"<x/>", {"Content-Type": "application/xml"}, 415),
        (b"{}", {"Content-Type": "application/json", "Content-Length": "9999999999"}, 413),
        (b"x=1007", {"Content-Type": "application/x-www-form-urlencoded", "Cache-Control": "only-if-cached"}, 504),
    ],
)
def test_every_answer_to_query_is_as_described(
    server: Server, document: dict[str, Any], content: bytes, headers: dict[str, str], status: int
) -> None:
    connection = http.client.HTTPConnection(server.netloc, timeout=30)
    connection.request("QUERY", "/quick", content, headers)
    response = connection.getresponse()
    answer = Answer(response.status, response.headers, response.read())
    connection.close()
    assert answer.status == status
    assert undescribed(document, "/quick", answer, "x-query") == []


def test_what_is_not_described_is_noticed(document: dict[str, Any]) -> None:
    headers = Message()
    headers["X-New"] = "1"
    headers["Content-Type"] = "text/new"
    faults = undescribed(document, "/quick", Answer(202, headers, b""))
    assert {"field x-new", "type text/new", "no field etag"} <= set(faults)
    assert undescribed(document, "/quick", Answer(418, headers, b"")) == ["status 418"]


def test_every_example_is_accepted(tmp_path: Path) -> None:
    with Server.serve(MODELS / "described.py", tmp_path / "data") as server:
        described = server.get("/-/openapi.json").json()
        examples = [item["get"].get("x-example-targets", []) for item in described["paths"].values()]
        targets = [f"/{target}" for each in examples for target in each]
        assert len(targets) == 4
        for target in targets:
            assert server.result(target).status == 200
