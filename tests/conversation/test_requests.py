"""What stands beside the state table: methods, bad input, negotiation, paths, aliases, service resources."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.harness import Answer, Server

from etagere.core.canonical import resource_id

MODELS = Path(__file__).parents[1] / "models" / "conversation.py"
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def is_problem(answer: Answer, status: int, name: str) -> bool:
    assert (answer.status, answer["Content-Type"]) == (status, "application/problem+json"), answer.body
    assert answer["Cache-Control"] == "no-store"
    assert answer.json()["type"] == f"/-/problems/{name}"
    return True


@pytest.mark.parametrize("path", ["/quick?x=1", "/", "/nothing", "/r/abc", "/-/openapi.json"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(server: Server, method: str, path: str) -> None:
    answer = server.request(method, path)
    assert is_problem(answer, 405, "method-not-allowed")
    assert answer["Allow"].startswith("GET, HEAD, OPTIONS")


@pytest.mark.parametrize("method", ["BREW", "get", "query"])
def test_unknown_methods_are_not_implemented(server: Server, method: str) -> None:
    assert is_problem(server.request(method, "/quick?x=1"), 501, "unknown-method")


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("", ["x"]),
        ("x=1_0", ["x"]),
        ("x=NaN", ["x"]),
        ("x=Infinity", ["x"]),
        ("x=1e400", ["x"]),
        ("x=+1", ["x"]),
        ("x=1e+16", ["x"]),
        ("x=1&x=2", ["x"]),
        ("x=1&y=2&z=3", ["y", "z"]),
        ("x=%zz", ["x"]),
        ("x=%ff", ["x"]),
        ("x=1&label=%c0%af", ["label"]),
        ("x=a&label=%ed%a0%80&more=1", ["label", "more", "x"]),
    ],
)
def test_bad_parameters_are_named_all_at_once_and_start_nothing(server: Server, query: str, faults: list[str]) -> None:
    answer = server.get(f"/quick?{query}")
    assert is_problem(answer, 400, "invalid-parameters")
    assert sorted({error["parameter"] for error in answer.json()["errors"]}) == faults
    assert all(error["reason"] for error in answer.json()["errors"])


def test_a_plus_where_a_sign_was_meant_gets_a_hint(server: Server) -> None:
    assert "%2B" in server.get("/quick?x=1e+16").json()["errors"][0]["reason"]


def test_the_longest_target_and_one_byte_more(server: Server) -> None:
    start = "/quick?x=2&label="
    fits = server.get(start + "a" * (60_000 - len(start)))
    assert fits.status == 202
    assert is_problem(server.get(start + "a" * (60_001 - len(start))), 414, "target-too-long")


def test_a_target_beyond_the_servers_own_limit_starts_nothing(server: Server) -> None:
    assert server.get("/quick?x=3&label=" + "a" * 64_000).status == 414


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/nothing?x=1", "unknown-model"),
        ("/quick@2?x=1", "unknown-version"),
        ("/quick.png?x=1", "unknown-format"),
        ("/quick/more?x=1", "not-found"),
        ("/%00", "not-found"),
        ("/quick%2Fx?x=1", "not-found"),
        ("/r/" + "a" * 32, "unknown-id"),
        ("/r/" + "a" * 32 + "/events", "unknown-id"),
        ("/-/nothing", "not-found"),
        ("/-/models/nothing", "unknown-model"),
        ("/-/static/../app.py", "not-found"),
    ],
)
def test_what_is_not_there(server: Server, path: str, name: str) -> None:
    answer = server.get(path)
    assert answer.status == 404, answer.body
    assert is_problem(answer, 404, name)


@pytest.mark.parametrize(
    "spelling",
    [
        "x=0.1&label=a%20b",
        "label=a+b&x=1e-1",
        "x=.10&label=a%20%62",
        "&label=a%20b&&x=00.1&",
        "%78=0.1&label=a b".replace(" ", "%20"),
    ],
)
def test_every_spelling_is_one_resource(server: Server, spelling: str) -> None:
    id = resource_id("/quick@1?label=a%20b&x=0.1")
    for path in ("/quick", "/quick@1", "/quick.json", "/quick@1.json"):
        answer = server.result(f"{path}?{spelling}")
        assert answer.status == 200
        assert answer.etag.startswith(f'"{id}.')
        assert answer.json() == {"x": 0.1, "label": "a b"}


def test_one_run_for_every_spelling_and_its_own_cache_control(server: Server) -> None:
    assert server.result("/gated?gate=absent").status == 500  # there is no such gate
    plain, pinned = server.result("/dotted"), server.result("/dotted@1.1")
    assert plain.etag == pinned.etag
    assert plain["Cache-Control"] == "max-age=3600"
    assert pinned["Cache-Control"] == "max-age=31536000, immutable"
    assert pinned["Vary"] == "Accept"
    assert server.result("/dotted.json").headers["Vary"] is None


def test_the_version_with_latest_is_the_newest(server: Server) -> None:
    assert server.result("/dotted?x=3").json() == 3
    assert server.result("/dotted@1.0?x=3").json() == -3


def test_accept_that_nothing_satisfies_is_refused_before_any_run(server: Server) -> None:
    answer = server.get("/dotted?x=406", Accept="text/csv")
    assert is_problem(answer, 406, "not-acceptable")
    assert answer.json()["formats"] == [{"name": "json", "media_type": "application/json"}]
    assert server.get(f"/r/{resource_id('/dotted@1.1?x=406')}").status == 404


def test_a_fixed_format_does_not_negotiate(server: Server) -> None:
    assert server.result("/table.csv?rows=2", Accept="application/json").body == b"0,0\n1,1\n"
    assert server.get("/table.csv?rows=2", Accept="application/json")["Content-Type"] == "text/csv"


def test_a_large_result_comes_whole_from_its_file(server: Server) -> None:
    answer = server.result("/large?n=3")
    assert answer.body == bytes([7]) * (3 << 20)
    head = server.request("HEAD", "/large?n=3")
    assert (head["Content-Length"], head.etag, head.body) == (str(3 << 20), answer.etag, b"")


def test_the_alias_is_immutable_and_starts_the_run_again(server: Server, gates: Path) -> None:
    os.mkfifo(gates / "alias")
    accepted = server.get("/gated?gate=alias")
    alias = f"/r/{accepted.json()['id']}"
    ping = server.get(alias, accepted.etag)
    assert (ping.status, ping.etag) == (304, accepted.etag)
    again = server.get(alias)
    assert again.json()["links"]["status"] == f"../{alias[1:]}/status"
    with open(gates / "alias", "w"):
        pass
    answer = server.result(alias)
    assert answer.json() == {"gate": "alias", "steps": 4}
    assert answer["Cache-Control"] == "max-age=31536000, immutable"
    assert answer.etag == server.get("/gated?gate=alias").etag
    assert server.get(alias, answer.etag).status == 304


def test_status_from_the_queue_to_the_result(server: Server, gates: Path) -> None:
    os.mkfifo(gates / "status")
    id = server.get("/gated?gate=status").json()["id"]
    path = f"/r/{id}/status"
    while (document := server.get(path).json()).get("progress") != 0.5:
        assert document["state"] in ("queued", "running")
    assert document["message"] == "at the gate"
    assert document["attempt"] == 1
    assert document["eta"] >= 0
    assert document["model"] == "gated"
    assert document["version"] == "1"
    ping = server.get("/gated?gate=status", f'W/"{id}"')
    assert ping["Run-Status"].startswith("state=running, progress=0.5, eta=")
    with open(gates / "status", "w"):
        pass
    server.result("/gated?gate=status")
    answer = server.get(path)
    assert answer["Cache-Control"] == "no-store"
    assert answer["Content-Type"] == "application/vnd.etagere.status+json"
    assert answer.json()["state"] == "succeeded"
    assert answer.json()["outcome"] == "succeeded"
    assert (answer.json()["attempt"], answer.json()["created"]) == (1, document["created"])
    assert answer.json()["created"] <= answer.json()["started"] <= answer.json()["finished"]
    assert answer.json()["finished"].endswith("Z")
    assert answer.json()["links"] == {
        "result": f"../../r/{id}", "status": f"../../r/{id}/status", "events": f"../../r/{id}/events",
        "model": "../../-/models/gated",
    }  # fmt: skip


def test_status_of_a_failure_holds_its_problem(server: Server) -> None:
    refused = server.result("/refusing?x=5")
    assert refused.json()["detail"] == "5 is <b>not</b> wanted"
    status = server.get(f"/r/{refused.json()['id']}/status").json()
    assert status["state"] == "failed"
    assert status["outcome"] == "refused"
    assert status["problem"]["status"] == 422


def test_a_browser_gets_a_page_while_it_waits_and_one_of_the_result_afterwards(server: Server, gates: Path) -> None:
    os.mkfifo(gates / "page")
    page = server.get("/gated?gate=page", Accept=CHROME)
    assert page.status == 202
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page["Content-Security-Policy"]
    assert page["Cache-Control"] == "no-store"
    assert b"-/static/waiting.js" in page.body
    id = page.etag[3:-1]
    status = server.get(f"/r/{id}/status", Accept=CHROME)
    assert (status.status, status["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert f'data-result="../{id}"'.encode() in status.body
    with open(gates / "page", "w"):
        pass
    assert server.result("/gated?gate=page", Accept=CHROME)["Content-Type"] == "text/html; charset=utf-8"
    for name in ("waiting.js", "style.css", "icon.svg"):
        assert server.get(f"/-/static/{name}").status == 200


def test_what_a_parameter_brings_is_escaped_in_pages(server: Server) -> None:
    hostile = quote('"><script>alert(1)</script>')
    page = server.get(f"/quick?x=7&label={hostile}", Accept=CHROME)
    assert b"<script>alert" not in page.body


def test_the_catalogue_and_the_descriptions(server: Server) -> None:
    models = {model["name"]: model for model in server.get("/").json()["models"]}
    assert models["dotted"]["version"] == "1.1"
    assert server.get("/", Accept=CHROME)["Content-Type"] == "text/html; charset=utf-8"
    quick = server.get("/-/models/quick").json()
    assert quick["parameters"]["required"] == ["x"]
    assert quick["examples"] == [{"x": 1.5}]
    assert server.get("/-/models/dotted").json()["versions"] == ["1.1", "1.0"]


def test_health(server: Server) -> None:
    assert server.get("/-/health/live").json() == {"status": "live"}
    assert server.get("/-/health/ready").json() == {"status": "ready"}


def test_openapi_describes_every_model(server: Server) -> None:
    answer = server.get("/-/openapi.json")
    document = answer.json()
    assert document["openapi"] == "3.1.0"
    operation = document["paths"]["/quick"]["get"]
    named = [parameter["name"] for parameter in operation["parameters"] if parameter.get("in") == "query"]
    assert named == ["x", "label"]
    assert {"200", "202", "304", "400", "422", "500", "503"} <= set(operation["responses"])
    assert set(document["paths"]) >= {"/quick", "/quick@1", "/dotted", "/dotted@1.0", "/dotted@1.1"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "169.254.169.254"])
def test_another_name_in_host_is_misdirected(server: Server, host: str) -> None:
    answer = server.request("GET", "/quick?x=1", {"Host": host})
    assert is_problem(answer, 421, "misdirected-request")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8000", "127.1.2.3"])
def test_loopback_names_are_ours(server: Server, host: str) -> None:
    assert server.request("GET", "/-/health/live", {"Host": host}).status == 200


def test_if_match(server: Server) -> None:
    ready = server.result("/quick?x=12")
    assert server.get("/quick?x=12", If_Match=ready.etag).status == 200
    assert server.get("/quick?x=12", If_Match="*").status == 200
    assert is_problem(server.get("/quick?x=12", If_Match='"other"'), 412, "precondition-failed")
    assert is_problem(server.get("/quick?x=13", If_Match="*"), 412, "precondition-failed")


def test_dates_and_unknown_preferences_change_nothing(server: Server) -> None:
    fields = {
        "If-Modified-Since": "Sun, 22 Nov 2099 00:00:00 GMT",
        "If-Unmodified-Since": "Sun, 22 Nov 1999 00:00:00 GMT",
        "Prefer": "wait=5",
        "Priority": "u=0",
    }
    server.result("/quick?x=14")
    answer = server.request("GET", "/quick?x=14", fields)
    assert answer.status == 200
    assert answer.json() == {"x": 14.0, "label": "a"}


def test_several_fields_of_one_name_are_one_list(server: Server) -> None:
    ready = server.result("/quick?x=15")
    connection = http.client.HTTPConnection(server.netloc, timeout=10)
    connection.putrequest("GET", "/quick?x=15")
    connection.putheader("If-None-Match", '"first"')
    connection.putheader("If-None-Match", ready.etag)
    connection.endheaders()
    assert connection.getresponse().status == 304
    connection.close()


def test_http_1_0_without_a_host(server: Server) -> None:
    host, port = server.netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(b"GET /-/health/live HTTP/1.0\r\n\r\n")
        assert b" 200 " in raw.makefile("rb").readline()


def test_a_ready_tag_is_the_hash_of_what_was_sent(server: Server) -> None:
    answer = server.result("/quick?x=16")
    digest = hashlib.sha256(answer.body).digest()
    assert answer["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    assert answer.etag.split(".")[1] == base64.b32encode(digest).decode()[:10].lower()
    assert json.loads(answer.body) == {"x": 16.0, "label": "a"}


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
    ],
)
def test_what_nobody_asked_for_starts_nothing_but_gets_what_is_there(server: Server, fields: dict[str, str]) -> None:
    target = f"/quick?x={len(str(fields))}.5"
    assert is_problem(server.request("GET", target, fields), 503, "not-started")
    assert server.result(target).status == 200
    assert server.request("GET", target, fields).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "none"},
    ],
)
def test_a_link_from_elsewhere_and_a_page_of_ours_start_runs(server: Server, fields: dict[str, str]) -> None:
    assert server.request("GET", f"/quick?x={len(str(fields))}.25", fields).status == 202


def test_robots_are_kept_out(server: Server) -> None:
    answer = server.get("/robots.txt")
    assert (answer.status, answer["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert answer.body == b"User-agent: *\nDisallow: /\n"


@pytest.mark.parametrize("name", ["Accept", "If-None-Match", "If-Match"])
def test_a_field_beyond_the_limit(server: Server, name: str) -> None:
    answer = server.request("GET", "/quick?x=1", {name: "a" * 8193})
    assert is_problem(answer, 431, "fields-too-large")


def test_a_ready_tag_of_other_bytes_is_answered_in_full_and_reported_once(tmp_path: Path) -> None:
    with Server.serve(MODELS, tmp_path / "data", env={"GATES": str(tmp_path)}) as server:
        ready = server.result("/quick?x=1")
        other = f'"{ready.etag.split(".")[0][1:]}.aaaaaaaaaa.json"'
        for _ in range(3):
            assert server.get("/quick?x=1", other).status == 200
        server.stop()
        assert server.printed.count(b"nondeterministic") == 1


def test_a_long_query_is_parsed_once_for_all_who_ask_at_the_same_time(server: Server) -> None:
    target = "/quick?label=" + "b" * 50_000 + "&x=77"
    first = server.get(target)
    assert first.status == 202
    assert server.get(target, first.etag).status in (200, 304)
    assert server.result(target).json()["x"] == 77.0


def test_the_status_page_of_an_absent_resource_does_not_start_it(tmp_path: Path) -> None:
    env = {"GATES": str(tmp_path), "ETAGERE_CACHE_SIZE": str(3 << 20)}
    with Server.serve(MODELS, tmp_path / "data", env=env) as server:
        id = server.result("/large?n=2&fill=1").etag[1:33]
        assert server.result("/large?n=2&fill=2").status == 200
        page = server.get(f"/r/{id}/status", Accept=CHROME)
        assert b'data-state="absent"' in page.body
