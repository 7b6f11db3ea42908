"""httplint on an answer of each kind, and REDbot, which asks for itself, on each resource: nothing bad, no warning."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from judges.service import Service

# A note of httplint or REDbot, and why it is none on us.
TOLERATED = {
    "STATUS_BAD_REQUEST": "it says no more than that the status is 400",
    "STATUS_URI_TOO_LONG": "it says no more than that the status is 414",
    "RANGE_CL_FULL": "of a body shorter than the range that REDbot asks for, the range is the whole",
}
TOLERATED_OF = {
    (
        "200 page",
        "FRESHNESS_NO_CACHE_NO_VALIDATOR",
    ): "a result's tags are those of its bytes, and its page has none",
    (
        "206 several",
        "PARTIAL_WITHOUT_RANGE",
    ): "with several parts each has a Content-Range, and the head must not have one (RFC 9110 §15.3.7.2)",
}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ORIGIN = "https://elsewhere.example"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


class Ask(NamedTuple):
    """A request, and the status that is right for it.

    PENDING and READY stand for the tags of the resource, ID for its id, and LAST for that of its last event.
    """

    status: int
    target: str
    fields: Mapping[str, str] = MappingProxyType({})
    method: str = "GET"
    content: bytes | None = None


ANSWERS = {
    "202": Ask(202, "/gated?gate=shut"),
    "202 page": Ask(202, "/gated?gate=shut", {"Accept": HTML}),
    "304 pending": Ask(304, "/gated?gate=shut", {"If-None-Match": "PENDING"}),
    "200": Ask(200, "/gated?gate=open"),
    "200 pinned": Ask(200, "/gated@1.json?gate=open"),
    "200 file": Ask(200, "/large?fill=1"),
    "304 ready": Ask(304, "/gated?gate=open", {"If-None-Match": "READY"}),
    "HEAD 202": Ask(202, "/gated?gate=shut", method="HEAD"),
    "HEAD 200": Ask(200, "/gated?gate=open", method="HEAD"),
    "HEAD 200 file": Ask(200, "/large?fill=1", method="HEAD"),
    "200 coded": Ask(200, "/gated?gate=open", {"Accept-Encoding": "gzip"}),
    "200 page": Ask(200, "/gated?gate=open", {"Accept": HTML}),
    "206": Ask(206, "/gated?gate=open", {"Range": "bytes=0-9"}),
    "206 file": Ask(206, "/large?fill=1", {"Range": "bytes=1000000-1999999"}),
    "206 several": Ask(206, "/many?n=400", {"Range": "bytes=0-9, 100-199"}),
    "206 coded": Ask(206, "/many?n=400", {"Accept-Encoding": "gzip", "Range": "bytes=0-9"}),
    "416": Ask(416, "/large?fill=1", {"Range": "bytes=9999999-"}),
    "202 waited": Ask(202, "/gated?gate=shut", {"Prefer": "wait=1"}),
    "304 waited": Ask(304, "/gated?gate=shut", {"Prefer": "wait=1", "If-None-Match": "PENDING"}),
    "504": Ask(504, "/gated?gate=never", {"Cache-Control": "only-if-cached"}),
    "QUERY": Ask(303, "/gated", JSON, "QUERY", b'{"gate":"open"}'),
    "QUERY without a type": Ask(400, "/gated", method="QUERY", content=b"gate=open"),
    "QUERY of another type": Ask(415, "/gated", {"Content-Type": "text/plain"}, "QUERY", b"gate=open"),
    "QUERY too large": Ask(413, "/gated", {**FORM, "Content-Length": "999999999"}, "QUERY", b"gate=open"),
    "QUERY that stops": Ask(408, "/gated", {**FORM, "Content-Length": "99"}, "QUERY", b"gate=open"),
    "OPTIONS": Ask(204, "/gated?gate=open", method="OPTIONS"),
    "preflight": Ask(204, "/gated", {"Origin": ORIGIN, "Access-Control-Request-Method": "QUERY"}, "OPTIONS"),
    "200 elsewhere": Ask(200, "/gated?gate=open", {"Origin": ORIGIN}),
    "400": Ask(400, "/gated?gaet=open"),
    "404 model": Ask(404, "/nothing"),
    "404 alias": Ask(404, f"/r/{'a' * 32}"),
    "405": Ask(405, "/gated?gate=open", method="POST"),
    "406": Ask(406, "/gated?gate=open", {"Accept": "image/gif"}),
    "410": Ask(410, "/retired@1?x=2"),
    "412": Ask(412, "/gated?gate=open", {"If-Match": '"other"'}),
    "414": Ask(414, f"/gated?gate={'a' * 60_000}"),
    "421": Ask(421, "/gated?gate=open", {"Host": "elsewhere.example"}),
    "422": Ask(422, "/refusing?x=1"),
    "431": Ask(431, "/gated?gate=open", {"If-None-Match": f'"{"a" * 9000}"'}),
    "500": Ask(500, "/failing?x=1"),
    "500 timeout": Ask(500, "/hanging?x=1"),
    "500 memory": Ask(500, "/hoarding?x=1"),
    "500 poison": Ask(500, "/crashing?x=1"),
    "501": Ask(501, "/gated?gate=open", method="BREW"),
    "503 over capacity": Ask(503, "/gated?gate=more"),
    "503 not started": Ask(503, "/gated?gate=never", {"Sec-Purpose": "prefetch"}),
    "models": Ask(200, "/"),
    "models page": Ask(200, "/", {"Accept": HTML}),
    "model": Ask(200, "/-/models/gated"),
    "model page": Ask(200, "/-/models/gated", {"Accept": HTML}),
    "304 models": Ask(304, "/", {"If-None-Match": "*"}),
    "304 model": Ask(304, "/-/models/gated", {"If-None-Match": "*"}),
    "documentation": Ask(200, "/-/docs"),
    "304 documentation": Ask(304, "/-/docs", {"If-None-Match": "*"}),
    "problems": Ask(200, "/-/problems/"),
    "problem": Ask(200, "/-/problems/refused"),
    "problem page": Ask(200, "/-/problems/refused", {"Accept": HTML}),
    "OpenAPI": Ask(200, "/-/openapi.json"),
    "live": Ask(200, "/-/health/live"),
    "ready": Ask(200, "/-/health/ready"),
    "robots": Ask(200, "/robots.txt"),
    "style": Ask(200, "/-/static/style.css"),
    "status": Ask(200, "/r/ID/status"),
    "events": Ask(200, "/r/ID/events"),
    "events 204": Ask(204, "/r/ID/events", {"Last-Event-ID": "LAST"}),
    "status page": Ask(200, "/r/ID/status", {"Accept": HTML}),
}
ASKED_BY_REDBOT = [name for name, ask in ANSWERS.items() if ask.method == "GET" and not ask.fields and name != "414"]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a run that goes on, one result of each size, a refusal, failures, and room for nothing more."""
    folder = tmp_path_factory.mktemp("judged")
    with Service(folder, RETIRED="1") as service:
        assert service.result("/retired?x=1").status == 200
        service.restart(RETIRED="", ETAGERE_MAX_PENDING="1", ETAGERE_CORS_ORIGINS=f'["{ORIGIN}"]')
        service.open("open")
        for target in ("/gated?gate=open", "/large?fill=1", "/many?n=400", "/refusing?x=1"):
            service.result(target)
        for model in ("failing", "hanging", "hoarding", "crashing"):
            service.result(f"/{model}?x=1")
        assert service.get("/gated?gate=shut").status == 202
        yield service


@pytest.fixture(scope="module")
def noted(judged: Service, judges_bin: Path) -> dict[str, list[dict[str, str]]]:
    """What httplint has to say on each answer."""
    answers = {name: exchange(judged, ask) for name, ask in ANSWERS.items()}
    command = [judges_bin / "python", Path(__file__).with_name("lint.py")]
    done = subprocess.run(command, input=json.dumps(answers), capture_output=True, text=True, timeout=120, check=True)
    notes: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
    return notes


def exchange(service: Service, ask: Ask) -> dict[str, Any]:
    """Ask, and write down everything."""
    pending, ready = service.get("/gated?gate=shut").etag, service.get("/gated?gate=open").etag
    last = service.get(f"/r/{ready[1:33]}/events").body.partition(b"\n")[0].removeprefix(b"id: ").decode()
    words = {"PENDING": pending, "READY": ready, "LAST": last}
    fields = {"User-Agent": "judges", **{name: words.get(value, value) for name, value in ask.fields.items()}}
    target = ask.target.replace("ID", ready[1:33])
    connection = HTTPConnection(service.netloc, timeout=30)
    connection.request(ask.method, target, ask.content, fields)
    answer, received = connection.getresponse(), time.time()
    content = answer.read()
    connection.close()
    assert answer.status == ask.status, (ask, answer.status, content)
    return {
        "method": ask.method,
        "target": target,
        "fields": list(fields.items()),
        "received": received,
        "status": answer.status,
        "reason": answer.reason,
        "head": answer.getheaders(),
        "content": base64.b64encode(content).decode(),
    }


def grave(name: str, notes: list[dict[str, str]]) -> list[str]:
    """What is wrong, as far as it is not tolerated."""
    return [
        f"{note['level']} {note['note_id']}: {note['summary']}"
        for note in notes
        if note["level"] in ("BAD", "WARN")
        and note["note_id"] not in TOLERATED
        and (name, note["note_id"]) not in TOLERATED_OF
    ]


@pytest.mark.parametrize("name", ANSWERS)
def test_httplint_has_nothing_to_say_against(name: str, noted: dict[str, list[dict[str, str]]]) -> None:
    assert noted[name], "httplint has read it"
    assert grave(name, noted[name]) == []


@pytest.mark.parametrize("name", ASKED_BY_REDBOT)
def test_redbot_has_nothing_to_say_against(name: str, judged: Service, judges_bin: Path) -> None:
    target = ANSWERS[name].target.replace("ID", judged.get("/gated?gate=open").etag[1:33])
    # Its exit status is 0 whatever it finds.
    done = subprocess.run(
        [judges_bin / "redbot", "-o", "har", f"{judged.url}{target}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    (entry,) = json.loads(done.stdout)["log"]["entries"]
    assert entry["response"]["status"] == ANSWERS[name].status
    assert entry["_red_messages"], "REDbot has read it"
    assert grave(name, entry["_red_messages"]) == []
