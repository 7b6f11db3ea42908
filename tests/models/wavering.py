"""A model that is none: it gives other bytes each time."""

from __future__ import annotations

import os
from pathlib import Path

import etagere

app = etagere.Etagere()


@app.model(version="1", media_type="application/octet-stream")
def noise(n: int) -> bytes:
    """2 MiB that nobody can compute again; a gate that there is must be opened first."""
    if (gate := Path(os.environ["GATES"], "gate")).exists():
        gate.read_bytes()
    return n.to_bytes() + os.urandom(2 << 20)
