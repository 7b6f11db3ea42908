"""Traces by OpenTelemetry: whose provider, what an attempt's span says, and an end that waits for no collector.

Only the factory imports this, where traces are wanted.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk import _shared_internal as batches
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags, TraceState

from etagere.core.lifecycle import Run
from etagere.errors import StartError
from etagere.logs import get_logger

log = get_logger("etagere.traces")

FLUSH_SECONDS = 2.0
"""How long the stop waits for the collector to take what is left."""
TOLD_SECONDS = 60.0
"""How often it is told at most that the collector does not take what it is sent."""

_LOGGERS = [logging.getLogger(module.__name__) for module in (trace_exporter, batches)]
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_LONGEST_PARENT = 512
_MEMBER = re.compile(
    r"([a-z][_0-9a-z*/-]{0,255}|[a-z0-9][_0-9a-z*/-]{0,240}@[a-z][_0-9a-z*/-]{0,13})"
    r"=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
_LONGEST_STATE = 512
_MOST_MEMBERS = 32


class Attempt:
    """See `Attempted`."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._told = False
        self.traceparent = traceparent(span)

    def tell(self, outcome: str, *, failed: bool) -> None:
        """See `Attempted`."""
        if self._told:
            return
        self._told = True
        self._span.set_attribute("etagere.outcome", outcome)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))


class Tracing:
    """The tracer, that of the host application's provider if it has one, and the spans of attempts.

    Raises:
        StartError: the OTEL_* variables say something that cannot be.
    """

    def __init__(self) -> None:
        self._own: _Own | None = None
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            try:
                self._own = _Own()
            except Exception as error:
                raise StartError(f"no traces can be sent as the OTEL_* variables say: {error}") from error
            provider = self._own.provider
        self.tracer = provider.get_tracer("etagere", version("etagere"))

    @contextmanager
    def attempt(self, run: Run) -> Iterator[Attempt]:
        """See `Traces`."""
        about: dict[str, str | int] = {"etagere.id": run.id, "etagere.model": run.model, "etagere.attempt": run.attempt}
        span = self.tracer.start_span(f"run {run.model}", parent([run.trace]) or Context(), attributes=about)
        try:
            yield Attempt(span)
        finally:
            span.end()

    async def close(self) -> None:
        """Send what is left, if the collector takes it soon enough. A host application's provider is its own."""
        if self._own is not None:
            await self._own.close()


class _Own:
    """A provider that sends by OTLP over HTTP, as the OTEL_* variables say."""

    def __init__(self) -> None:
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            named = {SERVICE_NAME: "etagere", SERVICE_VERSION: version("etagere")}
            resource = resource.merge(Resource(named))
        self._exporter = OTLPSpanExporter()
        self._failures = _Failures()
        for logger in _LOGGERS:
            logger.addFilter(self._failures.tell)
        # Its own end at the exit of the process would wait for half a minute.
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(self._exporter))

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        sent: asyncio.Future[None] = loop.create_future()

        def send() -> None:
            self.provider.shutdown()
            # Nobody may be there any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(sent.cancel)

        # No thread of an executor's, for the end of the process waits for those.
        threading.Thread(target=send, name="last-traces", daemon=True).start()
        await asyncio.wait([sent], timeout=FLUSH_SECONDS)
        if not sent.done():
            log.warning("the last traces could not be sent")
            # What it has to say after the end interests nobody.
            self._failures.silent = True
            self._exporter.shutdown()  # type: ignore[no-untyped-call]
            return
        for logger in _LOGGERS:
            logger.removeFilter(self._failures.tell)


class _Failures:
    """In the place of what the SDK would say each time that it cannot send."""

    def __init__(self) -> None:
        self.silent = False
        self._next = 0.0

    def tell(self, record: logging.LogRecord) -> bool:
        """A filter of the SDK's loggers: tells of it now and then, in our log, and lets nothing through."""
        now = time.monotonic()
        if not self.silent and record.levelno >= logging.WARNING and now >= self._next:
            self._next = now + TOLD_SECONDS
            log.warning("traces cannot be sent", reason=record.getMessage())
        return False


def traceparent(span: Span) -> str:
    """The context of a span as W3C Trace Context writes it; empty where it has none."""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parent(traceparents: Sequence[str], tracestates: Sequence[str] = ()) -> Context | None:
    """The context that the fields of a request name, each given as often as it was sent; None where they name none.

    The SDK's own propagator writes a warning for what is not valid, and that is a client's to send.
    """
    if len(traceparents) != 1 or len(traceparents[0]) > _LONGEST_PARENT:
        return None
    said = _PARENT.fullmatch(traceparents[0])
    if said is None or said[1] == "ff" or (said[1] == "00" and said[5]):
        return None
    flags = TraceFlags(int(said[4], 16))
    context = SpanContext(int(said[2], 16), int(said[3], 16), is_remote=True, trace_flags=flags,
                          trace_state=_state(tracestates))  # fmt: skip
    return trace.set_span_in_context(NonRecordingSpan(context), Context()) if context.is_valid else None


def _state(fields: Sequence[str]) -> TraceState | None:
    whole = ",".join(fields)
    if not whole or len(whole) > _LONGEST_STATE:
        return None
    members = [_MEMBER.fullmatch(member.strip(" \t")) for member in whole.split(",") if member.strip(" \t")]
    known = {member[1]: member[2] for member in members if member is not None}
    # One that is not valid, or there twice, makes all of them worth nothing.
    return TraceState(list(known.items())) if len(known) == len(members) <= _MOST_MEMBERS else None
