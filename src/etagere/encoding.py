"""What a model returns → the bytes of its result, in the model's own process. Nothing is pickled."""

from __future__ import annotations

import dataclasses
import math
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel

from etagere.core import media
from etagere.errors import EncodingError

_ANNOTATED = frozenset({"pandas", "polars", "pyarrow", "matplotlib"})


def encode(
    value: object, *, media_type: str | None, nan: Literal["refuse", "null"], directory: Path
) -> bytes | bytearray | Path:
    """The bytes of a result, or the file that holds them.

    `media_type` is the declared one. Bytes, and a `Path` of a regular file inside `directory`
    (relative ones start there), need it; anything else is JSON.

    Raises:
        EncodingError: it is none of these, the media type does not fit, or a number is not finite.
    """
    if isinstance(value, bytes | bytearray | memoryview | Path) and media_type is None:
        raise EncodingError("a model that returns bytes or a file must declare its media_type")
    if isinstance(value, Path):
        return _regular_file(value, directory)
    if isinstance(value, memoryview):
        return value.tobytes()
    if isinstance(value, bytes | bytearray):
        return value
    if media_type is not None and not is_json(media_type):
        raise EncodingError(f"the result is declared as {media_type}, so the model must return bytes or a file")
    return _json(value, nan)


def is_json(media_type: str) -> bool:
    """Whether a media type is JSON: `application/json` or a `+json` one (RFC 6839 §3.1)."""
    essence = media_type.partition(";")[0].strip().lower()
    return essence == media.JSON or essence.endswith("+json")


def _json(value: object, nan: Literal["refuse", "null"]) -> bytes:
    try:
        body = orjson.dumps(value, _plain, orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        # orjson hides what the default function raised behind a sentence of its own.
        reason = error.__cause__ if isinstance(error.__cause__, EncodingError) else error
        wrong_key = _misnamed(value) if "Dict key" in str(error) else None
        raise EncodingError(f"the result is not JSON: {wrong_key or _hint(value) or reason}") from error
    # orjson writes NaN and infinity as null, silently; without a null there was none.
    if nan == "refuse" and b"null" in body:
        culprit = _non_finite(value, "")
        if culprit is not None:
            raise EncodingError(f'{culprit or "the result"} is not a finite number; nan="null" would make it null')
    return body


def _hint(value: object) -> str | None:
    """What to do about a table or a figure that nobody was told of."""
    kind = type(value)
    if kind.__module__.partition(".")[0] not in _ANNOTATED:
        return None
    return f"say in the function's annotation that it returns a {kind.__name__}"


def _plain(value: object) -> object:
    """What orjson does not know, as something that it knows."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", fallback=_listed)
    if not _is_numpy(value):
        raise EncodingError(f"a {type(value).__name__} has no form in JSON")
    return _array(value)


def _array(value: Any) -> object:
    """An array that orjson refused, as a list or as one that lies in memory as it wants it."""
    numpy = sys.modules["numpy"]
    if isinstance(value, numpy.longdouble):
        return float(value)
    if value.dtype.kind not in "biufMUO" or isinstance(value, numpy.ma.MaskedArray | numpy.generic):
        raise EncodingError(f"a {type(value).__name__} of type {value.dtype} has no form in JSON")
    if value.dtype.kind in "UO":
        return value.tolist()
    if value.ndim == 0:
        return value[()]
    wanted = numpy.dtype(float) if value.dtype == numpy.longdouble else value.dtype
    if type(value) is numpy.ndarray and value.dtype == wanted and value.flags.c_contiguous:
        raise EncodingError(f"an array of type {value.dtype} holds what has no form in JSON")
    return numpy.ascontiguousarray(value, wanted).view(numpy.ndarray)


def _listed(value: object) -> object:
    if not _is_numpy(value):
        raise EncodingError(f"a {type(value).__name__} has no form in JSON")
    return orjson.loads(orjson.dumps(value, _plain, orjson.OPT_SERIALIZE_NUMPY))


def _is_numpy(value: object) -> bool:
    # Whoever holds an array has imported numpy; nobody else shall have to.
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray | numpy.generic)


def _misnamed(value: object, path: str = "") -> str | None:
    """A sentence on the first key that is not text, or nothing."""
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                return f"the keys of {path or 'the result'} must be text, and {key!r} is not"
    return next((found for step, child in _children(value) if (found := _misnamed(child, _join(path, step)))), None)


def _non_finite(value: object, path: str) -> str | None:
    """Where the first number stands that is not finite."""
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    if _is_numpy(value) and value.dtype.kind == "f":  # type: ignore[attr-defined]
        numpy = sys.modules["numpy"]
        where = numpy.argwhere(~numpy.isfinite(value))
        return path + "".join(f"[{index}]" for index in where[0]) if len(where) else None
    for step, child in _children(value):
        found = _non_finite(child, _join(path, step))
        if found is not None:
            return found
    return None


def _children(value: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, BaseModel):
        yield from value
    elif _is_numpy(value) and value.dtype.kind == "O":  # type: ignore[attr-defined]
        yield from enumerate(value.tolist())  # type: ignore[attr-defined]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))


def _join(path: str, step: str | int) -> str:
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else str(step)


def _regular_file(path: Path, directory: Path) -> Path:
    """The file itself, if it is one of the run's own."""
    given = directory / path
    try:
        real, mode = Path(os.path.realpath(given)), given.lstat().st_mode
    except OSError as error:
        raise EncodingError(f"the file {path.name} cannot be the result: {error.strerror}") from error
    if not stat.S_ISREG(mode) or not real.is_relative_to(os.path.realpath(directory)):
        raise EncodingError(f"the file {path.name} cannot be the result: it is not a regular file inside RUN_DIR")
    return real
