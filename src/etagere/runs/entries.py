"""Outcomes as entries of a stream: fields and values, in bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from etagere.core.outcomes import given_up
from etagere.core.representation import Kind, Outcome, Resource

Fields = Mapping[str, bytes]

_SAFE = "surrogatepass"
"""What a run printed, and its file names, may hold what UTF-8 cannot carry."""


def encode(outcome: Outcome) -> dict[str, bytes]:
    """The fields behind id, attempt and kind, without the result's bytes."""
    resource = outcome.resource
    text = {
        "uri": resource.uri,
        "model": resource.model,
        "queue": resource.queue,
        "started": repr(outcome.started),
        "finished": repr(outcome.finished),
        "media_type": outcome.media_type or "",
        "detail": outcome.detail,
        "traceback": outcome.traceback,
        "output": outcome.output,
        "facts": json.dumps(dict(outcome.facts)) if outcome.facts else "",
    }
    return {name: value.encode("utf-8", _SAFE) for name, value in text.items() if value}


def decode(fields: Fields, path: Path | None, body: bytes | None) -> Outcome:
    """The outcome of an entry, with its result.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    text = {name: value.decode("utf-8", _SAFE) for name, value in fields.items() if not name.endswith("body")}
    detail, facts = text.get("detail", ""), json.loads(text.get("facts") or "{}")
    kind = Kind(text["kind"])
    if kind is Kind.poison and "crashes" in text:
        # The store itself has given it up.
        detail, facts = given_up(int(text["crashes"]), int(text["losses"]))
    if kind is Kind.succeeded and (body is None) is (path is None):
        raise ValueError("a result has one body")
    return Outcome(
        resource=Resource(text["id"], text["uri"], text["model"], text["queue"]),
        attempt=int(text["attempt"]),
        kind=kind,
        started=float(text["started"]),
        finished=float(text["finished"]),
        path=path,
        media_type=text.get("media_type"),
        detail=detail,
        traceback=text.get("traceback", ""),
        output=text.get("output", ""),
        facts=facts,
        body=body,
    )
