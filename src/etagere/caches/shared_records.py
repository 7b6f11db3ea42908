"""What is finished as the hashes of a store: fields and values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from etagere.core.representation import Difference, Failure, Ghost, Kind, Printed, Representation

Flat = Sequence[Any]
"""Fields and values in turns, or a mapping, in bytes."""


def of_representation(found: Representation, blob: str) -> dict[str, str]:
    """The fields of a representation but its body; `blob` is its digest where the body is where blobs are."""
    return {
        "id": found.id,
        "format": found.format,
        "media_type": found.media_type,
        "digest": found.digest.hex(),
        "size": str(found.size),
        "created": repr(found.created),
        "seconds": repr(found.seconds),
        "coding": found.coding,
        "derived": "1" if found.derived else "",
        "accepted": repr(found.accepted),
        "attempt": str(found.attempt),
        "blob": blob,
    }


def digest(flat: Flat) -> str:
    """The digest of a representation's hash, in hexadecimal; empty where there is none."""
    return _fields(flat)[0].get("digest", "")


def representation(flat: Flat) -> Representation | None:
    """The representation of a hash, without a body where that is elsewhere; None where it is none, or damaged."""
    text, body = _fields(flat)
    if "digest" not in text:
        return None
    digest = bytes.fromhex(text["digest"])
    if not text["blob"] and hashlib.sha256(body).digest() != digest:
        return None
    return Representation(
        id=text["id"],
        format=text["format"],
        media_type=text["media_type"],
        digest=digest,
        size=int(text["size"]),
        created=float(text["created"]),
        seconds=float(text["seconds"]),
        body=None if text["blob"] else body,
        coding=text["coding"],
        derived=bool(text["derived"]),
        accepted=float(text["accepted"]),
        attempt=int(text["attempt"]),
    )


def with_path(found: Representation, path: Path) -> Representation:
    """The same with its body in a file."""
    return replace(found, path=path)


def of_failure(found: Failure) -> dict[str, str]:
    """The fields of a failure."""
    return {
        "id": found.id,
        "kind": str(found.kind),
        "detail": _text(found.detail).decode(),
        "created": repr(found.created),
        "seconds": repr(found.seconds),
        "expires": repr(found.expires),
        "attempt": str(found.attempt),
        "accepted": repr(found.accepted),
        "facts": json.dumps(dict(found.facts)),
    }


def failure(flat: Flat) -> Failure | None:
    """The failure of a hash; None where it is none."""
    text, _ = _fields(flat)
    if "kind" not in text:
        return None
    return Failure(
        id=text["id"],
        kind=Kind(text["kind"]),
        detail=text["detail"],
        created=float(text["created"]),
        seconds=float(text["seconds"]),
        expires=float(text["expires"]),
        attempt=int(text["attempt"]),
        accepted=float(text["accepted"]),
        facts=json.loads(text["facts"]),
    )


def ghost(id: str, flat: Flat) -> Ghost | None:
    """What the hash of a ghost, or of a result or failure, tells of a resource; None where that is nothing."""
    text, _ = _fields(flat)
    if "uri" not in text:
        return None
    difference = None
    if "first" in text:
        digests = bytes.fromhex(text["first"]), bytes.fromhex(text["later"])
        difference = Difference(*digests, float(text["seen"]))
    digest = bytes.fromhex(text["digest"]) if "digest" in text else None
    return Ghost(id, text["uri"], digest, float(text["seconds"]), difference)


def printed_fields(printed: Printed) -> tuple[str | bytes, ...]:
    """Fields and values in turns of what was printed."""
    about = ("attempt", str(printed.attempt), "outcome", printed.outcome, "finished", repr(printed.finished))
    return (*about, "output", _text(printed.output), "traceback", _text(printed.traceback))


def printed(id: str, flat: Flat) -> Printed | None:
    """What was printed; None where that is nothing."""
    text, _ = _fields(flat)
    if "outcome" not in text:
        return None
    about = id, int(text["attempt"]), text["outcome"], float(text["finished"])
    return Printed(*about, output=text["output"], traceback=text["traceback"])


def _fields(flat: Flat) -> tuple[dict[str, str], bytes]:
    """The fields as text, and the body."""
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    found = {_bytes(name).decode(): _bytes(value) for name, value in pairs}
    body = found.pop("body", b"")
    return {name: value.decode() for name, value in found.items()}, body


def _text(text: str) -> bytes:
    # What UTF-8 cannot carry, JSON that operators are given cannot either.
    return text.encode("utf-8", "replace")


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
