"""A matplotlib figure that a model returns → PNG and SVG, in the model's own process; the same bytes each time."""

from __future__ import annotations

import io
from importlib import import_module
from typing import Any

from etagere.errors import EncodingError

_PNG_METADATA = {"Software": None}
_SVG_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
# Names inside an SVG are random without it.
_SALT = {"svg.hashsalt": "etagere"}


def encode(value: Any) -> tuple[bytes, bytes]:
    """The bytes of a figure as PNG and as SVG, without the time and without the version of matplotlib.

    Raises:
        EncodingError: it is no figure.
    """
    if not callable(getattr(value, "savefig", None)):
        raise EncodingError(f"the model is declared to return a figure, and returned a {type(value).__name__}")
    with import_module("matplotlib").rc_context(_SALT):
        return _save(value, "png", _PNG_METADATA), _save(value, "svg", _SVG_METADATA)


def _save(figure: Any, format: str, metadata: dict[str, None]) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format=format, metadata=metadata)
    return written.getvalue()
