"""Models that give operators something to do."""

from __future__ import annotations

import os

import etagere

app = etagere.Etagere()


@app.model(version="1")
def gated(gate: str) -> str:
    """Waits at its gate, and says so in a way that terminals would obey."""
    etagere.progress(0.5, "at the\x1b[2J\ngate")
    with open(os.path.join(os.environ["GATES"], gate)) as opened:
        opened.read()
    return gate


@app.model(version="1")
def quick(x: float) -> float:
    """Answers at once."""
    return x


@app.model(version="2", name="quick", latest=True)
def quicker(x: float) -> float:
    """Answers at once, too."""
    return -x


@app.model(version="1")
def failing(x: int) -> int:
    """Prints and raises."""
    print("last\x1b[2J words\nof a run")
    raise ValueError("the reason")


@app.model(version="1", media_type="application/octet-stream")
def large(size: int) -> bytes:
    """So many bytes."""
    return bytes(range(256)) * (size // 256)
