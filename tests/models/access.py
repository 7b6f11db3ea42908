"""Models that everybody, whoever has a key, or each for itself may ask for. `gated` ones wait at a FIFO."""

from __future__ import annotations

import os
import time

import etagere

app = etagere.Etagere(max_pending=400, runs=4)


def wait_at(gate: str) -> None:
    if gate:
        with open(os.path.join(os.environ["GATES"], gate)) as opened:
            opened.read()


def quick(x: int, gate: str = "") -> dict[str, object]:
    """Answers when its gate is open, refuses what is negative, and fails at 0."""
    wait_at(gate)
    if x < 0:
        raise etagere.Refused(f"{x} is negative")
    return {"x": x, "share": 1 / x}


@app.model(version="1", access="open")
def shared(x: int, gate: str = "") -> dict[str, object]:
    """Everybody's."""
    return quick(x, gate)


@app.model(version="1", access="keyed")
def keyed(x: int, gate: str = "") -> dict[str, object]:
    """For whoever has a key."""
    return quick(x, gate)


@app.model(version="1", access="private")
def private(x: int, gate: str = "") -> dict[str, object]:
    """Each has results of its own."""
    print(f"private {x}")
    return {**quick(x, gate), "seen": 1}


@app.model(version="1", access="keyed")
def other(seconds: float = 0.0) -> float:
    """Another one that needs a key; takes its time."""
    time.sleep(seconds)
    return seconds
