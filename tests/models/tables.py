"""Results that can be had in several formats. No library for tables is imported before a run needs it."""

from __future__ import annotations

import random
from typing import Any

import etagere

app = etagere.Etagere()


@app.model(version="1")
def columns(rows: int = 3, factor: float = 0.5) -> dict[str, Any]:
    """A table as a mapping of columns."""
    return {
        "n": list(range(rows)),
        "x": [n * factor for n in range(rows)],
        "label": [f'row {n}, "quoted"' for n in range(rows)],
        "even": [None if n == 1 else n % 2 == 0 for n in range(rows)],
    }


@app.model(version="1")
def uneven(x: int = 0) -> dict[str, Any]:
    """No table."""
    return {"a": [1, 2, x], "b": [1]}


@app.model(version="1")
def mixed(x: int = 0) -> dict[str, Any]:
    """A table that has no Arrow type."""
    return {"a": [x, "text"]}


@app.model(version="1")
def number(x: int = 0) -> int:
    """Nothing but JSON."""
    return x


@app.model(version="1", media_type="text/plain")
def noise(n: int = 1000) -> bytes:
    """What no coding makes smaller, nearly; the same in each run."""
    return random.Random(n).randbytes(n)
