"""CORS: off unless configured; then what a page of another origin may read, on every kind of answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Answer, Server

MODELS = Path(__file__).parents[1] / "models" / "conversation.py"
OURS = "https://lab.example"
OURS_ALONE = f'["{OURS}"]'
EXPOSED = "ETag, Retry-After, Link, Run-Status, Preference-Applied, Repr-Digest, RateLimit, RateLimit-Policy"


def server_for(origins: str | None, folder: Path, **more: str) -> Server:
    env = {"GATES": str(folder), **more} | ({"ETAGERE_CORS_ORIGINS": origins} if origins else {})
    return Server.serve(MODELS, folder / "data", env=env)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("listed")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with server_for(f'["{OURS}", "http://Localhost:3000"]', folder) as server:
        yield server


def varies(answer: Answer) -> list[str]:
    fields = answer.headers.get_all("Vary") or []
    assert len(fields) <= 1
    return [name.strip() for field in fields for name in field.split(",")]


def cors_fields(answer: Answer) -> list[str]:
    return [name for name in answer.headers if name.lower().startswith("access-control-")]


def preflight(server: Server, origin: str, method: str = "QUERY", **fields: str) -> Answer:
    named = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type,if-none-match"}
    return server.request("OPTIONS", "/quick", {"Origin": origin, **named, **fields})


@pytest.mark.parametrize(("origin", "status"), [(OURS, 202), ("https://elsewhere.example", 503)])
def test_a_page_starts_runs_where_it_may_read_the_answers(server: Server, origin: str, status: int) -> None:
    said = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site", "Origin": origin}
    assert server.request("GET", f"/quick?x={status}.75", said).status == status


def test_every_state_of_a_resource_can_be_read_by_the_origin(server: Server, folder: Path) -> None:
    os.mkfifo(folder / "gate")
    path = "/gated?gate=gate"
    answers = [server.get(path, Origin=OURS)]
    answers.append(server.get(path, answers[0].etag, Origin=OURS))
    with open(folder / "gate", "w"):
        pass
    answers.append(server.result(path, Origin=OURS))
    answers.append(server.get(path, answers[-1].etag, Origin=OURS))
    assert [answer.status for answer in answers] == [202, 304, 200, 304]
    for answer in answers:
        assert answer["Access-Control-Allow-Origin"] == OURS
        assert answer["Access-Control-Expose-Headers"] == EXPOSED
        assert answer.headers["Access-Control-Allow-Credentials"] is None
        assert varies(answer)[-1] == "Origin"
    assert varies(answers[0]) == ["Accept", "Prefer", "Origin"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/-/openapi.json", 200),
        ("GET", "/quick?x=a", 400),
        ("GET", "/nothing", 404),
        ("POST", "/quick?x=1", 405),
        ("BREW", "/quick?x=1", 501),
        ("QUERY", "/quick", 400),
    ],
)
def test_problems_and_service_resources_too(server: Server, method: str, path: str, status: int) -> None:
    for _ in range(2):
        answer = server.request(method, path, {"Origin": OURS})
        assert answer.status == status
        assert answer["Access-Control-Allow-Origin"] == OURS
        assert varies(answer).count("Origin") == 1


def test_a_page_can_read_when_its_quota_lets_it_ask_again(tmp_path: Path) -> None:
    with server_for(OURS_ALONE, tmp_path, ETAGERE_QUOTA="1/hour") as server:
        answers = [server.get(f"/quick?x={x}", Origin=OURS) for x in (1, 2)]
    assert [answer.status for answer in answers] == [202, 429]
    readable = {name.strip().lower() for name in answers[1]["Access-Control-Expose-Headers"].split(",")}
    said = {name.lower() for name in answers[1].headers}
    assert {"retry-after", "ratelimit", "ratelimit-policy"} <= readable & said


@pytest.mark.parametrize("origin", ["https://evil.example", "https://lab.example.evil.example", "null", OURS + "/", ""])
def test_another_origin_reads_nothing(server: Server, origin: str) -> None:
    for answer in (server.get("/quick?x=1", Origin=origin), preflight(server, origin)):
        assert cors_fields(answer) == []
        assert "Origin" in varies(answer)


def test_a_request_without_an_origin_says_that_it_would_matter(server: Server) -> None:
    answer = server.get("/-/health/live")
    assert cors_fields(answer) == []
    assert varies(answer) == ["Origin"]


@pytest.mark.parametrize("origin", [OURS, "http://localhost:3000"])
def test_a_preflight(server: Server, origin: str) -> None:
    answer = preflight(server, origin)
    assert (answer.status, answer.body) == (204, b"")
    assert answer["Access-Control-Allow-Origin"] == origin
    assert answer["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS, QUERY"
    allowed = {name.strip().lower() for name in answer["Access-Control-Allow-Headers"].split(",")}
    assert allowed == {"authorization", "if-none-match", "prefer", "range", "priority", "content-type"}
    assert int(answer["Access-Control-Max-Age"]) > 0
    assert "Origin" in varies(answer)


def test_options_that_is_no_preflight(server: Server) -> None:
    answer = server.request("OPTIONS", "/quick", {"Origin": OURS})
    assert answer["Allow"] == "GET, HEAD, OPTIONS, QUERY"
    assert answer.headers["Access-Control-Allow-Methods"] is None


def test_the_host_is_checked_before_the_origin(server: Server) -> None:
    assert preflight(server, OURS, Host="evil.example").status == 421


def test_a_query_from_a_page(server: Server) -> None:
    fields = {"Origin": OURS, "Content-Type": "application/json", "Sec-Fetch-Mode": "cors"}
    answer = server.request("QUERY", "/quick", fields, b'{"x": 5}')
    assert answer.status == 303
    assert answer["Access-Control-Allow-Origin"] == OURS
    assert server.result("/" + answer["Location"], Origin=OURS)["Access-Control-Allow-Origin"] == OURS


@pytest.mark.parametrize("origins", ["*", '["*"]'])
def test_every_origin(origins: str, tmp_path: Path) -> None:
    with server_for(origins, tmp_path) as server:
        for fields in ({"Origin": "https://any.example"}, {"Origin": "null"}, {}):
            answer = server.request("GET", "/-/health/live", fields)
            assert answer["Access-Control-Allow-Origin"] == "*"
            assert varies(answer) == []
        assert preflight(server, "https://any.example")["Access-Control-Allow-Origin"] == "*"


def test_off_by_default(tmp_path: Path) -> None:
    with server_for(None, tmp_path) as server:
        for answer in (server.get("/-/health/live", Origin=OURS), preflight(server, OURS)):
            assert cors_fields(answer) == []
            assert "Origin" not in varies(answer)


@pytest.mark.parametrize(
    "origins", ['["lab.example"]', '["https://lab.example/"]', '["https://lab.example/app"]', '["null"]']
)
def test_what_is_no_origin_is_refused_at_start(origins: str, tmp_path: Path) -> None:
    server = server_for(origins, tmp_path)
    with pytest.raises(AssertionError, match="an origin is a scheme and a host"):
        server.start()
    assert server.stop() == 2
