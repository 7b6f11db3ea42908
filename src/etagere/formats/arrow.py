"""Tables by pyarrow: between Arrow, Parquet and columns of plain values."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from etagere.formats.columns import Columns, NotTabular

_ROWS = 65536


def from_columns(columns: Columns) -> pa.Table:
    """An Arrow table; the type of a column is that of its values.

    Raises:
        NotTabular: a column has values of several types, or a number that is too large.
    """
    arrays = {}
    for name, column in columns.items():
        try:
            arrays[name] = pa.array(column)
        except (pa.ArrowException, OverflowError) as error:
            raise NotTabular(f"{name!r} of the result has no single type: {error}") from None
    return pa.table(arrays)


def batches(path: Path) -> Iterator[Columns]:
    """The columns of an Arrow stream, some rows at a time, as what JSON knows."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        yield {name: [] for name in reader.schema.names}
        for batch in reader:
            for start in range(0, batch.num_rows, _ROWS):
                part = batch.slice(start, _ROWS)
                yield {name: _plain(column) for name, column in zip(part.schema.names, part.columns, strict=True)}


def read(path: Path) -> pa.Table:
    """The table of an Arrow stream."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        return reader.read_all()


def write_arrow(table: pa.Table, file: BinaryIO) -> None:
    """An Arrow IPC stream."""
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def write_parquet(table: pa.Table, file: BinaryIO) -> None:
    """Parquet; its bytes are those of this version of pyarrow.

    Raises:
        NotTabular: Parquet has no such type.
    """
    try:
        pa.parquet.write_table(table, file)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise NotTabular(f"Parquet cannot hold the result: {error}") from None


def _plain(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if pa.types.is_timestamp(kind):
        # To nanoseconds, which Python's own type has not.
        column = column.cast(pa.timestamp(kind.unit, "UTC")) if kind.tz else column
        return [text and text.replace(" ", "T") for text in _values(column.cast(pa.string()))]
    if pa.types.is_duration(kind):
        return [None if count is None else _seconds(count, kind.unit) for count in _values(column.cast(pa.int64()))]
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return _values(column.cast(pa.string()))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [None if value is None else base64.b64encode(value).decode() for value in _values(column)]
    if pa.types.is_float16(kind):
        return _values(column.cast(pa.float32()))
    try:
        return _values(column)
    except (UnicodeDecodeError, ValueError) as error:
        raise NotTabular(f"a column of type {kind} cannot be written as text: {error}") from None


def _values(column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _seconds(count: int, unit: str) -> float:
    return count / {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
