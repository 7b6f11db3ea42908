"""Figures for those who read the output of `scripts/faults`."""

from __future__ import annotations

import os
from pathlib import Path


def tell(what: str, figures: str) -> None:
    """One line, on standard output and in the file that `FAULTS_FIGURES` names."""
    line = f"{what}: {figures}"
    print(line)
    if path := os.environ.get("FAULTS_FIGURES"):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")
