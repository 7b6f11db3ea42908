"""What the operations share: header fields, responses and schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from etagere.asgi.openapi import schemas
from etagere.asgi.problem_types import ProblemType, problem_types

Part = dict[str, Any]

STATUS = "application/vnd.etagere.status+json"
PROBLEM = "application/problem+json"
PAGE: Part = {"text/html": {"schema": {"type": "string"}}}

_ID = "[a-z2-7]{32}"
_READY = rf'"{_ID}\.[a-z2-7]{{10}}\.[a-z0-9]+(\.(gz|zst))?"'
_PENDING = f'W/"{_ID}"'
_UNNAMED = frozenset({404, 405, 408, 410, 413, 415, 501})
"""Statuses that a `GET` of a path in this document does not get, unless an operation says so."""


def _field(description: str, **schema: Any) -> Part:
    return {"description": description, "schema": {"type": "string", **schema}}


_FIELDS: dict[str, Part] = {
    "PendingTag": _field("Says that there is no result yet. Send it back in If-None-Match.", pattern=f"^{_PENDING}$"),
    "ReadyTag": _field("Names the bytes of the result. Send it back in If-None-Match.", pattern=f"^{_READY}$"),
    "AnyTag": _field("The tag that matched.", pattern=f"^({_PENDING}|{_READY})$"),
    "DocumentTag": _field("Names the bytes of this document.", pattern='^"[a-z2-7]+"$'),
    "Cache-Control": _field("How long caches may keep this (RFC 9111)."),
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "Vary": _field("The request fields that this answer depends on."),
    "Run-Status": _field(
        "A dictionary of structured fields (RFC 9651): state, and where known progress, eta and position.",
        pattern="^state=(queued|running)",
    ),
    "Preference-Applied": _field("The waiting that was done (RFC 7240).", pattern="^wait=[0-9]+$"),
    "Link": _field("Links (RFC 8288), relative to the URI of the request."),
    "Location": _field("The short address of the result.", format="uri-reference"),
    "Accept-Ranges": _field("That parts of it may be asked for.", const="bytes"),
    "Content-Range": _field("Which part this is, and of how many bytes (RFC 9110 §14.4)."),
    "Content-Encoding": _field("How the content is compressed.", enum=["gzip", "zstd"]),
    "Repr-Digest": _field("The SHA-256 of the whole content (RFC 9530).", pattern="^sha-256=:"),
    "Cache-Status": _field("Where the result comes from (RFC 9211).", pattern="^etagere;"),
    "Server-Timing": _field("The milliseconds of the run.", pattern="^run;dur="),
    "RateLimit": _field("When one more run may be started (draft-ietf-httpapi-ratelimit-headers)."),
    "RateLimit-Policy": _field("How many runs a client may start, in how many seconds."),
    "WWW-Authenticate": _field("How to show who asks (RFC 9110 §11.6.1)."),
    "Allow": _field("The methods there are."),
    "Accept-Query": _field("The types of content that QUERY takes (RFC 10008)."),
    "Accept-Encoding": _field("The codings of content that are read."),
    "X-Accel-Buffering": _field("Tells nginx to pass on each event at once.", const="no"),
    "X-Content-Type-Options": _field("The content is what its type says.", const="nosniff"),
    "Content-Security-Policy": _field("What the content may do in a browser."),
}


def headers(*always: str, sometimes: Iterable[str] = ()) -> Part:
    """Header objects by name; the kinds of tags are told apart, and are all the field `ETag`."""
    named = {_field_name(name): {"required": True, **_FIELDS[name]} for name in always}
    return named | {_field_name(name): _FIELDS[name] for name in sometimes}


def _field_name(name: str) -> str:
    return "ETag" if name.endswith("Tag") else name


def response(name: str) -> Part:
    """A reference to a shared response."""
    return {"$ref": f"#/components/responses/{name}"}


def problems(*more: int, without: Iterable[int] = ()) -> Part:
    """References to the problems that an operation may get: those of every `GET`, `more`, and not those `without`."""
    known = {kind.status for kind in problem_types().values()}
    statuses = (known - _UNNAMED - {*without}) | (known & {*more})
    return {str(status): response(f"Problem{status}") for status in sorted(statuses)}


def components() -> Part:
    """All of the shared parts."""
    grouped = groupby(problem_types().values(), lambda kind: kind.status)
    answers = {f"Problem{status}": _problem(status, list(kinds)) for status, kinds in grouped}
    return {
        "parameters": _PARAMETERS,
        "responses": {**{name: make() for name, make in _RESPONSES.items()}, **answers},
        "schemas": {"Problem": schemas.PROBLEM, "Status": schemas.STATUS},
    }


def _request_field(name: str, description: str) -> Part:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


_PARAMETERS: Part = {
    "If-None-Match": _request_field("If-None-Match", "The tag that was received last."),
    "If-Match": _request_field("If-Match", "Go on only with this ready tag, or with `*` only unless it is absent."),
    "Prefer": _request_field("Prefer", "`wait=5` holds the answer for so many seconds (RFC 7240), 20 at the most."),
    "Range": _request_field("Range", "The part of a ready result to send (RFC 9110 §14), such as `bytes=0-1023`."),
    "If-Range": _request_field("If-Range", "The ready tag that the part must be of; else the whole is sent."),
}
REQUEST_FIELDS = [{"$ref": f"#/components/parameters/{name}"} for name in _PARAMETERS]
DOCUMENT_FIELDS = REQUEST_FIELDS[:1]


def _accepted() -> Part:
    schema = {"$ref": "#/components/schemas/Status"}
    fixed = ["PendingTag", "Cache-Control", "Retry-After", "Vary", "Run-Status", "Link", "X-Content-Type-Options"]
    identified = {"parameters": {"id": "$response.body#/id"}}
    return {
        "description": "The run is recorded. Ask again with the tag after `Retry-After` seconds.",
        "headers": headers(*fixed, sometimes=["Preference-Applied", "Content-Security-Policy"]),
        "content": {STATUS: {"schema": schema}, **PAGE},
        "links": {
            "alternate": {"operationId": "etagere.r", **identified},
            "monitor": {"operationId": "etagere.status", **identified},
        },
    }


def _unchanged() -> Part:
    text = "With the pending tag: the run goes on. With a ready tag: the result that you have is right."
    sometimes = ["Retry-After", "Vary", "Run-Status", "Preference-Applied"]
    return {"description": text, "headers": headers("AnyTag", "Cache-Control", sometimes=sometimes)}


def _unchanged_document() -> Part:
    fields = headers("DocumentTag", "Cache-Control", sometimes=["Vary"])
    return {"description": "The document that you have is right.", "headers": fields}


def _see_other() -> Part:
    return {
        "description": "The run is recorded, or its result is there already: `GET` it from `Location`.",
        "headers": headers("Location", "Cache-Control"),
    }


_RESPONSES: dict[str, Callable[[], Part]] = {
    "Accepted": _accepted,
    "Unchanged": _unchanged,
    "SeeOther": _see_other,
    "UnchangedDocument": _unchanged_document,
}


_PROBLEM_FIELDS: dict[int, tuple[str, ...]] = {
    400: ("Accept-Query",),
    405: ("Allow",),
    415: ("Accept-Query", "Accept-Encoding"),
    416: ("Content-Range",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    401: ("WWW-Authenticate",),
    503: ("Retry-After",),
}


def _problem(status: int, kinds: list[ProblemType]) -> Part:
    named = "|".join(kind.name for kind in kinds)
    schema = {
        "allOf": [{"$ref": "#/components/schemas/Problem"}],
        "properties": {"status": {"const": status}, "type": {"pattern": f"/-/problems/({named})$"}},
    }
    sometimes = ["Vary", "Content-Security-Policy", *_PROBLEM_FIELDS.get(status, ())]
    return {
        "description": "\n".join(f"* `{kind.name}`: {kind.meaning} {kind.advice}" for kind in kinds),
        "headers": headers("Cache-Control", "X-Content-Type-Options", sometimes=sometimes),
        "content": {PROBLEM: {"schema": schema}, **PAGE},
    }
