"""The provider of a host application, and what is told of attempts that end otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode
from tests.test_worker import Place, opened

from etagere.asgi.responses import TRACE
from etagere.asgi.traced import Traced, route_of
from etagere.core.clients import Asker
from etagere.core.lifecycle import CRASHES_ALLOWED, Run
from etagere.core.representation import Resource
from etagere.otel import Tracing

pytestmark = pytest.mark.anyio

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RUN = Run("a" * 32, "double@1", "default", 0.0, attempt=1, trace=PARENT)
SCOPE = {"type": "http", "method": "GET", "path": "/double", "scheme": "https", "root_path": "", "query_string": b""}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What the provider of a host application gets."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": []})


async def ignore(*_: Any) -> None:
    return


def parent_of(span: ReadableSpan) -> tuple[int, int]:
    assert span.parent is not None
    return span.parent.trace_id, span.parent.span_id


async def test_a_hosts_provider_is_used_and_not_shut_down(exported: InMemorySpanExporter) -> None:
    tracing = Tracing()
    for _ in range(2):
        with tracing.attempt(RUN):
            pass
        await tracing.close()
    assert [span.name for span in exported.get_finished_spans()] == ["run double@1"] * 2


async def test_within_a_hosts_own_span_the_request_is_a_part_of_that(exported: InMemorySpanExporter) -> None:
    scope = {**SCOPE, "headers": [(b"traceparent", PARENT.encode())]}
    traced = Traced(answer, Tracing().tracer)
    await traced(dict(scope), ignore, ignore)
    with trace.get_tracer("host").start_as_current_span("host") as host:
        await traced(scope, ignore, ignore)
    alone, within, _ = exported.get_finished_spans()
    assert (alone.kind, within.kind) == (SpanKind.SERVER, SpanKind.INTERNAL)
    assert parent_of(alone) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    assert parent_of(within) == (host.get_span_context().trace_id, host.get_span_context().span_id)
    assert (within.status.status_code, (within.attributes or {})["url.scheme"]) == (StatusCode.ERROR, "https")


async def test_a_host_that_traces_nothing_passes_on_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", NoOpTracerProvider())
    tracing, scope = Tracing(), {**SCOPE, "headers": []}
    await Traced(answer, tracing.tracer)(scope, ignore, ignore)
    assert scope[TRACE] == ""
    with tracing.attempt(RUN) as span:
        assert span.traceparent == PARENT
    with tracing.attempt(Run("a" * 32, "double@1", "default", 0.0)) as span:
        assert span.traceparent == ""


async def test_an_application_that_fails_ends_its_span(exported: InMemorySpanExporter) -> None:
    async def failing(*_: Any) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await Traced(failing, Tracing().tracer)({**SCOPE, "headers": []}, ignore, ignore)
    (span,) = exported.get_finished_spans()
    assert "http.response.status_code" not in (span.attributes or {})


@pytest.fixture
async def place(tmp_path: Path, exported: InMemorySpanExporter) -> AsyncIterator[Place]:
    async with opened(tmp_path) as place:
        place.worker._traces = Tracing()
        yield place


async def test_each_attempt_has_a_span(place: Place, exported: InMemorySpanExporter) -> None:
    found, _ = place.registry.models["vanishing@1"].bind(b"status=3")
    await place.table.submit(found, Asker(trace=PARENT))
    await place.work()
    spans = exported.get_finished_spans()
    told = [(span.attributes or {}) for span in spans]
    assert [one["etagere.attempt"] for one in told] == list(range(1, CRASHES_ALLOWED + 1))
    assert {(one["etagere.id"], one["etagere.outcome"]) for one in told} == {(found.id, "crashed")}
    assert {parent_of(span)[1] for span in spans} == {0xB7AD6B7169203331}
    assert {span.status.status_code for span in spans} == {StatusCode.ERROR}
    assert not any(span.events or span.status.description for span in spans), "what a model says is its owner's"


async def test_an_outcome_that_is_handed_over_stays_one(exported: InMemorySpanExporter) -> None:
    with Tracing().attempt(RUN) as attempt:
        attempt.tell("succeeded", failed=False)
        attempt.tell("lost", failed=True)
    (span,) = exported.get_finished_spans()
    assert ((span.attributes or {})["etagere.outcome"], span.status.is_ok) == ("succeeded", True)


async def test_what_is_no_run_any_more_and_what_has_no_room_are_told_of(
    place: Place, exported: InMemorySpanExporter
) -> None:
    await place.table.submit(Resource("a" * 32, "/double@0?x=1", "double@0"))
    blocked = await place.submit("double?x=1")
    (place.directory / f"{blocked.id}.1").write_text("in the way")
    await place.work()
    outcomes = {(span.attributes or {})["etagere.outcome"]: span.status for span in exported.get_finished_spans()}
    assert outcomes["cancelled"].is_ok
    assert not outcomes["postponed"].is_ok


@pytest.mark.parametrize(
    ("path", "route"),
    [("", None), ("/r", "/{model}"), ("/r/", None), ("/-", "/-/{page}"), ("/heat@1.csv", "/{model}"), ("/heat/", None)],
)
def test_routes(path: str, route: str | None) -> None:
    assert route_of(path) == route
