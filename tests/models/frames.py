"""Tables and figures by libraries, which are imported by the runs that need them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import etagere

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from matplotlib.figure import Figure

app = etagere.Etagere()
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def data(rows: int) -> dict[str, list[Any]]:
    return {
        "n": list(range(rows)),
        "x": [None if n == 1 else n / 4 for n in range(rows)],
        "label": [f"é{n}" for n in range(rows)],
        "at": [EPOCH + timedelta(hours=n) for n in range(rows)],
    }


@app.model(version="1", name="pandas")
def by_pandas(rows: int = 3) -> pd.DataFrame:
    """A pandas table, with an index that has a name."""
    return import_module("pandas").DataFrame(data(rows)).set_index("n")


@app.model(version="1", name="polars")
def by_polars(rows: int = 3) -> pl.DataFrame:
    """A polars table."""
    return import_module("polars").DataFrame(data(rows))


@app.model(version="1", name="arrow")
def by_pyarrow(rows: int = 3) -> pa.Table:
    """An Arrow table."""
    return import_module("pyarrow").table(data(rows))


@app.model(version="1")
def wrong(x: int = 0) -> pd.DataFrame:
    """Not what it says."""
    return {"x": x}  # type: ignore[return-value]


@app.model(version="1")
def silent(x: int = 0) -> Any:
    """Does not say that it is a table."""
    return import_module("pandas").DataFrame({"x": [x]})


@app.model(version="1")
def curve(points: int = 20, dots: bool = False) -> Figure:
    """A figure."""
    figure = import_module("matplotlib.figure").Figure()
    axes = figure.subplots()
    axes.plot(range(points), [n * n for n in range(points)], "o" if dots else "-", clip_on=True)
    axes.set_title("squares")
    return figure
