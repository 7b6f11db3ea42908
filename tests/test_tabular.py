from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etagere import figures, tabular
from etagere.errors import EncodingError


def read(value: object) -> pa.Table:
    return pa.ipc.open_stream(tabular.encode(value)).read_all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"])))))
def test_every_library_gives_the_same_table(rows: list[tuple[int, str]]) -> None:
    columns: dict[str, Any] = {"n": np.array([n for n, _ in rows], dtype="int64"), "s": [s for _, s in rows]}
    schema = pa.schema({"n": pa.int64(), "s": pa.string()})
    table = pa.table({"n": columns["n"], "s": pa.array(columns["s"], pa.string())})
    for value in (
        table,
        pd.DataFrame({"n": columns["n"], "s": pd.Series(columns["s"], dtype=object)}),
        pl.DataFrame(columns, schema={"n": pl.Int64, "s": pl.String}),
    ):
        assert read(value).to_pydict() == table.to_pydict()
        assert tabular.encode(value) == tabular.encode(value)
    assert read(table).schema == schema


def test_a_record_batch_is_a_table() -> None:
    assert read(pa.record_batch({"a": [1]})).to_pydict() == {"a": [1]}


def test_the_index_of_pandas_is_a_column_where_it_has_a_name() -> None:
    frame = pd.DataFrame({"x": [1.0, float("nan"), 3.0]}, index=[5, 6, 7])
    assert read(frame).to_pydict() == {"x": [1.0, None, 3.0]}
    assert read(frame.rename_axis("n")).to_pydict() == {"n": [5, 6, 7], "x": [1.0, None, 3.0]}
    assert read(frame[frame["x"] > 2]).to_pydict() == {"x": [3.0]}


def test_nothing_tells_which_library_wrote_it() -> None:
    assert b"pandas" not in tabular.encode(pd.DataFrame({"x": [1]}))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"x": [1]}, "returned a dict"),
        (pd.DataFrame({"x": [1, "a"]}), "the table cannot be written: .*column x"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column called a"),
        (pa.table([[1], [2]], names=["b", "b"]), "more than one column called b"),
    ],
)
def test_what_is_no_table(value: object, reason: str) -> None:
    with pytest.raises(EncodingError, match=reason):
        tabular.encode(value)


def test_what_is_no_figure() -> None:
    with pytest.raises(EncodingError, match="returned a dict"):
        figures.encode({})
