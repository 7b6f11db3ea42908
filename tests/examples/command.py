"""The examples by the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(file: str, model: str, *parameters: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One run by the command line: declared, decoded, in a process of its own."""
    named = [word for parameter in parameters for word in ("-p", parameter)]
    return subprocess.run(
        [sys.executable, "-m", "etagere", "run", EXAMPLES / file, model, *named],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
