"""A span for each request, by the semantic conventions of OpenTelemetry for HTTP servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode, Tracer, get_current_span

from etagere.asgi.access_log import about
from etagere.asgi.app import OTHER_METHODS
from etagere.asgi.query import OWN_PATHS
from etagere.asgi.request import path_of, sent_path
from etagere.asgi.responses import ANSWER, TRACE, Receive, Scope, Send
from etagere.otel import parent, traceparent

_METHODS = OTHER_METHODS | {"GET", "HEAD", "OPTIONS", "QUERY"}
_LONGEST_METHOD = 32


class Traced:
    """Wraps an ASGI application that leaves its `Response` in the scope, and finds the traceparent there.

    Inputs are data, and credentials are secret: neither the query string nor other fields are in a span.
    """

    def __init__(self, application: Callable[[Scope, Receive, Send], Awaitable[None]], tracer: Tracer) -> None:
        self._application = application
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request through within its span."""
        statuses: list[int] = []

        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        span = self._begin(scope)
        scope[TRACE] = traceparent(span)
        try:
            await self._application(scope, receive, noted)
        finally:
            if span.is_recording():
                _end(span, scope, statuses)
            span.end()

    def _begin(self, scope: Scope) -> Span:
        method: str = scope["method"]
        attributes: dict[str, str | int] = {
            "http.request.method": method if method in _METHODS else "_OTHER",
            "url.scheme": scope.get("scheme", "http"),
            "url.path": sent_path(scope),
        }
        name = method
        if method not in _METHODS:
            attributes["http.request.method_original"] = method[:_LONGEST_METHOD]
            name = "HTTP"
        if route := route_of(path_of(scope)):
            attributes["http.route"] = route
            name = f"{name} {route}"
        if get_current_span() is INVALID_SPAN:
            return self._tracer.start_span(name, _context(scope), SpanKind.SERVER, attributes)
        # The host application's own is the server's.
        return self._tracer.start_span(name, None, SpanKind.INTERNAL, attributes)


def route_of(path: str) -> str | None:
    """The kind of path that one below the root is; None where there is nothing of that form."""
    if path in OWN_PATHS:
        return path
    match path[1:].split("/", 3):
        case ["-", *_]:
            return "/-/{page}"
        case ["r", id] if id:
            return "/r/{id}"
        case ["r", id, "status" | "events" as last] if id:
            return f"/r/{{id}}/{last}"
        case [model] if model:
            return "/{model}"
    return None


def _context(scope: Scope) -> Context | None:
    parents = [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]
    if not parents:
        return None
    return parent(parents, [value.decode("latin-1") for name, value in scope["headers"] if name == b"tracestate"])


def _end(span: Span, scope: Scope, statuses: list[int]) -> None:
    found: dict[str, str | int] = {
        f"etagere.{name}": value for name, value in about(scope.get(ANSWER)).items() if value is not None
    }
    if statuses:
        found["http.response.status_code"] = statuses[0]
        if statuses[0] >= 500:
            found["error.type"] = str(statuses[0])
            span.set_status(Status(StatusCode.ERROR))
    span.set_attributes(found)
