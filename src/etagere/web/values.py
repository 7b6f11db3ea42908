"""A result as a page shows it: the beginning of its values, as tables and nested lists."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from etagere.web.charts import Chart, chart_of

MOST_ROWS = 100
MOST_COLUMNS = 30
MOST_ENTRIES = 60
"""Entries shown of one list or object."""
MOST_PARTS = 400
"""Entries and tables shown in all."""
MOST_DEPTH = 6
MOST_CHARACTERS = 300
MOST_TEXT = 20_000


@dataclass(frozen=True)
class Table:
    """The first rows and columns of a table, of `count` rows and `width` columns that are known.

    `whole` is false where there are more rows than could be looked at.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    count: int
    width: int
    chart: Chart | None
    whole: bool = True
    kind: str = "table"


@dataclass(frozen=True)
class Nested:
    """The first entries of a list or object, of `count` in all; a group of columns has no name."""

    entries: tuple[tuple[str | None, Node], ...]
    count: int
    left_out: int
    kind: str = "nested"


@dataclass(frozen=True)
class Text:
    """A single value, or text as it is; `whole` says whether that is all of it."""

    text: str
    whole: bool = True
    kind: str = "text"


Node = Table | Nested | Text


def view_of_json(body: bytes) -> Node:
    """What a JSON text holds; the text itself where it nests too deep to be read."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return view_of_text(body, whole=True)
    return _Viewer().node(value, 0)


def view_of_csv(beginning: bytes, *, whole: bool) -> Node:
    """The table of CSV, under its first row unless that holds numbers; without its last row where that may be cut."""
    try:
        rows = [row for row in csv.reader(beginning.decode("utf-8", "replace").splitlines()) if row]
    except csv.Error:
        return view_of_text(beginning, whole=whole)
    rows = rows if whole else rows[:-1]
    if len(rows) < 2:
        return view_of_text(beginning, whole=whole)
    titled = any(isinstance(_number(cell), str) for cell in rows[0])
    names = _distinct(rows.pop(0)) if titled else [str(at) for at in range(len(rows[0]))]
    columns = {name: [_number(row[at]) if at < len(row) else None for row in rows] for at, name in enumerate(names)}
    return _table(columns, whole=whole)


def view_of_text(beginning: bytes, *, whole: bool) -> Text:
    """Text as it is."""
    text = beginning[: 4 * MOST_TEXT].decode("utf-8", "replace")
    return Text(text[:MOST_TEXT], whole and len(text) <= MOST_TEXT and len(beginning) <= 4 * MOST_TEXT, kind="lines")


class _Viewer:
    """Walks a value and stops where enough is shown."""

    def __init__(self) -> None:
        self._left = MOST_PARTS

    def node(self, value: Any, depth: int) -> Node:
        self._left -= 1
        if not isinstance(value, dict | list) or not value or depth == MOST_DEPTH:
            return Text(_short(value))
        if isinstance(value, list):
            columns = _columns_of_list(value)
            return _table(columns) if columns else self._entries(enumerate(value), len(value), depth)
        columns = _columns_of_dict(value)
        if len(columns) == len(value):
            return _table(columns)
        rest = ((name, part) for name, part in value.items() if name not in columns)
        nested = self._entries(rest, len(value) - len(columns), depth)
        return Nested((*nested.entries, (None, _table(columns))), nested.count, nested.left_out) if columns else nested

    def _entries(self, parts: Iterable[tuple[Any, Any]], count: int, depth: int) -> Nested:
        entries: list[tuple[str | None, Node]] = []
        for name, part in islice(parts, MOST_ENTRIES):
            if self._left <= 0:
                break
            entries.append((_cut(str(name)), self.node(part, depth + 1)))
        return Nested(tuple(entries), count, count - len(entries))


def _columns_of_list(values: list[Any]) -> dict[str, Sequence[Any]]:
    """The columns of a list of numbers, of rows, or of objects that are alike; none for other lists."""
    if all(_is_simple(value) for value in values):
        return {"value": values} if len(values) > 1 else {}
    if not all(isinstance(value, dict | list) and len(value) == len(values[0]) for value in values):
        return {}
    if all(isinstance(value, list) and all(map(_is_simple, value)) for value in values):
        return {str(at): column for at, column in enumerate(zip(*values, strict=True))}
    names = values[0].keys() if isinstance(values[0], dict) else ()
    alike = all(isinstance(v, dict) and v.keys() == names and all(map(_is_simple, v.values())) for v in values)
    return {name: [value[name] for value in values] for name in names} if alike else {}


def _columns_of_dict(values: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """Those members that are arrays of simple values and of one length: the length that most have, else the longest."""
    by_length: dict[int, dict[str, Sequence[Any]]] = {}
    for name, value in values.items():
        if isinstance(value, list) and len(value) > 1 and all(map(_is_simple, value)):
            by_length.setdefault(len(value), {})[name] = value
    return max(by_length.items(), key=lambda group: (len(group[1]), group[0]), default=(0, {}))[1]


def _is_simple(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _table(columns: Mapping[str, Sequence[Any]], *, whole: bool = True) -> Table:
    count = len(next(iter(columns.values())))
    shown = list(columns.values())[:MOST_COLUMNS]
    rows = tuple(tuple(_short(column[at]) for column in shown) for at in range(min(count, MOST_ROWS)))
    names = tuple(_cut(name) for name in list(columns)[:MOST_COLUMNS])
    return Table(names, rows, count, len(columns), chart_of(columns), whole)


def _short(value: Any) -> str:
    """A value in a few characters; numbers with six significant digits."""
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict | list):
        return "…" if value else ("{}" if isinstance(value, dict) else "[]")
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _distinct(names: list[str]) -> list[str]:
    """The names, those that stand there already with their place behind them."""
    return [f"{name} ({at + 1})" if name in names[:at] else name for at, name in enumerate(names)]


def _number(text: str) -> Any:
    """The number that a text spells, else the text."""
    for kind in (int, float) if text.isascii() and "_" not in text else ():
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
