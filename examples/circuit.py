"""A filter, simulated by the ngspice program. Serve it with `etagere serve examples/circuit.py`.

A netlist can run shell commands, so none is ever taken from a request: the netlist is the
owner's (lowpass.cir), and the parameters are numbers that circuit_run.py writes into it.
"""

import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

import etagere

app = etagere.Etagere()


class LowPass(BaseModel):
    """The parts of the filter, and the frequencies to look at."""

    resistance: Annotated[float, Field(ge=1e-3, le=1e9, description="Series resistance (Ω).")] = 100.0
    inductance: Annotated[float, Field(ge=1e-12, le=1e3, description="Series inductance (H).")] = 1e-3
    capacitance: Annotated[float, Field(ge=1e-15, le=1.0, description="Capacitance across the output (F).")] = 1e-7
    start: Annotated[float, Field(ge=1e-3, le=1e12, description="Lowest frequency (Hz).")] = 100.0
    stop: Annotated[float, Field(ge=1e-3, le=1e12, description="Highest frequency (Hz).")] = 1e6
    points: Annotated[int, Field(ge=1, le=1000, description="Frequencies in each decade.")] = 20


app.command(
    "lowpass",
    [sys.executable, str(Path(__file__).with_name("circuit_run.py"))],
    parameters=LowPass,
    version="1",
    media_type="text/csv",
    time_limit=60,
    examples=[{"resistance": 10}],
)
