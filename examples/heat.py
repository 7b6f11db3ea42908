"""Heat conduction in a rod. Serve it with `etagere serve examples/heat.py`."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

import etagere

app = etagere.Etagere()


@app.model(version="1", examples=[{"alpha": 0.4, "steps": 20_000}])
def heat(
    alpha: Annotated[float, Field(gt=0, description="Mesh Fourier number D·Δt/Δx² of one step (dimensionless).")],
    length: Annotated[float, Field(gt=0, description="Length of the rod (m).")] = 1.0,
    steps: Annotated[int, Field(ge=0, le=100_000_000, description="Time steps.")] = 1000,
    points: Annotated[int, Field(ge=3, le=100_000, description="Grid points, both ends included.")] = 101,
    left: Annotated[float, Field(ge=-273.15, description="Temperature that the left end is held at (°C).")] = 100.0,
    right: Annotated[float, Field(ge=-273.15, description="Temperature that the right end is held at (°C).")] = 0.0,
) -> dict[str, Any]:
    """Temperature along a rod, at 0 °C in the beginning, after `steps` steps of explicit finite differences.

    One step lasts Δt = alpha·Δx²/D, where D is the material's diffusivity (m²/s; copper: 1.1e-4) and
    Δx = length/(points - 1). Returns `x` (m) and `temperature` (°C) at the grid points.
    """
    if alpha > 0.5:
        raise etagere.Refused("alpha must be at most 0.5, or the scheme is unstable")
    temperature = np.zeros(points)
    temperature[0], temperature[-1] = left, right
    inner, before, after = temperature[1:-1], temperature[:-2], temperature[2:]
    change = np.empty(points - 2)
    for _ in etagere.track(range(steps)):
        np.add(before, after, out=change)
        change *= alpha
        inner *= 1 - 2 * alpha
        inner += change
    return {"x": np.linspace(0.0, length, points), "temperature": temperature}
