"""Byte ranges (RFC 9110 §14): what a Range field asks of a representation of a known size.

A request for ranges may always be answered with the whole (§14.2), and is wherever it makes no sense or costs more
than it saves (§17.15).
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_RANGES = 16
MOST_OVERLAPS = 2
# Far beyond any size, and still a number that is quickly read.
_DIGITS = 18
_BEYOND = 10**_DIGITS
_SPECIFIER = re.compile(r"[ \t]*bytes[ \t]*=(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)
_RANGE = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)", re.ASCII)


class Span(NamedTuple):
    """Bytes from `start` up to and without `stop`, counted from 0; never empty."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many bytes that is."""
        return self.stop - self.start

    def touches(self, other: Span) -> bool:
        """Whether the two overlap, or one begins where the other ends."""
        return self.start <= other.stop and other.start <= self.stop

    def overlaps(self, other: Span) -> bool:
        """Whether some byte is in both."""
        return self.start < other.stop and other.start < self.stop


def spans(field: str, size: int) -> tuple[Span, ...] | None:
    """What a Range field asks of a representation of `size` bytes.

    Spans that touch are one; the others stand in the order in which they were asked for (§15.3.7.2). An
    empty tuple means that none can be satisfied (416), None that the field is to be ignored: it has another
    unit, is not well-formed, or asks for more ranges or overlaps than anybody needs.
    """
    ranges = _parse(field)
    if not ranges or len(ranges) > MOST_RANGES:
        return None
    if size == 0 and all(first is None and last for first, last in ranges):
        return None  # satisfiable (§14.1.2), but no Content-Range could say so
    found = [span for span in (_satisfied(first, last, size) for first, last in ranges) if span is not None]
    overlaps = sum(one.overlaps(other) for n, one in enumerate(found) for other in found[:n])
    return None if overlaps > MOST_OVERLAPS else _coalesced(found)


def content_range(span: Span, size: int) -> str:
    """The Content-Range field of a part (§14.4)."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


def unsatisfied(size: int) -> str:
    """The Content-Range field of a 416 (§14.4)."""
    return f"bytes */{size}"


def _parse(field: str) -> list[tuple[int | None, int | None]]:
    """First and last position of each range, a suffix without the first; none where the field makes no sense."""
    specifier = _SPECIFIER.fullmatch(field)
    if specifier is None:
        return []
    items = [item for text in specifier[1].split(",") if (item := text.strip(" \t"))]
    # Cut short: with so many, nobody looks at what they are.
    ranges = [_range(item) for item in items[: MOST_RANGES + 1]]
    valid = [found for found in ranges if found is not None]
    return valid if len(valid) == len(ranges) else []


def _range(item: str) -> tuple[int | None, int | None] | None:
    found = _RANGE.fullmatch(item)
    if found is None:
        return None
    if found[3] is not None:
        return None, _number(found[3])
    first, last = _number(found[1]), _number(found[2]) if found[2] else None
    return None if last is not None and last < first else (first, last)


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _DIGITS else _BEYOND


def _satisfied(first: int | None, last: int | None, size: int) -> Span | None:
    if first is None:
        first, last = max(0, size - (last or 0)), None
    return Span(first, size if last is None else min(last + 1, size)) if first < size else None


def _coalesced(found: list[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for span in found:
        touching = [n for n, other in enumerate(merged) if span.touches(other)]
        group = [span, *(merged[n] for n in touching)]
        place = touching[0] if touching else len(merged)
        whole = Span(min(one.start for one in group), max(one.stop for one in group))
        merged = [*merged[:place], whole, *(other for n, other in enumerate(merged) if n > place and n not in touching)]
    return tuple(merged)
