"""The short addresses `/r/{id}` of every model's results and runs."""

from __future__ import annotations

from typing import Any

from etagere.asgi.openapi import schemas
from etagere.asgi.openapi.components import PAGE, REQUEST_FIELDS, STATUS, Part, headers, problems, response
from etagere.asgi.openapi.models import media_types, ready
from etagere.model import Model

TAG = "/r/"

_ID: Part = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The hash of the canonical URI; the pending tag has it, and the status document.",
    "schema": {"type": "string", "pattern": "^[a-z2-7]{32}$"},
}
_STATUS_SCHEMA = {"$ref": "#/components/schemas/Status"}


def paths(published: list[Model]) -> dict[str, Any]:
    """The path items of the alias, its status and its events."""
    types = dict.fromkeys(name for model in published for name in media_types(model))
    items = {"/r/{id}": _result([*types]), "/r/{id}/status": _status(), "/r/{id}/events": _events()}
    return {path: {"parameters": [_ID], "get": {"tags": [TAG], **operation}} for path, operation in items.items()}


def _result(types: list[str]) -> Part:
    return {
        "operationId": "etagere.r",
        "summary": "The result, by its short address",
        "description": "As the long URI answers, and for ever fresh. It starts the run again where that is needed.",
        "parameters": REQUEST_FIELDS,
        "responses": {
            **ready(types),
            "202": response("Accepted"),
            "304": response("Unchanged"),
            **problems(404, 410),
        },
    }


def _status() -> Part:
    return {
        "operationId": "etagere.status",
        "summary": "Where the run stands",
        "description": "Reading it starts nothing.",
        "responses": {
            "200": {
                "description": "The status document, or a page for a browser.",
                "headers": headers(
                    "Cache-Control", "X-Content-Type-Options", "Vary", sometimes=["Content-Security-Policy"]
                ),
                "content": {STATUS: {"schema": _STATUS_SCHEMA}, **PAGE},
            },
            **_lookups(),
        },
    }


def _events() -> Part:
    return {
        "operationId": "etagere.events",
        "summary": "The status document as it changes",
        "description": "Server-sent events until the run ends. Reading them starts nothing.",
        "responses": {
            "200": {
                "description": "A status document for each change.",
                "headers": headers("Cache-Control", "X-Accel-Buffering", "X-Content-Type-Options"),
                "content": {"text/event-stream": {"schema": schemas.EVENT}},
            },
            **_lookups(),
        },
    }


def _lookups() -> Part:
    return problems(404, without=[400, 406, 412, 416, 422, 429, 504])
