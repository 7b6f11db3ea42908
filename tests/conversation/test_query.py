"""QUERY (RFC 10008): inputs as content, JSON or a form; the same resource as by GET."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin

import pytest
from tests.harness import Answer, Server

from etagere.core.canonical import resource_id

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "models" / "conversation.py"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MIB = 1 << 20
COUNTED = '''
import os
import etagere

app = etagere.Etagere()


@app.model(version="1")
def counted(x: int, text: str) -> int:
    """Leaves a line for each execution."""
    with open(os.environ["EXECUTIONS"], "a") as file:
        file.write("run\\n")
    return x + len(text)
'''


def leads_to(answer: Answer, id: str) -> bool:
    assert answer.status == 303, answer.body
    assert answer["Location"].removesuffix(".json") == f"r/{id}"
    assert answer["Cache-Control"] == "no-store"
    assert (answer.headers["ETag"], answer.body) == (None, b"")
    return True


def is_problem(answer: Answer, status: int, name: str) -> bool:
    assert (answer.status, answer["Content-Type"]) == (status, "application/problem+json"), answer.body
    assert answer["Cache-Control"] == "no-store"
    assert answer.json()["type"] == f"/-/problems/{name}"
    return True


def is_unknown(server: Server, x: float) -> bool:
    return server.get(f"/r/{resource_id(f'/quick@1?label=a&x={x:g}')}").status == 404


@pytest.mark.parametrize("path", ["/quick", "/quick@1", "/quick.json", "/quick@1.json"])
@pytest.mark.parametrize(
    ("fields", "content"),
    [
        (JSON, b'{"x": 0.1, "label": "a b"}'),
        (JSON, b'\n{"label":"a\\u0020b","\\u0078":1E-1}\t'),
        (FORM, b"x=.1&label=a+b"),
        (FORM, b"label=a%20%62&x=00.1&"),
        ({"Content-Type": "Application/JSON; charset=UTF-8"}, b'{"x":1.0e-1,"label":"a b"}'),
        ({"Content-Type": 'application/x-www-form-urlencoded ;charset="utf-8"'}, b"%78=0.1&label=a%20b"),
        ({**JSON, "Content-Encoding": "identity"}, b'{"x":0.100,"label":"a b"}'),
    ],
)
def test_every_spelling_is_the_resource_that_get_knows(
    server: Server, path: str, fields: dict[str, str], content: bytes
) -> None:
    id = resource_id("/quick@1?label=a%20b&x=0.1")
    answer = server.request("QUERY", path, fields, content)
    assert leads_to(answer, id)
    assert server.result(urljoin(path, answer["Location"])).json() == {"x": 0.1, "label": "a b"}
    assert server.result("/quick?x=0.1&label=a+b").etag.startswith(f'"{id}.')


def test_a_query_starts_a_run_that_get_joins_and_the_other_way_round(server: Server, gates: Path) -> None:
    for gate, ask_first in (("one", server.query), ("two", lambda path, inputs: server.get(f"{path}?gate=two"))):
        os.mkfifo(gates / gate)
        assert ask_first("/gated", {"gate": gate}).status in (202, 303)
        asked = server.query("/gated", {"gate": gate, "steps": 4})
        pending = server.get(urljoin("/gated", asked["Location"]))
        assert pending.status == 202
        assert server.get(f"/gated?gate={gate}", pending.etag).status == 304
        assert server.get(urljoin("/gated", asked["Location"]), pending.etag).status == 304
        assert pending.json()["attempt"] <= 1
        with open(gates / gate, "w"):
            pass
        ready = server.result(urljoin("/gated", asked["Location"]))
        assert ready.json() == {"gate": gate, "steps": 4}
        assert server.get(f"/gated?gate={gate}").etag == ready.etag
        assert leads_to(server.query("/gated", {"gate": gate}), ready.etag[1:33])


def test_inputs_beyond_any_uri_go_the_whole_way_and_outlive_a_restart(tmp_path: Path) -> None:
    label = "ä" * (MIB // 4)
    id = resource_id("/quick@1?label=" + "%C3%A4" * (MIB // 4) + "&x=1")
    data = tmp_path / "data"
    with Server.serve(MODELS, data, "--runs", "1", env={"GATES": str(tmp_path)}) as server:
        os.mkfifo(tmp_path / "gate")
        held = server.get("/gated?gate=gate")
        assert leads_to(server.query("/quick", {"x": 1, "label": label}), id)
        pending = server.get(f"/r/{id}")
        assert pending.status == 202
        assert server.get(f"/r/{id}", pending.etag).status == 304
    with Server.serve(MODELS, data, "--runs", "2", env={"GATES": str(tmp_path)}) as server:
        assert server.get("/gated?gate=gate", held.etag).status == 304
        ready = server.result(f"/r/{id}")
        assert ready.json() == {"x": 1.0, "label": label}
        assert server.get(f"/r/{id}", ready.etag).status == 304
        assert leads_to(server.query("/quick", {"label": label, "x": 1.0}), id)
        assert server.get(f"/r/{id}/status").json()["state"] == "succeeded"


def test_the_alias_starts_an_evicted_result_again(tmp_path: Path) -> None:
    env = {"GATES": str(tmp_path), "ETAGERE_CACHE_SIZE": str(5 * MIB)}
    with Server.serve(MODELS, tmp_path / "data", env=env) as server:
        path = urljoin("/", server.query("/quick", {"x": 1, "label": "b" * 3 * MIB})["Location"])
        first = server.result(path)
        assert server.result("/large?n=4").status == 200
        assert server.get(f"{path}/status").json()["state"] == "absent"
        assert server.get(path).status == 202
        again = server.result(path)
        assert (again.etag, again.body) == (first.etag, first.body)


@pytest.mark.parametrize(
    ("fields", "status", "name"),
    [
        ({}, 400, "malformed-request"),
        ({"Content-Type": ""}, 400, "malformed-request"),
        ({"Content-Type": "text/plain"}, 415, "unsupported-content"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "unsupported-content"),
        ({"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported-content"),
        ({"Content-Type": "application/json, text/plain"}, 415, "unsupported-content"),
        ({**JSON, "Content-Encoding": "gzip"}, 415, "unsupported-content"),
        ({**JSON, "Accept": "image/png"}, 406, "not-acceptable"),
        ({**JSON, "Sec-Purpose": "prefetch"}, 503, "not-started"),
        ({**JSON, "Host": "evil.example"}, 421, "misdirected-request"),
    ],
)
def test_what_is_refused_starts_nothing(server: Server, fields: dict[str, str], status: int, name: str) -> None:
    answer = server.request("QUERY", "/quick", fields, b'{"x": 415}')
    assert is_problem(answer, status, name)
    if "unsupported-content" in name or "Content-Type" not in fields:
        assert answer["Accept-Query"] == '"application/json", "application/x-www-form-urlencoded"'
    assert answer.headers["Accept-Encoding"] == ("identity" if "Content-Encoding" in fields else None)
    assert is_unknown(server, 415)


@pytest.mark.parametrize(
    ("path", "status", "name"),
    [
        ("/nothing", 404, "unknown-model"),
        ("/quick@2", 404, "unknown-version"),
        ("/quick.png", 404, "unknown-format"),
        ("/quick/x", 404, "not-found"),
        ("/quick?x=416", 400, "malformed-request"),
        ("/quick?x=1&x=2", 400, "malformed-request"),
    ],
)
def test_where_it_is_sent_has_to_be_a_resource_without_a_query_string(
    server: Server, path: str, status: int, name: str
) -> None:
    answer = server.query(path, {"x": 416})
    assert is_problem(answer, status, name)
    if status == 400:
        assert "query string" in answer.json()["detail"]
    assert is_unknown(server, 416)


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (b"{}", ["x"]),
        (b'{"x":1e400}', ["x"]),
        (b'{"x":"1"}', ["x"]),
        (b'{"x":true}', ["x"]),
        (b'{"x":null}', ["x"]),
        (b'{"x":[1]}', ["x"]),
        (b'{"x":1,"x":1}', ["x"]),
        (b'{"x":1,"y":2,"z":3}', ["y", "z"]),
        (b'{"x":1,"label":"\\ud800"}', ["label"]),
        (b'{"x":1,"\\ud800":1}', ["\\ud800"]),
        (b'{"x":"a","label":1,"label":2,"more":1}', ["label", "more", "x"]),
    ],
)
def test_every_fault_of_json_is_named_at_once(server: Server, content: bytes, faults: list[str]) -> None:
    answer = server.request("QUERY", "/quick", JSON, content)
    assert is_problem(answer, 400, "invalid-parameters")
    assert sorted({error["parameter"] for error in answer.json()["errors"]}) == faults
    assert all(error["reason"] for error in answer.json()["errors"])


@pytest.mark.parametrize("content", [b'{"x":1.0}', b'{"x":1e0}', b'{"x":9223372036854775808}', b'{"x":"1"}'])
def test_an_int_is_its_digits(server: Server, content: bytes) -> None:
    answer = server.request("QUERY", "/dotted", JSON, content)
    assert is_problem(answer, 400, "invalid-parameters")
    assert leads_to(
        server.request("QUERY", "/dotted", JSON, b'{"x":9223372036854775807}'),
        resource_id("/dotted@1.1?x=9223372036854775807"),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x=1",
        b"[1]",
        b'"x"',
        b"null",
        b'{"x":1',
        b'{"x":1}{}',
        b'{"x":01}',
        b'{"x":NaN}',
        b'{"x":-Infinity}',
        b'{"x":1,}',
        b"{'x':1}",
        b'{"x":1}\x00',
        b'\xef\xbb\xbf{"x":1}',
        '{"x":1}'.encode("utf-16"),
        b'{"x":1,"label":"\xff"}',
        b'{"x":1,"label":"\xed\xa0\x80"}',
        b'{"x":1,"label":"\n"}',
        b"[" * 33 + b"]" * 33,
        b'{"x":' * 100_000,
        b'{"x":' + b"[" * 31 + b"{" + b"]" * 31,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_json_object(server: Server, content: bytes) -> None:
    answer = server.request("QUERY", "/quick", JSON, content)
    assert is_problem(answer, 400, "malformed-request")
    assert "errors" not in answer.json()


@pytest.mark.parametrize(
    ("content", "faults"),
    [(b"", ["x"]), (b"x=1&x=2", ["x"]), (b"x=%zz&y=1", ["x", "y"]), (b"x=1&label=%ff", ["label"]), (b"x=1e+5", ["x"])],
)
def test_every_fault_of_a_form_is_named_at_once(server: Server, content: bytes, faults: list[str]) -> None:
    answer = server.request("QUERY", "/quick", FORM, content)
    assert is_problem(answer, 400, "invalid-parameters")
    assert sorted({error["parameter"] for error in answer.json()["errors"]}) == faults


def test_five_thousand_fields_and_one_more(server: Server) -> None:
    most = {str(n): n for n in range(5000)}
    assert is_problem(server.query("/quick", most), 400, "invalid-parameters")
    assert is_problem(server.query("/quick", {**most, "x": 1}), 400, "malformed-request")
    form = b"&".join(b"%d=1" % n for n in range(5000))
    assert is_problem(server.request("QUERY", "/quick", FORM, form), 400, "invalid-parameters")
    assert is_problem(server.request("QUERY", "/quick", FORM, form + b"&x=1"), 400, "malformed-request")


def test_the_largest_content_and_one_byte_more(server: Server) -> None:
    content = json.dumps({"x": 1, "label": ""}).encode()
    fits = content.replace(b'""', b'"' + b"a" * (8 * MIB - len(content)) + b'"')
    assert len(fits) == 8 * MIB
    assert server.request("QUERY", "/quick", JSON, fits).status == 303
    more = server.request("QUERY", "/quick", JSON, fits + b" ")
    assert is_problem(more, 413, "content-too-large")
    assert "8388608" in more.json()["detail"]


def test_a_smaller_limit_can_be_set(tmp_path: Path) -> None:
    with Server.serve(MODELS, tmp_path / "data", env={"ETAGERE_MAX_QUERY_CONTENT": "1KiB"}) as server:
        assert server.query("/quick", {"x": 1, "label": "a" * 900}).status == 303
        assert is_problem(server.query("/quick", {"x": 1, "label": "a" * 1100}), 413, "content-too-large")
        # By GET it is the URI's own limit that counts.
        assert server.get("/quick?x=2&label=" + "a" * 1100).status == 202


def test_a_content_in_chunks(server: Server) -> None:
    pieces = iter([b'{"x":', b" 17, ", b'"label": "', b"a" * 100_000, b'"}'])
    answer = server.request("QUERY", "/quick", JSON, pieces)
    assert leads_to(answer, resource_id(f"/quick@1?label={'a' * 100_000}&x=17"))


def test_preconditions_preferences_and_ranges_are_those_of_the_resource_and_not_of_the_query(server: Server) -> None:
    ready = server.result("/quick?x=18")
    fields = {"If-None-Match": ready.etag, "If-Match": '"other"', "Range": "bytes=0-1", "Prefer": "wait=5"}
    answer = server.request("QUERY", "/quick", {**JSON, **fields}, b'{"x":18}')
    assert leads_to(answer, ready.etag[1:33])
    assert answer.headers["Preference-Applied"] is None


def test_a_herd_with_one_large_question_is_one_run(tmp_path: Path) -> None:
    model, executions = tmp_path / "model.py", tmp_path / "executions"
    model.write_text(COUNTED)
    contents = [b'{"text": "%b", "x": 7}', b'{"x":7,"text":"%b"}']
    with Server.serve(model, tmp_path / "data", env={"EXECUTIONS": str(executions)}) as server:

        def ask(n: int) -> Answer:
            return server.request("QUERY", "/counted", JSON, contents[n % 2] % (b"a" * MIB))

        with ThreadPoolExecutor(40) as clients:
            answers = list(clients.map(ask, range(40)))
        assert {answer.status for answer in answers} == {303}
        [location] = {answer["Location"] for answer in answers}
        assert server.result(f"/{location}").json() == MIB + 7
    assert executions.read_text() == "run\n"


def test_a_failure_is_told_by_the_alias(server: Server) -> None:
    answer = server.query("/refusing", {"x": 5})
    assert server.result(urljoin("/", answer["Location"])).status == 422
    assert leads_to(server.query("/refusing", {"x": 5}), answer["Location"][2:])


def test_over_capacity_and_what_is_there_already(tmp_path: Path) -> None:
    env = {"GATES": str(tmp_path), "ETAGERE_MAX_PENDING": "1"}
    with Server.serve(MODELS, tmp_path / "data", env=env) as server:
        os.mkfifo(tmp_path / "gate")
        assert server.query("/gated", {"gate": "gate"}).status == 303
        assert server.query("/gated", {"gate": "gate"}).status == 303
        refused = server.query("/gated", {"gate": "other"})
        assert is_problem(refused, 503, "over-capacity")
        assert int(refused["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("http", "application", "prefix"),
    [
        ("httptools", "tests.models.conversation:app", ""),
        ("h11", "tests.models.conversation:app", ""),
        ("h11", "tests.models.mounted:host", "/science/models"),
    ],
)
def test_on_uvicorn_and_mounted(http: str, application: str, prefix: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "--http", http, "--port", "0", application]
    env = {"ETAGERE_DATA": str(tmp_path / "data"), "GATES": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT}/src"}
    with Server(command, env, ROOT) as server:
        path = f"{prefix}/quick"
        answer = server.query(path, {"x": 1, "label": "a" * 100_000})
        assert answer.status == 303
        alias = urljoin(path, answer["Location"])
        assert alias.startswith(f"{prefix}/r/")
        assert server.result(alias).json()["label"] == "a" * 100_000
        assert server.query(path, {"x": "1"}).status == 400
        assert server.query(path, {"x": 1, "label": "a" * 9 * MIB}).status == 413
        assert server.request("OPTIONS", path)["Allow"].endswith("QUERY")
