"""The status document of a resource, which is also the content of a 202."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from etagere.asgi.problems import failure_document
from etagere.core.etag import short_digest
from etagere.core.lifecycle import Run, State
from etagere.core.representation import Difference, Failure, Kind, Representation
from etagere.locator import Address
from etagere.service import Service


def status_of(service: Service, address: Address, base: str, root: str) -> dict[str, Any]:
    """The document of whatever state the resource is in."""
    id, now = address.id, service.clock.now()
    run, ghost = service.asked.pending(id), service.cache.ghost(id)
    difference = _difference(ghost.difference) if ghost and ghost.difference else None
    if run is not None:
        position = service.runs.position(id)
        eta = service.pacer.pace(run, position, now).eta
        return pending_document(run, position, eta, base, difference)
    found = service.cache.get(id)
    return _document(id, address.model, base, **_finished(found, root), nondeterministic=difference)


def pending_document(
    run: Run, position: int | None, eta: float | None, base: str, difference: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The document of a run that has not ended; `eta` is the seconds left, if that is known.

    `difference` tells of earlier runs, whose results were not the same.
    """
    return _document(
        run.id,
        run.model,
        base,
        state=str(run.state),
        attempt=run.attempt,
        progress=run.progress,
        message=run.message or None,
        position=position,
        eta=None if eta is None else round(eta, 1),
        created=_timestamp(run.created),
        started=_timestamp(run.started),
        nondeterministic=difference,
    )


def _finished(found: Representation | Failure | None, root: str) -> dict[str, Any]:
    if found is None:
        return {"state": "absent"}
    known = {
        "attempt": found.attempt,
        "created": _timestamp(found.accepted),
        "started": _timestamp(found.created - found.seconds),
        "finished": _timestamp(found.created),
    }
    if isinstance(found, Representation):
        return {"state": str(State.succeeded), "outcome": str(Kind.succeeded), "progress": 1.0, **known}
    return {"state": str(State.failed), "outcome": str(found.kind), "problem": failure_document(found, root), **known}


def _difference(found: Difference) -> dict[str, Any]:
    return {"first": short_digest(found.first), "later": short_digest(found.later), "seen": _timestamp(found.seen)}


def _document(id: str, model: str, base: str, **state: Any) -> dict[str, Any]:
    name, _, version = model.partition("@")
    links = {
        "result": f"{base}r/{id}",
        "status": f"{base}r/{id}/status",
        "events": f"{base}r/{id}/events",
        "model": f"{base}-/models/{name}",
    }
    known = {name: value for name, value in state.items() if value is not None}
    return {"id": id, "model": name, "version": version, **known, "links": links}


def _timestamp(seconds: float | None) -> str | None:
    """RFC 3339, in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
