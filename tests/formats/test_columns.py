from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.formats.columns import NotTabular, from_json, write_csv, write_json

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    rows = draw(st.integers(0, 5))
    return draw(st.dictionaries(texts, st.lists(scalars, min_size=rows, max_size=rows), min_size=1, max_size=5))


def shown(value: Any) -> str:
    """What a reader of CSV finds in the place of a value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(value)


@given(tables())
def test_csv_is_read_back(columns: dict[str, list[Any]]) -> None:
    file = io.BytesIO()
    write_csv(iter([columns]), file)
    written = file.getvalue().decode()
    assert written.endswith("\r\n")
    rows = [row or [""] for row in csv.reader(io.StringIO(written, newline=""), strict=True)]
    assert rows == [list(columns), *[list(map(shown, row)) for row in zip(*columns.values(), strict=True)]]


@given(tables(), tables())
def test_json_is_read_back_from_its_batches(first: dict[str, list[Any]], second: dict[str, list[Any]]) -> None:
    file = io.BytesIO()
    write_json(iter([first, {name: second[name] for name in second if name in first}]), file)
    expected = {name: [*column, *second.get(name, [])] for name, column in first.items()}
    assert json.loads(file.getvalue()) == json.loads(
        json.dumps(expected), parse_constant=lambda _: None
    )  # infinity is null


@pytest.mark.parametrize(("value", "field"), [("", b'""'), (None, b""), (math.nan, b"NaN"), (1e300, b"1e+300")])
def test_what_csv_has_no_word_for(value: object, field: bytes) -> None:
    file = io.BytesIO()
    write_csv(iter([{"a": [value], "b": [1]}]), file)
    assert file.getvalue() == b"a,b\r\n" + field + b",1\r\n"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("[1, 2]", "not an object of arrays"),
        ("{}", "not an object of arrays"),
        ('{"a": 1}', "'a' of the result is not an array"),
        ('{"a": [[1]]}', "'a' of the result holds more"),
        ('{"a": [1], "b": [1, 2]}', "differ in length: 'a' 1, 'b' 2"),
    ],
)
def test_what_is_no_table(document: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "result").write_text(document)
    with pytest.raises(NotTabular, match=reason):
        from_json(tmp_path / "result")
