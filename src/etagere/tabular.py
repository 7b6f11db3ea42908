"""A table that a model returns → an Arrow IPC stream, in the model's own process.

What the model has not imported is not imported for it, but for pyarrow, which writes pandas' tables.
"""

from __future__ import annotations

import io
from importlib import import_module
from typing import Any

from etagere.errors import EncodingError


def encode(value: Any) -> bytes:
    """The bytes of a pandas or polars DataFrame, a pyarrow Table or RecordBatch, without its metadata.

    Of pandas' index, levels that have a name become columns; NaN becomes null there.

    Raises:
        EncodingError: it is none of these, or its columns cannot be written.
    """
    kind = type(value)
    match f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}":
        case "pandas.DataFrame":
            return _arrow(_from_pandas(value))
        case "polars.DataFrame":
            return _from_polars(value)
        case "pyarrow.Table" | "pyarrow.RecordBatch":
            return _arrow(value)
        case _:
            raise EncodingError(f"the model is declared to return a table, and returned a {kind.__name__}")


def _from_pandas(frame: Any) -> Any:
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    pyarrow = _pyarrow()
    _check_names([str(name) for name in frame.columns])
    try:
        # Threads of its own would be those of a forked process.
        return pyarrow.Table.from_pandas(frame, preserve_index=False, nthreads=1)
    except (pyarrow.ArrowException, OverflowError) as error:
        raise EncodingError(f"the table cannot be written: {'; '.join(map(str, error.args))}") from error


def _from_polars(frame: Any) -> bytes:
    written = io.BytesIO()
    # The types that every reader of Arrow knows.
    frame.write_ipc_stream(written, compat_level=import_module("polars").CompatLevel.oldest())
    return written.getvalue()


def _arrow(table: Any) -> bytes:
    pyarrow = _pyarrow()
    _check_names(table.schema.names)
    plain = table.replace_schema_metadata(None)
    sink = pyarrow.BufferOutputStream()
    with import_module("pyarrow.ipc").new_stream(sink, plain.schema) as writer:
        writer.write(plain)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _check_names(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EncodingError(f"the table has more than one column called {', '.join(twice)}")


def _pyarrow() -> Any:
    try:
        return import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise EncodingError("tables need pyarrow: pip install '.[tables]' in a checkout of Etagere") from error
