"""The short addresses `/r/{id}` of every model's results and runs."""

from __future__ import annotations

from typing import Any

from etagere.asgi.openapi import schemas
from etagere.asgi.openapi.components import PAGE, REQUEST_FIELDS, STATUS, Part, headers, problems, response
from etagere.asgi.openapi.models import format_parameter, media_types, pinned, ready
from etagere.model import Model

TAG = "/r/"

_ID: Part = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The hash of the canonical URI; the pending tag has it, and the status document.",
    "schema": {"type": "string", "pattern": "^[a-z2-7]{32}$"},
}
_LAST_EVENT_ID: Part = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the event that was received last; only what is new since is sent.",
    "schema": {"type": "string"},
}
_STATUS_SCHEMA = {"$ref": "#/components/schemas/Status"}


def paths(published: list[Model]) -> dict[str, Any]:
    """The path items of the alias, negotiated and with a format, of its status and of its events."""
    types = dict.fromkeys(name for model in published for name in media_types(model))
    names = dict.fromkeys(format.name for model in published for format in model.formats)
    result = _result([*types])
    return {
        "/r/{id}": _item(result, _ID),
        "/r/{id}.{format}": _item(pinned(result), _ID, format_parameter([*names])),
        "/r/{id}/status": _item(_status(), _ID),
        "/r/{id}/events": _item(_events(), _ID),
    }


def _item(operation: Part, *parameters: Part) -> Part:
    return {"parameters": [*parameters], "get": {"tags": [TAG], **operation}}


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
        "parameters": [_LAST_EVENT_ID],
        "responses": {
            "200": {
                "description": "A status document for each change.",
                "headers": headers("Cache-Control", "X-Accel-Buffering", "X-Content-Type-Options"),
                "content": {"text/event-stream": {"schema": schemas.EVENT}},
            },
            "204": {
                "description": "The run has ended, and you have the last event.",
                "headers": headers("Cache-Control"),
            },
            **_lookups(),
        },
    }


def _lookups() -> Part:
    return problems(404, without=[400, 406, 412, 416, 422, 429, 504])
