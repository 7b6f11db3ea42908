"""A table as columns of plain values: read from JSON, written as JSON and CSV. Needs no library for tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

Columns = Mapping[str, Sequence[Any]]

_SCALARS = (str, int, float, bool, type(None))
_QUOTED = frozenset('",\r\n')


class NotTabular(Exception):
    """The result is no table, or not one that this format can hold; the message is for clients."""


def from_json(path: Path) -> dict[str, list[Any]]:
    """The columns of a JSON document: an object of arrays of scalars, all of one length.

    Raises:
        NotTabular: it is not such an object.
    """
    document = orjson.loads(path.read_bytes())
    if not isinstance(document, dict) or not document:
        raise NotTabular("the result is not an object of arrays")
    for name, column in document.items():
        if not isinstance(column, list):
            raise NotTabular(f"{name!r} of the result is not an array")
        if not all(isinstance(value, _SCALARS) for value in column):
            raise NotTabular(f"{name!r} of the result holds more than numbers, texts, true, false and null")
    lengths = {name: len(column) for name, column in document.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} {length}" for name, length in list(lengths.items())[:5])
        raise NotTabular(f"the arrays of the result differ in length: {told}")
    return document


def write_json(batches: Iterator[Columns], file: BinaryIO) -> None:
    """An object of arrays, column by column; a number that is not finite is null.

    Raises:
        NotTabular: a value has no form in JSON.
    """
    whole: dict[str, list[Any]] = {}
    for batch in batches:
        for name, values in batch.items():
            whole.setdefault(name, []).extend(values)
    try:
        file.write(orjson.dumps(whole))
    except orjson.JSONEncodeError as error:
        raise NotTabular(f"the result holds what has no form in JSON: {error}") from None


def write_csv(batches: Iterator[Columns], file: BinaryIO) -> None:
    """RFC 4180: a header, lines that end in CRLF; null is an empty field, and an empty text a quoted one."""
    for number, batch in enumerate(batches):
        if number == 0:
            file.write(_line(map(_field, batch)))
        lines = zip(*(map(_field, column) for column in batch.values()), strict=True)
        file.writelines(map(_line, lines))


def _line(fields: Any) -> bytes:
    return (",".join(fields) + "\r\n").encode("utf-8", "replace")


def _field(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value if value and _QUOTED.isdisjoint(value) else '"' + value.replace('"', '""') + '"'
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case int() | float():
            return repr(value)
        case _:
            return _field(orjson.dumps(value).decode())
