"""A collector of traces on loopback: decodes what it is sent by OTLP over HTTP, and hands out spans as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

ERROR = 2
SERVER = 2
INTERNAL = 1
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Span:
    name: str
    trace: str
    id: str
    parent: str
    state: str
    kind: int
    failed: bool
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


class Collector:
    """`raw` is all that it was sent. One that hangs takes connections and requests, and answers none."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.spans: list[Span] = []
        self.raw = b""
        self._come = threading.Condition()
        self._released = threading.Event()
        self.hanging = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if hangs:
                    collector.hanging.set()
                    collector._released.wait()
                    return
                assert self.path == "/v1/traces"
                collector._take(content)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def env(self) -> dict[str, str]:
        """What a service needs to send it everything soon."""
        return sending_to(f"http://127.0.0.1:{self._server.server_port}")

    def until(self, found: Callable[[Span], bool], count: int = 1) -> list[Span]:
        """The spans of which this is true, as soon as there are so many."""
        deadline = time.monotonic() + PATIENCE_S
        with self._come:
            while len(those := [span for span in self.spans if found(span)]) < count:
                left = deadline - time.monotonic()
                assert left > 0, f"{len(those)} of {count} among: {self.spans}"
                self._come.wait(left)
        return those

    def one(self, found: Callable[[Span], bool]) -> Span:
        (span,) = self.until(found)
        return span

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, content: bytes) -> None:
        message = ExportTraceServiceRequest.FromString(content)
        with self._come:
            self.raw += content
            for batch in message.resource_spans:
                resource = plain(batch.resource.attributes)
                for scope in batch.scope_spans:
                    self.spans += [_span(span, resource) for span in scope.spans]
            self._come.notify_all()


def sending_to(endpoint: str) -> dict[str, str]:
    delay = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
    return {"ETAGERE_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "NO_PROXY": "*", **delay}


def plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def _span(span: Any, resource: Mapping[str, Any]) -> Span:
    return Span(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.trace_state,
        span.kind,
        span.status.code == ERROR,
        plain(span.attributes),
        resource,
    )
