"""Models for the browser's side: what a form can hold, what a result can be, and a run that shows its progress."""

from __future__ import annotations

import math
import os
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

import etagere

app = etagere.Etagere()


class Material(BaseModel):
    name: str = "copper"
    density: float = 8960.0


@app.model(version="2", examples=[{"alpha": 0.25, "label": "a b+c"}])
def rod(
    alpha: Annotated[float, Field(gt=0, description="Mesh Fourier number.")],
    points: Annotated[int, Field(ge=3, lt=100_000)] = 101,
    method: Literal["explicit", "implicit"] = "explicit",
    level: Literal[1, 2] | None = None,
    start: date | None = None,
    label: str | None = None,
    probes: list[float] = [0.25, 0.5],  # noqa: B006
    material: Material = Material(),  # noqa: B008
    check: bool = False,
) -> dict[str, Any]:
    """Temperature along a rod.

    Returns x and
    temperature.

    - a list
    - of two
    """
    if alpha > 0.5:
        raise etagere.Refused("alpha must be at most 0.5")
    x = [index / (points - 1) for index in range(points)]
    return {
        "x": x,
        "temperature": [100 * math.erfc(2 * place) for place in x],
        "gradient": [-math.exp(-4 * place * place) for place in x],
        "energy": 12.5,
        "label": label,
        "alpha": alpha,
        "points": points,
        "method": method,
        "level": level,
        "start": start.isoformat() if start else None,
        "probes": probes,
        "material": material.model_dump(),
        "check": check,
    }


@app.model(version="1")
def slow(gate: str, steps: int = 4) -> list[float]:
    """Waits at its gate, a FIFO, before each step."""
    done = [1.0]
    for step in etagere.track(range(steps)):
        with open(os.path.join(os.environ["GATES"], gate)) as opened:
            opened.read()
        etagere.progress((step + 1) / steps, f"step {step + 1}")
        done.append(done[-1] / 2)
    return done


@app.model(version="1", media_type="text/csv")
def table(rows: int) -> bytes:
    """A table as CSV."""
    return b"time,height\r\n" + b"".join(b"%d,%.3f\r\n" % (row, math.sin(row / 20)) for row in range(rows))


@app.model(version="1")
def numbers(count: int) -> list[int]:
    """Whole numbers."""
    return list(range(count))


@app.model(version="1")
def broken(x: int = 0) -> int:
    """Raises."""
    raise ValueError(x)


@app.model(version="1", media_type="application/x-hdf5")
def binary() -> bytes:
    """Nothing to look at."""
    return bytes(16)
