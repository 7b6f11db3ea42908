"""What a real service sends to a collector, and that none of it hinders anything."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.conversation.asking import Gates
from tests.harness import Answer, Server
from tests.otlp import INTERNAL, SERVER, Collector, sending_to

MODELS = Path(__file__).parents[1] / "models" / "traced.py"
NOWHERE = sending_to("http://127.0.0.1:1")
STOP_SECONDS = 6.0
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def server(collector: Collector, gates: Gates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data"), env={**collector.env, **gates.env}) as server:
        yield server


def new_trace(flags: str = "01") -> tuple[str, str, dict[str, str]]:
    """A trace that a client is in: its id, the span of the client, and the fields that say so."""
    trace, span = f"{next(numbers):032x}", f"{next(numbers):016x}"
    return trace, span, {"traceparent": f"00-{trace}-{span}-{flags}"}


def get(server: Server, path: str, headers: Mapping[str, str], tag: str | None = None, method: str = "GET") -> Answer:
    return server.request(method, path, {**headers, "If-None-Match": tag} if tag else headers)


@pytest.mark.parametrize("model", ["forked", "renewed", "executed"])
def test_a_request_its_run_and_what_the_model_does_are_of_one_trace(
    server: Server, collector: Collector, model: str
) -> None:
    trace, client, fields = new_trace()
    accepted = get(server, f"/{model}?x=1", {**fields, "tracestate": "vendor=1,other=2"})
    assert accepted.status == 202
    told = server.result(f"/{model}?x=1").json()
    request, run = sorted(collector.until(lambda span: span.trace == trace, 2), key=lambda span: -span.kind)
    assert (request.name, request.kind, request.parent, request.state) == (
        "GET /{model}",
        SERVER,
        client,
        "vendor=1,other=2",
    )
    assert (run.name, run.kind, run.parent) == (f"run {model}@1", INTERNAL, request.id)
    assert told["TRACEPARENT"] == f"00-{trace}-{run.id}-01"
    id = run.attributes["etagere.id"]
    assert run.attributes == {
        "etagere.id": id,
        "etagere.model": f"{model}@1",
        "etagere.attempt": 1,
        "etagere.outcome": "succeeded",
    }
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/{model}",
        "http.response.status_code": 202,
        "url.scheme": "http",
        "url.path": f"/{model}",
        "etagere.answer": "started",
        "etagere.id": id,
    }
    assert not request.failed
    assert not run.failed
    assert request.resource["service.name"] == "etagere"


def test_a_ping_has_a_span_and_who_joins_is_no_parent_of_the_run(
    server: Server, collector: Collector, gates: Gates
) -> None:
    first, second, ping = new_trace(), new_trace(), new_trace()
    gate = gates.new()
    tag = get(server, f"/gated?gate={gate}", first[2]).etag
    assert get(server, f"/gated?gate={gate}", second[2]).status == 202
    assert get(server, f"/gated?gate={gate}", ping[2], tag).status == 304
    gates.open(gate)
    run = collector.one(lambda span: span.name == "run gated@1")
    answers = {
        trace: collector.one(lambda span, trace=trace: (span.trace, span.kind) == (trace, SERVER))
        for trace, _, _ in (first, second, ping)
    }
    assert (run.trace, run.parent) == (first[0], answers[first[0]].id)
    assert [span.attributes["etagere.answer"] for span in answers.values()] == ["started", "joined", "pending"]
    assert {span.attributes["etagere.id"] for span in answers.values()} == {run.attributes["etagere.id"]}


@pytest.mark.parametrize(
    ("model", "status", "outcome", "failed"), [("failing", 500, "failed", True), ("refusing", 422, "refused", False)]
)
def test_a_run_that_fails_and_an_answer_that_says_so_are_errors(
    server: Server, collector: Collector, model: str, status: int, outcome: str, failed: bool
) -> None:
    trace, _, fields = new_trace()
    get(server, f"/{model}?x=1", fields)
    run = collector.one(lambda span: span.name == f"run {model}@1")
    assert (run.trace, run.attributes["etagere.outcome"], run.failed) == (trace, outcome, failed)
    server.result(f"/{model}?x=1")
    again, _, fields = new_trace()
    assert get(server, f"/{model}?x=1", fields).status == status
    request = collector.one(lambda span: span.trace == again)
    assert (request.attributes["http.response.status_code"], request.failed) == (status, failed)
    assert request.attributes.get("error.type") == (str(status) if failed else None)


@pytest.mark.parametrize(
    ("method", "path", "name", "status"),
    [
        ("GET", "/", "GET /", 200),
        ("HEAD", "/-/health/live", "HEAD /-/{page}", 200),
        ("GET", "/nothing?secret", "GET /{model}", 404),
        ("GET", "/far/too/deep", "GET", 404),
        ("GET", "/r/unknown", "GET /r/{id}", 404),
        ("GET", "/r/unknown/status", "GET /r/{id}/status", 404),
        ("GET", "/r/unknown/events", "GET /r/{id}/events", 404),
        ("OPTIONS", "/forked", "OPTIONS /{model}", 204),
        ("BREW", "/forked", "HTTP /{model}", 501),
    ],
)
def test_names_are_few_and_only_faults_of_the_service_are_errors(
    server: Server, collector: Collector, method: str, path: str, name: str, status: int
) -> None:
    trace, _, fields = new_trace()
    assert get(server, path, fields, method=method).status == status
    span = collector.one(lambda span: span.trace == trace)
    assert (span.name, span.attributes["http.response.status_code"], span.failed) == (name, status, status >= 500)
    assert span.attributes["url.path"] == path.partition("?")[0]
    known = method != "BREW"
    assert span.attributes["http.request.method"] == (method if known else "_OTHER")
    assert span.attributes.get("http.request.method_original") == (None if known else method)


def test_nothing_secret_is_sent(server: Server, collector: Collector) -> None:
    trace, _, fields = new_trace()
    secrets = {"Authorization": "Bearer s3cret", "Cookie": "a=s3cret", "X-Api-Key": "s3cret", "User-Agent": "s3cret"}
    get(server, "/forked?x=4&s3cret=1", {**fields, **secrets})
    get(server, "/forked?x=5", {**fields, **secrets})
    server.query("/forked", {"x": 6, "s3cret": "s3cret"}, **fields, **secrets)
    collector.until(lambda span: span.trace == trace and span.kind == SERVER, 3)
    assert b"s3cret" not in collector.raw
    assert b"x=4" not in collector.raw
    assert MODELS.name.encode() not in collector.raw, "nor what an exception says"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-" + "x" * 500,
    ],
)
def test_a_traceparent_that_is_not_valid_is_as_none(server: Server, collector: Collector, given: str) -> None:
    path = f"/invalid{next(numbers)}"
    assert get(server, path, {"traceparent": given, "tracestate": "vendor=1"}).status == 404
    span = collector.one(lambda span: span.attributes.get("url.path") == path)
    assert (span.parent, span.state) == ("", "")
    assert span.trace != "0af7651916cd43dd8448eb211c80319c"


def test_a_tracestate_that_is_not_valid_is_left_out(server: Server, collector: Collector) -> None:
    for state in ("Not=valid", "a=1,a=2", "a=1,b=\xfc", ",".join(f"k{n}=1" for n in range(33)), "a=" + "b" * 600):
        trace, client, fields = new_trace()
        get(server, "/nothing", {**fields, "tracestate": state})
        span = collector.one(lambda span, trace=trace: span.trace == trace)
        assert (span.parent, span.state) == (client, "")


def test_what_is_not_sampled_is_not_sent_and_passed_on(server: Server, collector: Collector) -> None:
    trace, _, fields = new_trace("00")
    get(server, "/forked?x=20", fields)
    told = server.result("/forked?x=20").json()["TRACEPARENT"]
    assert re.fullmatch(rf"00-{trace}-[0-9a-f]{{16}}-00", told)
    after, _, fields = new_trace()
    get(server, "/-/health/live", fields)
    collector.until(lambda span: span.trace == after)
    assert not [span for span in collector.spans if span.trace == trace]


def test_clients_write_nothing_into_the_log(server: Server) -> None:
    """The last of those that use the service."""
    server.stop()
    said = server.printed.decode()
    assert "\x1b" not in said
    assert "opentelemetry" not in said
    assert not [line for line in said.splitlines()[1:] if not re.match(r"\d\d:\d\d:\d\d |    ", line)], said


def test_the_last_spans_are_sent_at_the_stop(tmp_path: Path) -> None:
    with Collector() as collector:
        env = {**collector.env, "OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_SERVICE_NAME": "tides"}
        with Server.serve(MODELS, tmp_path / "data", env=env) as server:
            server.get("/-/health/live")
        (span,) = collector.spans
        assert (span.name, span.resource["service.name"]) == ("GET /-/{page}", "tides")


def test_an_attempt_that_a_stop_ends_is_told_of_and_the_next_one_has_the_same_parent(
    tmp_path: Path, gates: Gates
) -> None:
    gate = gates.new()
    with Collector() as collector:
        env = {**collector.env, **gates.env}
        trace, _, fields = new_trace()
        with Server.serve(MODELS, tmp_path / "data", env=env) as server:
            tag = get(server, f"/gated?gate={gate}", fields).etag
            while "running" not in server.get(f"/gated?gate={gate}", tag)["Run-Status"]:
                pass
        with Server.serve(MODELS, tmp_path / "data", env=env) as server:
            gates.open(gate)
            assert server.result(f"/gated?gate={gate}").status == 200
        request, *runs = (span for span in collector.spans if span.trace == trace)
    assert [run.attributes["etagere.outcome"] for run in runs] == ["released", "succeeded"]
    assert {run.parent for run in runs} == {request.id}
    assert not any(run.failed for run in runs)


def answers_as_ever(server: Server) -> None:
    path = f"/forked?x={next(numbers)}"
    assert server.get(path).status == 202
    assert server.result(path).status == 200
    assert server.get("/nothing").status == 404


def stops_soon(server: Server) -> None:
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < STOP_SECONDS


def test_a_collector_that_hangs_hinders_nothing(tmp_path: Path) -> None:
    with Collector(hangs=True) as collector:
        server = Server.serve(MODELS, tmp_path / "data", env=collector.env).start()
        server.get("/-/health/live")
        assert collector.hanging.wait(30)
        answers_as_ever(server)
        stops_soon(server)
    assert b"the last traces could not be sent" in server.printed


def test_a_collector_that_is_not_there_hinders_nothing_and_is_told_of_once(tmp_path: Path) -> None:
    env = {**NOWHERE, "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"}
    server = Server.serve(MODELS, tmp_path / "data", env=env).start()
    for _ in range(20):
        answers_as_ever(server)
    stops_soon(server)
    lines = server.printed.decode().splitlines()
    assert len([line for line in lines if "traces cannot be sent" in line]) == 1, lines
    assert not [line for line in lines if "Traceback" in line or "opentelemetry" in line]


def test_without_the_setting_there_are_none(tmp_path: Path) -> None:
    with Collector() as collector:
        env = {**collector.env, "ETAGERE_TRACES": "false", "TRACEPARENT": new_trace()[2]["traceparent"]}
        with Server.serve(MODELS, tmp_path / "data", env=env) as server:
            get(server, "/forked?x=1", new_trace()[2])
            told = server.result("/forked?x=1").json()
        assert told == {"TRACEPARENT": None, "TRACESTATE": None}
        assert collector.spans == []


def test_variables_that_say_what_cannot_be_keep_it_from_starting(tmp_path: Path) -> None:
    server = Server.serve(MODELS, tmp_path / "data", env={**NOWHERE, "OTEL_BSP_MAX_QUEUE_SIZE": "1"})
    with pytest.raises(AssertionError, match=r"etagere: no traces can be sent as the OTEL_. variables say: max_export"):
        server.start()
    assert server.stop() == 2


def test_without_opentelemetry_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError(name='opentelemetry')")
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    server = Server.serve(MODELS, tmp_path / "data", env={**NOWHERE, "PYTHONPATH": paths})
    with pytest.raises(AssertionError, match=re.escape("is not there: pip install '.[otel]' in a checkout")):
        server.start()
    assert server.stop() == 2
