"""Models that leave traces of when they began and ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import etagere

app = etagere.Etagere()


def note(name: str) -> None:
    """A line for each time."""
    with Path(os.environ["STARTS"], name).open("a") as file:
        file.write(f"{os.getpid()}\n")


@app.model(version="1")
def nap(name: str, seconds: float = 0.0) -> dict[str, str]:
    """Sleep for so many seconds."""
    note(name)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))
    note(f"{name}.ended")
    return {"name": name}


@app.model(version="1", failure_ttl=60)
def die(name: str) -> None:
    """Be killed each time."""
    note(name)
    os.kill(os.getpid(), signal.SIGKILL)


@app.model(version="1", media_type="application/octet-stream")
def zeros(size: int) -> bytes:
    """So many bytes."""
    return bytes(size)


@app.model(version="1")
def refuse(name: str) -> None:
    """Refuse each time."""
    note(name)
    raise etagere.Refused("it is refused")


@app.model(version="1")
def words(size: int) -> str:
    """A text of so many characters."""
    return "word " * (size // 5)
