"""A damped oscillator as a table and as a figure. Serve them with `etagere serve examples/oscillator.py`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

import etagere

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

app = etagere.Etagere()

Frequency = Annotated[float, Field(gt=0, le=1000, description="Of the oscillation without damping (Hz).")]
Damping = Annotated[float, Field(ge=0, lt=1, description="Damping ratio (dimensionless); 1 would be critical.")]
Seconds = Annotated[float, Field(gt=0, le=1000, description="How long to follow it (s).")]
Points = Annotated[int, Field(ge=2, le=100_000, description="Points in time.")]


def motion(frequency: float, damping: float, seconds: float, points: int) -> dict[str, list[float]]:
    """Let go at 1, at rest: the exact solution."""
    natural = 2 * math.pi * frequency
    damped = natural * math.sqrt(1 - damping**2)
    times = [seconds * n / (points - 1) for n in range(points)]
    displacement = [
        math.exp(-damping * natural * t) * (math.cos(damped * t) + damping * natural / damped * math.sin(damped * t))
        for t in times
    ]
    return {"time": times, "displacement": displacement}


@app.model(version="1", examples=[{"frequency": 2.0}])
def oscillator(
    frequency: Frequency, damping: Damping = 0.1, seconds: Seconds = 5.0, points: Points = 501
) -> pd.DataFrame:
    """The displacement of a damped oscillator over time, in metres; it starts at 1 m, at rest."""
    # Imported here, it starts its threads in the run alone.
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame(motion(frequency, damping, seconds, points))


@app.model(version="1", examples=[{"frequency": 2.0}])
def oscillogram(frequency: Frequency, damping: Damping = 0.1, seconds: Seconds = 5.0) -> Figure:
    """The same as a figure."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4))
    axes: Any = figure.subplots()
    axes.plot(*motion(frequency, damping, seconds, 1001).values())
    axes.set(xlabel="time (s)", ylabel="displacement (m)", title=f"{frequency:g} Hz, damping {damping:g}")
    axes.grid(visible=True)
    return figure
