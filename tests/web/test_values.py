"""What a page shows of a result."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.web.values import (
    MOST_CHARACTERS,
    MOST_COLUMNS,
    MOST_ENTRIES,
    MOST_PARTS,
    MOST_ROWS,
    Nested,
    Node,
    Table,
    Text,
    view_of_csv,
    view_of_json,
    view_of_text,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda part: st.lists(part, max_size=8) | st.dictionaries(st.text(max_size=8), part, max_size=8),
    max_leaves=60,
)


def view(value: Any) -> Node:
    return view_of_json(json.dumps(value).encode())


def table(value: Any) -> Table:
    found = view(value)
    assert isinstance(found, Table)
    return found


def test_arrays_of_one_length_are_a_table() -> None:
    found = table({"x": [0, 1], "name": ["a", None]})
    assert found.columns == ("x", "name")
    assert found.rows == (("0", "a"), ("1", "null"))


def test_objects_that_are_alike_and_rows_are_tables_too() -> None:
    assert table([{"x": 1, "y": 2}, {"y": 4, "x": 3}]).rows == (("1", "2"), ("3", "4"))
    assert table([[1, 2], [3, 4]]).rows == (("1", "2"), ("3", "4"))
    assert table([1.0, 0.5]).columns == ("value",)


def test_what_stands_beside_a_table_stays_beside_it() -> None:
    found = view({"x": [0, 1, 2], "energy": 1 / 3, "y": [1, 2, 3], "inner": {"a": [1, 2]}})
    assert isinstance(found, Nested)
    (energy, inner, group) = found.entries
    assert energy == ("energy", Text("0.333333"))
    assert isinstance(inner[1], Table)
    assert group[0] is None
    assert isinstance(group[1], Table)
    assert group[1].columns == ("x", "y")


@pytest.mark.parametrize(
    "value", [{"a": [1, 2], "b": [1, 2, 3]}, [{"a": 1}, {"b": 2}], [[1], [1, 2]], [{"a": []}, {"a": 1}]]
)
def test_what_is_uneven_is_a_list(value: Any) -> None:
    assert isinstance(view(value), Nested)


def test_much_is_cut_and_counted() -> None:
    long = table({str(n): list(range(1000)) for n in range(50)})
    assert (len(long.rows), long.count, len(long.columns), long.width) == (MOST_ROWS, 1000, MOST_COLUMNS, 50)
    many = view({str(n): {"a": n} for n in range(1000)})
    assert isinstance(many, Nested)
    assert (len(many.entries), many.left_out) == (MOST_ENTRIES, 1000 - MOST_ENTRIES)
    assert view("a" * 1000) == Text("a" * (MOST_CHARACTERS - 1) + "…")


def test_deep_nesting_ends() -> None:
    assert isinstance(view_of_json(b"[" * 100_000 + b"]" * 100_000), Text)
    assert isinstance(view_of_json(b"[" * 30 + b"]" * 30), Nested)


def parts(node: Node) -> int:
    if isinstance(node, Nested):
        return 1 + sum(parts(part) for _, part in node.entries)
    return 1


@given(JSON)
def test_every_json_value_has_a_view_of_bounded_size(value: Any) -> None:
    assert parts(view(value)) <= 2 * MOST_PARTS


def test_csv_under_its_names_and_without() -> None:
    named = view_of_csv(b'time,"a,b",time\r\n0,x,1.5\r\n1,,2\r\n', whole=True)
    assert isinstance(named, Table)
    assert named.columns == ("time", "a,b", "time (3)")
    assert named.rows == (("0", "x", "1.5"), ("1", "null", "2"))
    bare = view_of_csv(b"0,0\n1,1\n", whole=True)
    assert isinstance(bare, Table)
    assert (bare.columns, bare.count) == (("0", "1"), 2)


def test_the_last_row_of_a_beginning_is_left_out() -> None:
    found = view_of_csv(b"a\n1\n2\n3", whole=False)
    assert isinstance(found, Table)
    assert (found.count, found.whole) == (2, False)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_shown_as_text_and_as_csv(content: bytes) -> None:
    assert isinstance(view_of_text(content, whole=True), Text)
    assert isinstance(view_of_csv(content, whole=True), Table | Text)


def test_a_field_longer_than_the_reader_takes_is_shown_as_text() -> None:
    assert isinstance(view_of_csv(b"a\n" + b"x" * 200_000, whole=True), Text)
