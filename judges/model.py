"""What the judges ask for. A run of `gated` goes on until the file that it names is in the folder `GATES`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import etagere

app = etagere.Etagere()
VERSION = os.environ.get("VERSION", "1")


@app.model(version=VERSION, max_age=int(os.environ.get("MAX_AGE", "3600")))
def gated(gate: str) -> dict[str, str]:
    """Waits for its gate; the result names the version."""
    etagere.progress(0.5, "at the gate")
    while not Path(os.environ["GATES"], gate).exists():
        time.sleep(0.01)
    return {"gate": gate, "version": VERSION}


@app.model(version="1", media_type="application/octet-stream")
def large(fill: int) -> bytes:
    """Two MiB of one byte."""
    return bytes([fill]) * (2 << 20)


@app.model(version="1")
def length(text: str) -> int:
    """How many characters have arrived."""
    return len(text)


@app.model(version="1")
def many(n: int) -> list[int]:
    """Numbers, which can be coded well."""
    return list(range(n))


@app.model(version="1")
def refusing(x: int) -> int:
    """Refuses."""
    raise etagere.Refused(f"{x} is not wanted")


@app.model(version="1")
def failing(x: int) -> int:
    """Raises."""
    raise ValueError(str(x))


@app.model(version="1", time_limit=0.2, failure_ttl=3600)
def hanging(x: int) -> int:
    """Takes too long."""
    time.sleep(60)
    return x


@app.model(version="1", memory_limit=64 << 20, failure_ttl=3600)
def hoarding(x: int) -> int:
    """Takes too much memory."""
    hoard = b"1" * (96 << 20)
    time.sleep(60)
    return x + len(hoard)


@app.model(version="1", failure_ttl=3600)
def crashing(x: int) -> int:
    """Dies."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return x


if os.environ.get("RETIRED"):

    @app.model(version="1")
    def retired(x: int) -> int:
        """Served once, and not any more."""
        return x
