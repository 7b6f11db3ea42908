"""What it takes to import the package and to start the service."""

from __future__ import annotations

import compileall
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import etagere
from benchmarks.figures import Figure
from benchmarks.servers import bare, service

IMPORTS, STARTS = 15, 5
IMPORT_MS, START_S = 100.0, 1.5


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    # As an installer leaves it: with bytecode, whatever the environment says about writing it.
    compileall.compile_dir(Path(etagere.__file__).parent, quiet=1)
    yield _import()
    yield _start()


def _import() -> Figure:
    pairs = [(_interpreter("import etagere"), _interpreter("pass")) for _ in range(IMPORTS)]
    spent = statistics.median(ours - theirs for ours, theirs in pairs)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    found = f"{spent:.1f} ms ({ratio:.2f} × a bare interpreter)"
    return Figure("import etagere", found, f"≤ {IMPORT_MS:.0f} ms", spent <= IMPORT_MS)


def _start() -> Figure:
    ours, theirs = [], []
    for _ in range(STARTS):
        began = time.perf_counter()
        with service() as server:
            answer = server.get("/sleep").expect(202)
            ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        with bare(answer) as other:
            other.get("/sleep")
            theirs.append(time.perf_counter() - began)
    spent = statistics.median(ours)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    found = f"{spent:.2f} s ({ratio:.2f} × bare)"
    return Figure("from etagere serve to the answer to its first GET", found, f"≤ {START_S} s", spent <= START_S)


def _interpreter(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return (time.perf_counter() - began) * 1000
