"""What a request accepts (RFC 9110 §12.5.1)."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache


class Wanted(Enum):
    """What an Accept field asks of a resource that has one format, and pages for people."""

    representation = auto()
    page = auto()
    nothing = auto()


@lru_cache(maxsize=1024)
def negotiate(accept: bytes | None, media_type: str) -> Wanted:
    """What to send: a page only where `text/html` is named and preferred to the model's own format."""
    if accept is None:
        return Wanted.representation
    ranges = _parse(accept.decode("latin-1"))
    ours = _quality(ranges, media_type)
    page = max((q for name, q in ranges if name == "text/html"), default=0.0)
    if media_type != "text/html" and page > ours:
        return Wanted.page
    return Wanted.representation if ours > 0 else Wanted.nothing


def _parse(accept: str) -> list[tuple[str, float]]:
    ranges = []
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((p.partition("=")[2] for p in parameters if p.startswith("q=")), "1")
        if name:
            ranges.append((name, _weight(weight)))
    return ranges


def _weight(text: str) -> float:
    # RFC 9110 §12.4.2: up to three digits; what is not a weight asks for nothing.
    try:
        weight = float(text) if text[:1] in "01" and len(text) <= 5 else 0.0
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0


def _quality(ranges: list[tuple[str, float]], media_type: str) -> float:
    bare = media_type.partition(";")[0].strip().lower()
    for candidate in (bare, bare.partition("/")[0] + "/*", "*/*"):
        named = [q for name, q in ranges if name == candidate]
        if named:
            return max(named)
    return 0.0 if ranges else 1.0
