"""What a request accepts: formats (RFC 9110 §12.5.1) and content codings (§12.5.3)."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache

from etagere.core.media import CODINGS, IDENTITY, Format, compresses


class Wanted(Enum):
    """What an Accept field asks of a resource that has formats, and pages for people."""

    representation = auto()
    page = auto()
    nothing = auto()


def negotiate(accept: bytes | None, media_type: str) -> Wanted:
    """What to send of a resource that has one format."""
    return choose(accept, (Format("", media_type),))[0]


@lru_cache(maxsize=1024)
def choose(accept: bytes | None, formats: tuple[Format, ...]) -> tuple[Wanted, Format]:
    """What to send, and in which format, which is the first where all are as welcome.

    A page only where `text/html` is named and preferred to every format.
    """
    if accept is None:
        return Wanted.representation, formats[0]
    ranges = _parse(accept.decode("latin-1"))
    qualities = [_quality(ranges, given.media_type) for given in formats]
    ours = max(qualities)
    best = formats[qualities.index(ours)]
    page = max((q for name, q in ranges if name == "text/html"), default=0.0)
    if page > ours and not any(_essence(given.media_type) == "text/html" for given in formats):
        return Wanted.page, best
    return (Wanted.representation if ours > 0 else Wanted.nothing), best


@lru_cache(maxsize=1024)
def codings(accept_encoding: bytes, media_type: str) -> tuple[str, ...] | None:
    """The content codings to try for this media type, the best first, `identity` among them where that is taken.

    Nothing where the content is sent as it is in any case, None where no coding of ours is taken.
    """
    weights = dict(_parse(accept_encoding.decode("latin-1").replace("x-gzip", "gzip")))
    others = weights.get("*", 0.0)
    # What is not coded is taken unless it is refused by name, or with all that are not named.
    identity = weights.get(IDENTITY, others if "*" in weights else None)
    if not compresses(media_type):
        return None if identity == 0.0 else ()
    coded = [(weight, name) for name in CODINGS if (weight := weights.get(name, others)) > 0.0]
    plain = weights.get(IDENTITY, 0.0)
    coded.sort(key=lambda each: -each[0])
    better = [name for weight, name in coded if weight >= plain]
    if identity == 0.0:
        return tuple(better) or None
    return (*better, IDENTITY) if better else ()


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
    bare = _essence(media_type)
    for candidate in (bare, bare.partition("/")[0] + "/*", "*/*"):
        named = [q for name, q in ranges if name == candidate]
        if named:
            return max(named)
    return 0.0 if ranges else 1.0


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()
