from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pytest

from etagere.results import Returned, formats, returned

if TYPE_CHECKING:
    import pandas
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from matplotlib.figure import Figure


class Row(TypedDict):
    x: list[float]


def silent():  # type: ignore[no-untyped-def]
    return {}


def plain() -> dict[str, Any]: ...
def mapping() -> Mapping[str, list[float]]: ...
def typed() -> Row: ...
def annotated() -> Annotated[dict[str, list[int]], "of equal length"]: ...
def scalars() -> dict[str, float]: ...
def listed() -> list[float]: ...
def text() -> str: ...
def pandas_frame() -> pandas.DataFrame: ...
def pd_frame() -> pd.DataFrame: ...
def polars_frame() -> pl.DataFrame: ...
def arrow_table() -> pa.Table: ...
def figure() -> Figure: ...


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (silent, Returned.columns), (plain, Returned.columns), (mapping, Returned.columns), (typed, Returned.columns),
        (annotated, Returned.columns), (scalars, Returned.value), (listed, Returned.value), (text, Returned.value),
        (pandas_frame, Returned.table), (pd_frame, Returned.table), (polars_frame, Returned.table),
        (arrow_table, Returned.table), (figure, Returned.figure),
    ],
)  # fmt: skip
def test_an_annotation_says_what_is_returned(function: Callable[..., Any], kind: Returned) -> None:
    assert returned(function) is kind


@pytest.mark.parametrize(
    ("module", "name", "kind"),
    [
        ("pandas", "DataFrame", Returned.table),
        ("polars", "DataFrame", Returned.table),
        ("pyarrow", "Table", Returned.table),
        ("pyarrow", "RecordBatch", Returned.table),
        ("matplotlib.figure", "Figure", Returned.figure),
    ],
)
def test_classes_are_known_wherever_they_were_made(module: str, name: str, kind: Returned) -> None:
    def function() -> Any: ...

    function.__annotations__["return"] = getattr(importlib.import_module(module), name)
    assert returned(function) is kind


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Returned.value, ["json"]),
        (Returned.columns, ["json", "csv", "arrow", "parquet"]),
        (Returned.table, ["arrow", "json", "csv", "parquet"]),
        (Returned.figure, ["png", "svg"]),
    ],
)
def test_the_primary_format_comes_first(kind: Returned, names: list[str]) -> None:
    assert [given.name for given in formats(kind)] == names
