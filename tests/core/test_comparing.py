"""Where two contents differ: something is found if and only if they do, and what is found does."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.comparing import Unreadable, in_bytes, in_columns, in_csv, in_json, json_difference

ABSENT = object()
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, math.pi]) | st.text("ab")
TREES = st.recursive(
    LEAVES, lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text("ab."), parts, max_size=3)
)
CELLS = st.text('ab,";é ', max_size=3)


def dumped(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def at(tree: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        try:
            tree = tree[step]
        except (KeyError, IndexError):
            return ABSENT
    return tree


def places(tree: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths to all values, the tree itself first."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for step, part in parts for place in places(part, (*path, step)))]


def changed(tree: Any, path: tuple[str | int, ...]) -> Any:
    """A tree with something at the path that was not there."""
    if not path:
        return "changed"
    copy = list(tree) if isinstance(tree, list) else dict(tree)
    copy[path[0]] = changed(copy[path[0]], path[1:])
    return copy


@given(TREES, TREES)
def test_documents_are_equal_or_have_a_place_where_they_differ(one: Any, other: Any) -> None:
    found = json_difference(dumped(one), dumped(other))
    # -0.0 and 1.0 are other texts than 0.0 and 1, and True is no number.
    assert (found is None) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))
    if found is not None:
        ours, theirs = at(one, found[0]), at(other, found[0])
        assert repr(ours) != repr(theirs)


@given(TREES, st.data())
def test_the_one_place_that_differs_is_found(tree: Any, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(tree)))
    found = json_difference(dumped(tree), dumped(changed(tree, place)))
    assert found is not None
    assert found[0] == place


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_the_first_byte_that_differs_is_found(one: bytes, other: bytes) -> None:
    if one == other:
        return
    offset = int(in_bytes(one, other).place.removeprefix("byte "))
    assert one[:offset] == other[:offset]
    assert one[offset : offset + 1] != other[offset : offset + 1]


@pytest.mark.parametrize("offset", [0, 65_535, 65_536, 200_000])
def test_a_byte_far_away_is_found(offset: int) -> None:
    content = b"x" * 200_000
    found = in_bytes(content + b"y", content[:offset] + b"z" + content[offset + 1 :] + b"y" * (offset < 200_000))
    assert found.place == f"byte {offset}"


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_the_cell_that_differs_is_found(rows: int, columns: int, data: st.DataObject) -> None:
    table = [[data.draw(CELLS) for _ in range(columns)] for _ in range(rows + 1)]
    row, column = data.draw(st.integers(1, rows)), data.draw(st.integers(0, columns - 1))
    other = [[*cells] for cells in table]
    other[row][column] += "x"
    found = in_csv(written(table), written(other))
    assert found.place == f"line {row + 1}, column {json.dumps(table[0][column], ensure_ascii=False)}"
    assert [json.loads(found.first), json.loads(found.second)] == [table[row][column], other[row][column]]


def written(table: list[list[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(table)
    return file.getvalue().encode()


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("1", "1.0", ("the document", "1", "1.0")),
        ('{"a":[1,2]}', '{"a":[1]}', ("a[1]", "2", "nothing")),
        ('{"a":{"b":null}}', '{"a":{"c":3}}', ("a.b", "null", "nothing")),
        ('{"a b":[{}]}', '{"a b":[[]]}', ('["a b"][0]', "an object of 0 members", "an array of 0 items")),
        ('[{"x":1,"y":2}]', '[{"y":2,"x":1}]',
         ("[0]", "names in the order ['x', 'y']", "names in the order ['y', 'x']")),
        ('["é"]', '["\\ud800"]', ("[0]", '"é"', '"\\ud800"')),
        ("[1]", "[1 ]", ("byte 2", "b'[1]' of 3 bytes", "b'[1 ]' of 4 bytes")),
        ("[1]", "[1", ("byte 2", "b'[1]' of 3 bytes", "b'[1' of 2 bytes")),
        ("NaN", "Infinity", ("the document", "NaN", "Infinity")),
    ],
)  # fmt: skip
def test_what_is_told_of_documents(one: str, other: str, told: tuple[str, str, str]) -> None:
    assert in_json(one.encode(), other.encode()) == told


def test_what_is_nested_too_deep_is_compared_as_bytes() -> None:
    assert in_json(b"[" * 100_000, b"[" * 100_001).place == "byte 100000"


def test_of_long_texts_the_place_that_differs_is_shown() -> None:
    found = in_json(dumped("a" * 1000 + "b" + "c" * 1000), dumped("a" * 1000 + "d" + "c" * 1000))
    assert found.first == "…" + "a" * 12 + "b" + "c" * 47 + "…"
    assert found.second == "…" + "a" * 12 + "d" + "c" * 47 + "…"
    found = in_json(dumped("a" * 1000), dumped("a" * 1001))
    assert found.first == "…" + "a" * 12 + '"'


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("a,b\n1,2\n", "a,b\n1,2\n3,4\n", ('line 3, column "a"', "nothing", '"3"')),
        ("a\n1\n", "a\n1,5\n", ("line 2, column 2", "nothing", '"5"')),
        ("a\n1\n", "a\r\n1\r\n", ("byte 1", "b'a\\n1\\n' of 4 bytes", "b'a\\r\\n1\\r\\n' of 6 bytes")),
        ('a\n"1', 'a\n"2', ("byte 3", "b'a\\n\"1' of 4 bytes", "b'a\\n\"2' of 4 bytes")),
    ],
)
def test_what_is_told_of_csv(one: str, other: str, told: tuple[str, str, str]) -> None:
    assert in_csv(one.encode(), other.encode()) == told


def test_what_is_told_of_columns() -> None:
    assert in_columns(b'{"a":[1,2]}', b'{"a":[1,3]}') == ('row 2, column "a"', "2", "3")
    assert in_columns(b'{"a":[1]}', b'{"b":[1]}').place == 'column "a"'
    assert in_columns(b'{"a":[],"b":[]}', b'{"b":[],"a":[]}').place == "the columns"
    with pytest.raises(Unreadable):
        in_columns(b"{}", b"{ }")
