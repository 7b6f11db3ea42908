"""A model that tries what a sandbox lets it do and what not."""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import etagere

app = etagere.Etagere()


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__ if error.errno is None else os.strerror(error.errno)
    return "done"


@app.model(version="1")
def attempts(outside: str) -> dict[str, str]:
    """What came of each attempt."""
    return {
        "compute": outcome(lambda: np.linalg.solve(np.eye(200), np.ones(200))),
        "start a program": outcome(lambda: subprocess.run(["true"], check=True)),
        # Its threads are no good for a process that forks.
        "import polars": outcome(lambda: subprocess.run([sys.executable, "-c", "import polars"], check=True)),
        "write in its folder": outcome(lambda: Path("here").write_text("")),
        "listen on loopback": outcome(lambda: socket.create_server(("127.0.0.1", 0)).close()),
        "write elsewhere": outcome(lambda: Path(outside).write_text("")),
        "write what is executed": outcome(
            lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        ),
        "see raw packets": outcome(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
        "change the root": outcome(lambda: os.chroot("/")),
    }


@app.model(version="1")
def endless(x: int) -> int:
    """Goes on."""
    while True:
        time.sleep(0.1)
