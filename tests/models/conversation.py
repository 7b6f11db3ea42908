"""Models in every state that a conversation can meet. `gated` waits for the test to open its gate, a FIFO."""

from __future__ import annotations

import hashlib
import os
import signal
import time

import etagere

app = etagere.Etagere(max_pending=50)


@app.model(version="1", max_age=120)
def gated(gate: str, steps: int = 4) -> dict[str, object]:
    """Reports half of its progress, then waits at its gate."""
    etagere.progress(0.5, "at the gate")
    with open(os.path.join(os.environ["GATES"], gate)) as opened:
        opened.read()
    return {"gate": gate, "steps": steps}


@app.model(version="1", examples=[{"x": 1.5}])
def quick(x: float, label: str = "a") -> dict[str, object]:
    """Answers at once."""
    return {"x": x, "label": label}


@app.model(version="1.1", latest=True, name="dotted")
def dotted_new(x: int = 0) -> int:
    """The newest."""
    return x


@app.model(version="1.0", name="dotted")
def dotted_old(x: int = 0) -> int:
    """The old one."""
    return -x


@app.model(version="1")
def refusing(x: int) -> int:
    """Refuses."""
    raise etagere.Refused(f"{x} is <b>not</b> wanted")


@app.model(version="1")
def failing(x: int) -> int:
    """Raises."""
    raise ValueError(f"secret of {__file__}")


@app.model(version="1", time_limit=0.2)
def hanging(x: int) -> int:
    """Takes too long."""
    time.sleep(60)
    return x


@app.model(version="1")
def crashing(x: int) -> int:
    """Dies."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return x


@app.model(version="1", memory_limit=64 << 20)
def hoarding(x: int) -> int:
    """Takes too much memory."""
    hoard = b"1" * (96 << 20)
    time.sleep(60)
    return x + len(hoard)


@app.model(version="1", media_type="application/octet-stream")
def large(n: int, fill: int = 7) -> bytes:
    """N MiB of one byte."""
    return bytes([fill]) * (n * 1024 * 1024)


@app.model(version="1", media_type="text/csv")
def table(rows: int) -> bytes:
    """A table."""
    return b"".join(b"%d,%d\n" % (n, n * n) for n in range(rows))


@app.model(version="1")
def series(rows: int) -> dict[str, list[int]]:
    """A table as a mapping of columns."""
    return {"n": list(range(rows)), "square": [n * n for n in range(rows)]}


@app.model(version="1", media_type="application/octet-stream")
def pattern(size: int) -> bytes:
    """Bytes that differ from place to place."""
    return hashlib.shake_128(b"pattern").digest(size)
