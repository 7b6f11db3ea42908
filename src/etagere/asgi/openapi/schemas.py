"""The schemas of the documents that the service itself sends (JSON Schema 2020-12)."""

from __future__ import annotations

from typing import Any

from etagere.core.lifecycle import State
from etagere.core.representation import Kind

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_DIGEST: Schema = {"type": "string", "pattern": "^[a-z2-7]{10}$", "description": "As it stands in the ready tag."}
_LINK: Schema = {"type": "string", "format": "uri-reference"}
_FAULT: Schema = {
    "type": "object",
    "required": ["parameter", "reason"],
    "properties": {
        "parameter": {**_TEXT, "description": "Its name; `*` for a fault of their combination."},
        "reason": _TEXT,
        "value": {**_TEXT, "description": "What was sent, shortened."},
    },
}
_UNITS = ("s", "bytes", "processes")
_FORMAT: Schema = {"oneOf": [_TEXT, {"type": "object", "properties": {"name": _TEXT, "media_type": _TEXT}}]}


def record(required: list[str], /, **properties: Schema) -> Schema:
    """An object with members that may or must be there."""
    return {"type": "object", "required": required, "properties": properties}


PROBLEM: Schema = record(
    ["type", "title", "status", "detail"],
    type={**_LINK, "description": "Leads to what the problem means and what to do."},
    title=_TEXT,
    status={"type": "integer"},
    detail=_TEXT,
    errors={"type": "array", "items": _FAULT, "description": "Every fault of the parameters."},
    formats={"type": "array", "items": _FORMAT, "description": "Those that there are."},
    models={"type": "array", "items": _TEXT},
    versions={"type": "array", "items": _TEXT},
    id={**_TEXT, "description": "Of the resource whose run failed."},
    seconds={"type": "number", "description": "How long the run took."},
    attempt={"type": "integer", "description": "The number of the attempt that ended it."},
    limit={
        **record(["name", "value", "unit"], name=_TEXT, value={"type": "number"}, unit={"enum": [*_UNITS]}),
        "description": "The limit that the run went beyond: the model's option, or the service's setting.",
    },
    attempts={"type": "integer", "description": "How many attempts there were before the run was given up."},
    crashed={"type": "integer", "description": "How many of them died."},
    lost={"type": "integer", "description": "How many of them were lost, with the service say."},
)

STATUS: Schema = record(
    ["id", "model", "version", "state", "links"],
    id=_TEXT,
    model=_TEXT,
    version=_TEXT,
    state={"enum": ["absent", *map(str, State)]},
    outcome={"enum": [*map(str, Kind)]},
    attempt={"type": "integer", "minimum": 0},
    progress={"type": "number", "minimum": 0, "maximum": 1},
    message=_TEXT,
    position={"type": "integer", "minimum": 1, "description": "The rank in the queue."},
    eta={"type": "number", "minimum": 0, "description": "Estimated seconds left."},
    created=_TIME,
    started=_TIME,
    finished=_TIME,
    problem={"$ref": "#/components/schemas/Problem"},
    nondeterministic={
        **record(["first", "later", "seen"], first=_DIGEST, later=_DIGEST, seen=_TIME),
        "description": "A run gave other bytes than the one before: the model is not deterministic.",
    },
    links=record(["result", "status", "model"], result=_LINK, status=_LINK, model=_LINK),
)

EVENT: Schema = record(
    ["data"],
    id=_TEXT,
    event={"const": "status"},
    data={
        "type": "string",
        "contentMediaType": "application/vnd.etagere.status+json",
        "contentSchema": {"$ref": "#/components/schemas/Status"},
    },
)

_MODEL_LINKS = record(["self"], self=_LINK, description=_LINK, pinned=_LINK)

CATALOGUE: Schema = record(
    ["models"],
    models={
        "type": "array",
        "items": record(
            ["name", "version", "summary", "links"], name=_TEXT, version=_TEXT, summary=_TEXT, links=_MODEL_LINKS
        ),
    },
)

MODEL: Schema = record(
    ["name", "version", "versions", "description", "parameters", "links"],
    name=_TEXT,
    version={**_TEXT, "description": "The newest."},
    versions={"type": "array", "items": _TEXT},
    description=_TEXT,
    media_type=_TEXT,
    format=_TEXT,
    formats={"type": "array", "items": _FORMAT, "description": "Those of its results, the primary one first."},
    time_limit={"type": "number", "description": "Seconds."},
    parameters={"type": "object", "description": "The JSON Schema of the parameters."},
    examples={"type": "array", "items": {"type": "object"}},
    links=_MODEL_LINKS,
)

PROBLEM_TYPE: Schema = record(
    ["type", "title", "status", "meaning", "advice"],
    type=_LINK,
    title=_TEXT,
    status={"type": "integer"},
    meaning=_TEXT,
    advice={**_TEXT, "description": "What to do."},
)

PROBLEM_TYPES: Schema = record(["problems"], problems={"type": "array", "items": PROBLEM_TYPE})

HEALTH: Schema = record(["status"], status={"enum": ["live", "ready"]})
