"""Models that wait for the test to open their gate, a FIFO, and write down when they begin and end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import etagere

app = etagere.Etagere()


def note(event: str, name: object) -> None:
    file = os.open(os.environ["EXECUTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{name} {event} {os.getpid()}\n".encode())
    os.close(file)


def wait(gate: str) -> None:
    """An open gate is a FIFO that has a byte for everybody who comes."""
    note("begins", gate)
    with Path(os.environ["GATES"], gate).open("rb", buffering=0) as opened:
        opened.read(1)
    note("ends", gate)


@app.model(version="1")
def gated(gate: str) -> str:
    wait(gate)
    return gate


@app.model(version="1", concurrency=1)
def single(gate: str) -> str:
    wait(gate)
    return gate


@app.model(version="1", media_type="application/octet-stream")
def file(gate: str, size: int) -> Path:
    """Writes its result first, and waits then."""
    Path("result.bin").write_bytes(bytes(size))
    wait(gate)
    return Path("result.bin")


@app.model(version="1", media_type="application/octet-stream")
def memory(gate: str, size: int) -> bytes:
    """Waits, and has its result written then."""
    wait(gate)
    return bytes(size)


@app.model(version="1")
def family(gate: str) -> str:
    """Has a child, and a descendant that has gone far away."""
    sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
    away = [sys.executable, "-c", f"import subprocess; subprocess.Popen({sleep!r}, start_new_session=True)"]
    subprocess.Popen(sleep)
    subprocess.run(away, check=True)
    wait(gate)
    return gate


@app.model(version="1", concurrency=1, abandon="kill")
def wanted(gate: str) -> str:
    """Not to be computed for nobody."""
    wait(gate)
    return gate


@app.model(version="1")
def quick(x: int) -> int:
    return x
