"""Where two results differ first, in the words of their format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

Step = str | int

_CHUNK = 65536
_AROUND = 12
_LONGEST = 60
_ABSENT: Any = object()


class Disagreement(NamedTuple):
    """The first place where two results differ, and what stands there in either."""

    place: str
    first: str
    second: str


class Unreadable(Exception):
    """The contents are not of this format, or differ in nothing that it knows of."""


Explain = Callable[[bytes, bytes], Disagreement]
"""Where two contents that are not equal differ first."""


def in_json(first: bytes, second: bytes) -> Disagreement:
    """The path to a value, or to an object whose names stand in another order; else the byte."""
    try:
        path, left, right = _first_difference(first, second)
    except Unreadable:
        return in_bytes(first, second)
    return Disagreement(_place(path), left, right)


def in_columns(first: bytes, second: bytes) -> Disagreement:
    """Row (from 1) and column of two tables, which are given as JSON objects of arrays.

    Raises:
        Unreadable: they have the same values.
    """
    path, left, right = _first_difference(first, second)
    column = f"column {_quoted(path[0])}" if path else "the columns"
    return Disagreement(f"row {int(path[1]) + 1}, {column}" if len(path) > 1 else column, left, right)


def in_csv(first: bytes, second: bytes) -> Disagreement:
    """Line (from 1) and column, named by the first line; else the byte."""
    try:
        left, right = (csv.reader(io.StringIO(text.decode(), newline=""), strict=True) for text in (first, second))
        return _in_rows(left, right)
    except (UnicodeDecodeError, csv.Error, Unreadable):
        return in_bytes(first, second)


def in_bytes(first: bytes, second: bytes) -> Disagreement:
    """The offset of a byte, with those around it."""
    shorter = min(len(first), len(second))
    starts = (at for at in range(0, shorter, _CHUNK) if first[at : at + _CHUNK] != second[at : at + _CHUNK])
    start = next(starts, shorter)
    offset = next((at for at in range(start, min(start + _CHUNK, shorter)) if first[at] != second[at]), shorter)
    return Disagreement(f"byte {offset}", _surroundings(first, offset), _surroundings(second, offset))


def json_difference(first: bytes, second: bytes) -> tuple[tuple[Step, ...], Any, Any] | None:
    """The path to the first values that differ in two JSON documents, and the two.

    A number is a tuple of its text, so that `1` and `1.0` are two; objects are equal in whatever order.

    Raises:
        ValueError: one is not JSON, or not Unicode.
        RecursionError: they are nested too deep.
    """
    left, right = _load(first), _load(second)
    if left == right:
        return None
    path: list[Step] = []
    while found := next((each for each in _pairs(left, right) if each[1] != each[2]), None):
        step, left, right = found
        path.append(step)
    return tuple(path), left, right


def _first_difference(first: bytes, second: bytes) -> tuple[tuple[Step, ...], str, str]:
    try:
        if found := json_difference(first, second):
            return found[0], *_both(found[1], found[2])
        for path, left, right in _disorders(_load(first), _load(second), ()):
            one, other = _about_difference(str(left), str(right))
            return path, f"names in the order {one}", f"names in the order {other}"
    except (ValueError, RecursionError) as error:
        raise Unreadable from error
    raise Unreadable


def _load(content: bytes) -> Any:
    def number(text: str) -> tuple[str]:
        return (text,)

    return json.loads(content.decode(), parse_int=number, parse_float=number, parse_constant=number)


def _pairs(left: Any, right: Any) -> Iterator[tuple[Step, Any, Any]]:
    """What stands in the same places of two objects or two arrays."""
    if isinstance(left, dict) and isinstance(right, dict):
        for name in dict.fromkeys([*left, *right]):
            yield name, left.get(name, _ABSENT), right.get(name, _ABSENT)
    elif isinstance(left, list) and isinstance(right, list):
        for index, (one, other) in enumerate(zip_longest(left, right, fillvalue=_ABSENT)):
            yield index, one, other


def _disorders(
    left: Any, right: Any, path: tuple[Step, ...]
) -> Iterator[tuple[tuple[Step, ...], list[str], list[str]]]:
    """The objects of two documents, equal otherwise, whose names stand in another order."""
    if isinstance(left, dict) and [*left] != [*right]:
        yield path, [*left], [*right]
    for step, one, other in _pairs(left, right):
        yield from _disorders(one, other, (*path, step))


def _in_rows(left: Any, right: Any) -> Disagreement:
    rows: Iterator[tuple[list[str], list[str]]] = zip_longest(left, right, fillvalue=[])
    header: list[str] = []
    for ours, theirs in rows:
        header = header or ours
        if ours == theirs:
            continue
        cells = enumerate(zip_longest(ours, theirs, fillvalue=_ABSENT))
        column, (one, other) = next(cell for cell in cells if cell[1][0] != cell[1][1])
        name = _quoted(header[column]) if column < len(header) else column + 1
        return Disagreement(f"line {max(left.line_num, right.line_num)}, column {name}", *_both(one, other))
    raise Unreadable


def _surroundings(content: bytes, offset: int) -> str:
    shown = content[max(0, offset - _AROUND) : offset + _AROUND]
    return f"{shown!r} of {len(content)} bytes"


def _place(path: tuple[Step, ...]) -> str:
    steps = (f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{json.dumps(step)}]" for step in path)
    return "".join(steps).removeprefix(".") or "the document"


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _both(left: Any, right: Any) -> tuple[str, str]:
    return _about_difference(_shown(left), _shown(right))


def _shown(value: Any) -> str:
    match value:
        case tuple():
            return str(value[0])
        case dict():
            return f"an object of {len(value)} members"
        case list():
            return f"an array of {len(value)} items"
        case _:
            return "nothing" if value is _ABSENT else _quoted(value)


def _about_difference(left: str, right: str) -> tuple[str, str]:
    """Two texts, of long ones what stands about the first character that differs."""
    shorter = min(len(left), len(right))
    equal = next((at for at in range(shorter) if left[at] != right[at]), shorter)
    start = 0 if max(len(left), len(right)) <= _LONGEST else max(0, equal - _AROUND)
    return _cut(left, start), _cut(right, start)


def _cut(text: str, start: int) -> str:
    shown = text[start : start + _LONGEST]
    return f"{'…' if start else ''}{shown}{'…' if len(text) > start + _LONGEST else ''}"
