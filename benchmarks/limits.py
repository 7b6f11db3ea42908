"""How long a run is beyond its limit before that is its outcome."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.client import Server
from benchmarks.figures import Figure
from benchmarks.servers import service

RUNS = 10
WITHIN_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
CASES = {
    "its time limit": "/overstay?processes=0",
    "its time limit, with 200 processes that ignore SIGTERM": "/overstay?processes=200",
    "its memory limit": "/hoard?",
}


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    with tempfile.TemporaryDirectory() as folder:
        crossed = Path(folder, "crossed")
        with service(BENCHMARK_CROSSED=str(crossed)) as server:
            for limit, target in CASES.items():
                late = [_seconds(server, crossed, f"{target}&n={n}") for n in range(RUNS)]
                yield _figure(f"outcome of a run after it has crossed {limit}", late)


def _figure(what: str, late: Sequence[float]) -> Figure:
    found = f"{statistics.median(late):.2f} s, at most {max(late):.2f} s"
    return Figure(what, found, f"≤ {WITHIN_SECONDS:g} s", max(late) <= WITHIN_SECONDS)


def _seconds(server: Server, crossed: Path, target: str) -> float:
    """From the moment that the model has told to the first answer that is a failure."""
    crossed.unlink(missing_ok=True)
    tag = server.get(target).expect(202).tag
    deadline = time.monotonic() + PATIENCE_SECONDS
    with server.session() as session:
        while session.get(target, tag).status != 500:
            if time.monotonic() > deadline:
                raise SystemExit(f"benchmarks: {target} does not end")
            time.sleep(0.005)
    return time.monotonic() - float(crossed.read_text())
