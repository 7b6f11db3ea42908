"""Who may see what: role by route by state, over a real server. What may not be seen does not exist."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.harness import Answer, Server

from etagere import keys
from etagere.core.canonical import encode, resource_id
from etagere.core.clients import Role

MODELS = Path(__file__).parents[1] / "models" / "access.py"
NOWHERE_MODEL = "nonesuch"
NOWHERE_ID = "a" * 32
numbers = itertools.count(os.getpid() * 1000 + 1)

Fields = dict[str, str]


@dataclass
class Place:
    """A service, its keys by the name of who has them, and the gates of its models."""

    server: Server
    keys: dict[str, str]
    gates: Path

    def fields(self, who: str) -> Fields:
        return {"Authorization": f"Bearer {self.keys[who]}"} if who in self.keys else {}

    def ask(self, who: str, method: str, target: str, **more: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        body = b"{}"
        if method == "QUERY":
            target, _, query = target.partition("?")
            body = json.dumps({name: int(x) for name, _, x in [query.partition("=")]}).encode()
            named["Content-Type"] = "application/json"
        elif method != "POST":
            body = b""
        return self.server.request(method, target, {**self.fields(who), **named}, body)

    def result(self, who: str, target: str) -> Answer:
        return self.server.result(target, **self.fields(who))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    data, gates = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("gates")
    file, now = data / "keys.json", time.time()
    made = {
        "alice": keys.add(file, "alice", Role.client, None, None, now),
        "bob": keys.add(file, "bob", Role.client, None, now + 3600, now),
        "narrow": keys.add(file, "narrow", Role.client, ("other",), None, now),
        "olga": keys.add(file, "olga", Role.operator, None, None, now),
        "late": keys.add(file, "late", Role.operator, None, now - 1, now - 9),
    }
    made["forger"] = made["alice"][:-1] + ("A" if made["alice"][-1] != "A" else "B")
    with Server.serve(MODELS, data, env={"GATES": str(gates)}) as server:
        yield Place(server, made, gates)


STATES = ("absent", "pending", "ready", "refused", "failed")
OUTCOMES = {"ready": 200, "refused": 422, "failed": 500}


@dataclass
class Case:
    """A resource of alice's in some state."""

    model: str
    query: str
    id: str
    tags: dict[str, str]
    gate: Path | None = None


def case_of(place: Place, model: str, state: str) -> Case:
    x = {"refused": -next(numbers), "failed": 0}.get(state, next(numbers))
    gate = place.gates / f"g{next(numbers)}" if state == "pending" else None
    if gate:
        os.mkfifo(gate)
    query = f"x={x}" + (f"&gate={gate.name}" if gate else "")
    canonical = f"{'alice' if model == 'private' else ''}/{model}@1?gate={gate.name if gate else ''}&x={x}"
    id = resource_id(canonical)
    tags = {"none": "", "pending": f'W/"{id}"', "any": "*", "ready": f'"{id}.aaaaaaaaaa.json"'}
    if state != "absent":
        assert place.ask("alice", "GET", f"/{model}?{query}").status in (202, 500)
    if state in OUTCOMES:
        answer = place.result("alice", f"/{model}?{query}")
        assert answer.status == OUTCOMES[state]
        tags["ready"] = answer.headers["ETag"] or tags["ready"]
    return Case(model, query, id, tags, gate)


@pytest.fixture(scope="module", params=itertools.product(("keyed", "private"), STATES), ids="-".join)
def case(request: pytest.FixtureRequest, place: Place) -> Iterator[Case]:
    case = case_of(place, *request.param)
    yield case
    if case.gate:
        with case.gate.open("w"):
            pass
        assert place.result("alice", f"/{case.model}?{case.query}").status == 200


BY_NAME = ("/{model}?{query}", "/{model}@1?{query}", "/{model}.json?{query}", "/-/models/{model}")
BY_ID = ("/r/{id}", "/r/{id}.json", "/r/{id}/status", "/r/{id}/events")


def seen(answer: Answer, *names: str) -> tuple[int, list[tuple[str, str]], str]:
    """All of an answer, without what names the thing that was asked for, and what the server says of itself."""
    text = answer.body.decode()
    for name in names:
        text = text.replace(name, "NAME")
    headers = [
        (name.lower(), value) for name, value in answer.headers.items() if name.lower() not in ("date", "connection")
    ]
    sized = [(name, "" if name == "content-length" else value) for name, value in headers]
    return answer.status, sized, text


def requests(case: Case) -> Iterator[tuple[str, Fields]]:
    for method, (_, tag) in itertools.product(("GET", "HEAD"), case.tags.items()):
        yield method, {"If_None_Match": tag} if tag else {}
    yield "GET", {"If_Match": case.tags["ready"]}
    yield "GET", {"Prefer": "wait=5"}
    yield "GET", {"Cache_Control": "only-if-cached"}
    yield "GET", {"Range": "bytes=0-1"}
    yield "GET", {"Accept": "text/html"}


@pytest.mark.parametrize("route", BY_NAME)
@pytest.mark.parametrize("who", ["nobody", "narrow"])
def test_a_model_that_may_not_be_seen_is_like_none(place: Place, case: Case, who: str, route: str) -> None:
    target = route.format(model=case.model, query=case.query)
    nowhere = route.format(model=NOWHERE_MODEL, query=case.query)
    asked = [*requests(case), *([("QUERY", {})] if case.gate is None and "?" in route else [])]
    for method, fields in asked:
        answer = place.ask(who, method, target, **fields)
        assert answer.status == (401 if who == "nobody" else 404)
        assert seen(answer, case.model) == seen(place.ask(who, method, nowhere, **fields), NOWHERE_MODEL)


@pytest.mark.parametrize("route", BY_ID)
@pytest.mark.parametrize("who", ["nobody", "narrow", "bob", "olga"])
def test_knowing_an_id_or_a_tag_grants_nothing(place: Place, case: Case, who: str, route: str) -> None:
    if case.model == "keyed" and who in ("bob", "olga"):
        pytest.skip("these may see it")
    for method, fields in requests(case):
        answer = place.ask(who, method, route.format(id=case.id), **fields)
        assert answer.status == 404
        assert seen(answer, case.id) == seen(place.ask(who, method, route.format(id=NOWHERE_ID), **fields), NOWHERE_ID)


@pytest.mark.parametrize("who", ["late", "forger"])
def test_a_key_that_is_not_good_is_refused_everywhere(place: Place, case: Case, who: str) -> None:
    for route in (*BY_NAME, *BY_ID, "/", "/-/openapi.json", "/-/metrics", "/shared?x=1"):
        target = route.format(model=case.model, query=case.query, id=case.id)
        answer = place.ask(who, "GET", target)
        assert (answer.status, answer["Cache-Control"]) == (401, "no-store")
        assert answer["WWW-Authenticate"] == 'Bearer realm="etagere", error="invalid_token"'
        assert answer.json()["type"] == "/-/problems/not-authenticated"


@pytest.mark.parametrize("who", ["alice", "bob", "olga"])
def test_a_keyed_result_is_one_for_all_who_have_a_key(place: Place, who: str) -> None:
    target = f"/keyed?x={next(numbers)}"
    first = place.result("alice", target)
    answer = place.ask(who, "GET", target)
    assert (answer.status, answer.body, answer.etag) == (200, first.body, first.etag)
    assert answer["Cache-Control"] == "private, max-age=3600"
    alias = place.ask(who, "GET", f"/r/{first.etag[1:33]}")
    assert (alias.status, alias["Cache-Control"]) == (200, "private, max-age=31536000, immutable")
    unchanged = place.ask(who, "GET", target, If_None_Match=first.etag)
    assert (unchanged.status, unchanged["Cache-Control"]) == (304, "private, max-age=3600")


def test_a_private_result_is_each_tenants_own(place: Place) -> None:
    x = next(numbers)
    answers = {who: place.result(who, f"/private?x={x}") for who in ("alice", "bob", "olga")}
    assert {answer.status for answer in answers.values()} == {200}
    assert len({answer.etag for answer in answers.values()}) == 3
    for who, answer in answers.items():
        assert answer["Cache-Control"].startswith("private, ")
        id = resource_id(f"{encode(who)}/private@1?gate=&x={x}")
        assert answer.etag.startswith(f'"{id}.')
        for other in answers:
            assert place.ask(other, "GET", f"/r/{id}").status == (200 if other == who else 404)
            assert place.ask(other, "GET", f"/r/{id}/status").status == (200 if other == who else 404)
            # Another's tag is that of another resource: there is no 304 to learn from.
            shown = place.ask(other, "GET", f"/private?x={x}", If_None_Match=answer.etag)
            assert shown.status == (304 if other == who else 200)


def test_refusals_and_waiting_of_those_who_may_not_be_everybody_are_private(place: Place) -> None:
    for model in ("keyed", "private"):
        refused = place.result("alice", f"/{model}?x=-{next(numbers)}")
        assert (refused.status, refused["Cache-Control"]) == (422, "private, max-age=300")
    shared = place.result("nobody", f"/shared?x=-{next(numbers)}")
    assert (shared.status, shared["Cache-Control"]) == (422, "max-age=300")


@pytest.mark.parametrize("path", ["/", "/-/openapi.json", "/-/docs"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_lists_have_what_a_client_may_ask_for(place: Place, path: str, accept: str) -> None:
    expected = {"nobody": {"shared"}, "narrow": {"shared", "other"}, "alice": {"shared", "keyed", "private", "other"}}
    for who, names in expected.items():
        answer = place.ask(who, "GET", path, Accept=accept)
        assert answer["Cache-Control"] == "private, no-cache"
        text = answer.body.decode()
        assert {name for name in expected["alice"] if re.search(rf"\b{name}[@.\"<]", text)} == names
        again = place.ask(who, "GET", path, Accept=accept, If_None_Match=answer.etag)
        assert (again.status, again["Cache-Control"]) == (304, "private, no-cache")


def test_a_browser_is_asked_for_a_password_which_is_the_key(place: Place) -> None:
    answer = place.ask("nobody", "GET", "/-/models/keyed", Accept="text/html")
    assert answer.status == 401
    assert 'Basic realm="etagere"' in answer["WWW-Authenticate"]
    assert answer["Content-Type"].startswith("text/html")
    assert "Basic" not in place.ask("nobody", "GET", "/-/models/keyed")["WWW-Authenticate"]
    basic = b64encode(f"whoever:{place.keys['alice']}".encode()).decode()
    shown = place.server.get("/-/models/keyed", Accept="text/html", Authorization=f"Basic {basic}")
    assert shown.status == 200


@pytest.mark.parametrize("field", ["Digest x", "Negotiate YII=", "Bearerx abc", "Token abc"])
def test_other_schemes_are_for_somebody_else(place: Place, field: str) -> None:
    assert place.server.get("/shared?x=1", Authorization=field).status in (200, 202)
    assert place.server.get("/keyed?x=1", Authorization=field).status == 401


@pytest.mark.parametrize(
    "field",
    ["Bearer", "Bearer ", "Bearer a b", "Bearer a, Bearer b", "Bearer ä", "Bearer =", "Basic", "Basic !", "Basic YQ=="],
)
def test_credentials_that_cannot_be_read_are_refused(place: Place, field: str) -> None:
    assert (
        place.server.request("GET", "/shared?x=1", {"Authorization": field.encode("latin-1").decode("latin-1")}).status
        == 401
    )


def test_a_key_in_the_query_string_is_no_key(place: Place) -> None:
    for name in ("key", "api_key", "access_token", "token", "authorization"):
        assert place.server.get(f"/keyed?x=1&{name}={place.keys['alice']}").status == 401


@pytest.mark.parametrize("name", ["runs", "metrics"])
def test_what_operators_have_is_not_there_for_others(place: Place, name: str) -> None:
    path = f"/-/{name}"
    if name == "metrics":
        assert place.ask("nobody", "GET", path).status == 200, "open unless it is configured otherwise"
        return
    assert place.ask("nobody", "GET", path).status == 401
    hidden, nowhere = place.ask("alice", "GET", path), place.ask("alice", "GET", "/-/nothing")
    assert hidden.status == 404
    assert seen(hidden) == seen(nowhere)


def test_operators_see_the_runs(place: Place) -> None:
    case = case_of(place, "private", "pending")
    listed = place.ask("olga", "GET", "/-/runs")
    assert (listed.status, listed["Cache-Control"]) == (200, "no-store")
    (run,) = [run for run in listed.json()["runs"] if run["id"] == case.id]
    assert (run["model"], run["client"]) == ("private@1", "alice")
    page = place.ask("olga", "GET", "/-/runs", Accept="text/html")
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert case.id in page.body.decode()
    assert case.gate is not None
    with case.gate.open("w"):
        pass


OPERATIONS = {
    "status": {},
    "runs": {},
    "logs": {"id": NOWHERE_ID},
    "cancel": {"id": NOWHERE_ID},
    "purge": {},
    "drain": {},
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_are_for_operators(place: Place, operation: str) -> None:
    path = f"/-/operations/{operation}"
    json_type = {"Content_Type": "application/json"}
    assert place.ask("nobody", "POST", path, **json_type).status == 401
    assert place.ask("late", "POST", path, **json_type).status == 401
    hidden = place.ask("alice", "POST", path, **json_type)
    assert hidden.status == 404
    assert seen(hidden) == seen(place.ask("alice", "POST", "/-/operations/nonesuch", **json_type))
    assert place.ask("olga", "GET", path).status == 405
    assert place.ask("olga", "POST", path).status in (400, 415), "a form that a page of others could send"
    assert place.ask("olga", "POST", path, Content_Type="application/x-www-form-urlencoded").status == 415


def test_an_operator_reads_what_a_private_run_has_printed(place: Place) -> None:
    x = next(numbers)
    answer = place.result("alice", f"/private?x={x}")
    id = answer.etag[1:33]
    body = json.dumps({"id": id}).encode()
    fields = {**place.fields("olga"), "Content-Type": "application/json"}
    logs = place.server.request("POST", "/-/operations/logs", fields, body)
    assert logs.status == 200
    assert f"private {x}" in logs.json()["output"]
    assert logs["Cache-Control"] == "no-store"
    for wrong in (b"[]", b"{", b'{"other": 1}', b'{"id": 1}'):
        assert place.server.request("POST", "/-/operations/logs", fields, wrong).status == 400
    assert place.server.request("POST", "/-/operations/nonesuch", fields, b"{}").status == 400


def test_a_key_is_good_at_once_and_until_it_is_removed(place: Place) -> None:
    file = place.gates.parent / "unused"
    assert not file.exists()
    data = Path(place.server.command[place.server.command.index("--data") + 1])
    key = keys.add(data / "keys.json", "carol", Role.client, None, None, time.time())
    target = f"/keyed?x={next(numbers)}"
    assert place.server.get(target, Authorization=f"Bearer {key}").status == 202
    assert place.server.get(target, Authorization=f"bearer {key}").status in (200, 202)
    assert [gone.name for gone in keys.remove(data / "keys.json", "carol")] == ["carol"]
    deadline = time.monotonic() + 10
    while place.server.get(target, Authorization=f"Bearer {key}").status != 401:
        assert time.monotonic() < deadline
    assert place.ask("alice", "GET", target).status in (200, 202)
