"""What a model's function returns, by its annotation, and the formats that this can be given in."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib.util import find_spec
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

from etagere.core import media
from etagere.core.media import Format

SECOND = "result.svg"
"""The file beside its result in which the run of a figure leaves the second format."""

_TABLES = frozenset({"pandas.DataFrame", "polars.DataFrame", "pyarrow.Table", "pyarrow.RecordBatch"})
_FIGURES = frozenset({"matplotlib.Figure"})
# How they are called where their module is not imported: inside the function, or for type checkers alone.
_TABLE_NAMES = frozenset({"DataFrame", "pd.DataFrame", "pl.DataFrame", "pa.Table", "pa.RecordBatch"}) | _TABLES
_FIGURE_NAMES = frozenset({"Figure", "figure.Figure", "matplotlib.figure.Figure"})
_SCALARS = (int, float, str, bool, complex, bytes)

_JSON = Format("json", media.JSON)
_CSV = Format("csv", "text/csv; charset=utf-8")
_ARROW = Format("arrow", media.ARROW)
_PARQUET = Format("parquet", media.PARQUET)
_PNG = Format("png", "image/png")
_SVG = Format("svg", media.SVG)


class Returned(StrEnum):
    """What kind of value a function returns: decides the primary format where no media type is declared."""

    value = "value"
    columns = "columns"
    table = "table"
    figure = "figure"


def returned(function: Callable[..., Any]) -> Returned:
    """What a function returns: `columns` is a mapping, or nothing said, which may turn out to be a table."""
    annotation = _annotation(function)
    if isinstance(annotation, str):
        return _by_name(annotation.strip("'\" "))
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if isinstance(annotation, type):
        # Classes say where they were made, which may be deep inside their package.
        name = f"{annotation.__module__.partition('.')[0]}.{annotation.__qualname__}"
        if name in _TABLES:
            return Returned.table
        if name in _FIGURES:
            return Returned.figure
    return Returned.columns if _may_be_columns(annotation) else Returned.value


def second_format(kind: Returned) -> Format | None:
    """The format that a run writes beside the primary one."""
    return _SVG if kind is Returned.figure else None


def formats(kind: Returned) -> tuple[Format, ...]:
    """The formats of such a value, the primary one first; those that need pyarrow only where it is installed."""
    match kind:
        case Returned.value:
            return (_JSON,)
        case Returned.figure:
            return _PNG, _SVG
        case Returned.columns:
            return (_JSON, _CSV, _ARROW, _PARQUET) if _has_pyarrow() else (_JSON, _CSV)
        case Returned.table:
            return (_ARROW, _JSON, _CSV, _PARQUET) if _has_pyarrow() else (_ARROW,)


def _annotation(function: Callable[..., Any]) -> Any:
    """The annotation of what it returns: as text where it cannot be resolved, nothing said is `Any`."""
    written = inspect.signature(function).return_annotation
    if written is inspect.Signature.empty:
        return Any
    if not isinstance(written, str):
        return written
    namespace = inspect.unwrap(function).__globals__
    alone = types.SimpleNamespace(__annotations__={"return": written}, __globals__=namespace)
    try:
        return get_type_hints(alone, include_extras=True)["return"]
    except Exception:
        return written


def _by_name(name: str) -> Returned:
    if name in _TABLE_NAMES:
        return Returned.table
    return Returned.figure if name in _FIGURE_NAMES else Returned.value


def _may_be_columns(annotation: Any) -> bool:
    if annotation is Any or annotation is object or is_typeddict(annotation):
        return True
    kind = get_origin(annotation) or annotation
    if not (isinstance(kind, type) and issubclass(kind, Mapping)):
        return False
    _, value = get_args(annotation) or (str, Any)
    return value not in _SCALARS


def _has_pyarrow() -> bool:
    return find_spec("pyarrow") is not None
