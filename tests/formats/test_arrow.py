from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etagere.formats.columns import NotTabular
from etagere.formats.convert import convert

columns = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "str": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "bool": st.booleans(),
}


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    rows = draw(st.integers(1, 6))
    kinds = draw(st.lists(st.sampled_from(sorted(columns)), min_size=1, max_size=4))
    return {
        f"{kind}{n}": draw(st.lists(st.none() | columns[kind], min_size=rows, max_size=rows))
        for n, kind in enumerate(kinds)
    }


def converted(source_format: str, source: bytes, target_format: str, folder: Path) -> bytes:
    given, target = folder / "source", folder / "target"
    given.write_bytes(source)
    target.unlink(missing_ok=True)
    convert(source_format, given, target_format, target)
    return target.read_bytes()


def stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(tables())
def test_a_table_survives_every_way_there_and_back(tmp_path: Path, table: dict[str, list[Any]]) -> None:
    source = json.dumps(table).encode()
    arrow = converted("json", source, "arrow", tmp_path)
    assert pa.ipc.open_stream(arrow).read_all().to_pydict() == table
    assert json.loads(converted("arrow", arrow, "json", tmp_path)) == table
    parquet = converted("arrow", arrow, "parquet", tmp_path)
    assert pyarrow.parquet.read_table(io.BytesIO(parquet)).to_pydict() == table
    assert converted("json", source, "csv", tmp_path) == converted("arrow", arrow, "csv", tmp_path)
    assert converted("json", source, "parquet", tmp_path) == parquet


@pytest.mark.parametrize(
    ("column", "written"),
    [
        (pa.array([1, None], pa.timestamp("ns")), ["1970-01-01T00:00:00.000000001", None]),
        (pa.array([datetime(2026, 6, 1, tzinfo=ZoneInfo("Europe/Vienna"))]), ["2026-05-31T22:00:00.000000Z"]),
        (pa.array([datetime(2026, 6, 1, tzinfo=UTC)], pa.timestamp("s", "UTC")), ["2026-06-01T00:00:00Z"]),
        (pa.array([date(2026, 6, 1)]), ["2026-06-01"]),
        (pa.array([timedelta(seconds=90), None]), [90.0, None]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([b"\x00\xff"]), ["AP8="]),
        (pa.array([[1, 2], None]), [[1, 2], None]),
        (pa.array([{"x": 1}]), [{"x": 1}]),
        (pa.array([float("nan"), float("inf"), 1.5]), [None, None, 1.5]),
        (pa.array([1.5], pa.float32()).cast(pa.float16()), [1.5]),
        (pa.nulls(2), [None, None]),
    ],
)  # fmt: skip
def test_types_that_json_has_not(column: pa.Array, written: list[Any], tmp_path: Path) -> None:
    source = stream(pa.table({"c": column}))
    assert json.loads(converted("arrow", source, "json", tmp_path)) == {"c": written}
    assert converted("arrow", source, "csv", tmp_path).startswith(b"c\r\n")


@pytest.mark.parametrize("values", [[1, "text"], [2**63, -1], [True, 1]])
def test_a_column_of_several_types_is_no_arrow_table(values: list[Any], tmp_path: Path) -> None:
    with pytest.raises(NotTabular, match="'a' of the result has no single type"):
        converted("json", json.dumps({"a": values}).encode(), "arrow", tmp_path)
