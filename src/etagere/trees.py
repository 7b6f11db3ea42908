"""Removing directories, whatever their owner has done to them."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path


def remove(path: Path) -> None:
    """Remove a directory with everything in it, as far as that can be done; blocks."""
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    # A model may have taken its own rights away.
    _open(path)
    for folder, names, _ in os.walk(path):
        for name in names:
            _open(Path(folder, name))
    shutil.rmtree(path, ignore_errors=True)


def _open(folder: Path) -> None:
    with suppress(OSError):
        if not folder.is_symlink():
            folder.chmod(0o700)
