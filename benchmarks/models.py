"""The models that the benchmarks ask for."""

import os
import signal
import time
from pathlib import Path

import etagere

app = etagere.Etagere()


@app.model(version="1")
def sleep(
    seconds: float = 0.0,
    n: int = 0,
    text: str = "",
    values: tuple[float, ...] = (),
    p01: float = 0.0,
    p02: float = 0.0,
    p03: float = 0.0,
    p04: float = 0.0,
    p05: float = 0.0,
    p06: float = 0.0,
    p07: float = 0.0,
    p08: float = 0.0,
    p09: float = 0.0,
    p10: float = 0.0,
    p11: float = 0.0,
    p12: float = 0.0,
    p13: float = 0.0,
    p14: float = 0.0,
    p15: float = 0.0,
    p16: float = 0.0,
) -> dict[str, float]:
    """A small result after `seconds`; most of its 20 parameters are there to be decoded."""
    time.sleep(seconds)
    return {"n": n, "p01": p01}


@app.model(version="1")
def noop(n: int) -> int:
    """Do nothing."""
    return n


@app.model(version="1")
def counted(n: int) -> int:
    """Leave a line behind for each run, and take long enough for a crowd to gather."""
    with Path(os.environ["BENCHMARK_COUNT"]).open("a") as lines:
        lines.write(f"{n}\n")
    time.sleep(0.5)
    return n


@app.model(version="1", media_type="application/octet-stream")
def file(size: int) -> Path:
    """So many zeros, which take no room."""
    path = Path(os.environ["RUN_DIR"], "zeros")
    with path.open("wb") as made:
        made.truncate(size)
    return path


@app.model(version="1", time_limit=1.0)
def overstay(processes: int, n: int) -> int:
    """Take longer than the limit, with children that do not end when they are asked to."""
    _crossing(time.monotonic() + 1.0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(processes):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    time.sleep(60)
    return n


@app.model(version="1", memory_limit=64 << 20)
def hoard(n: int) -> int:
    """Take more memory than the limit."""
    _crossing(time.monotonic())
    taken = bytearray(os.urandom(1 << 20) * 128)
    time.sleep(60)
    return n + len(taken)


def _crossing(moment: float) -> None:
    """Leave behind when the limit is crossed; the monotonic clock is one for all processes of a machine."""
    Path(os.environ["BENCHMARK_CROSSED"]).write_text(str(moment))
