"""A model that is none: it gives other bytes each time."""

from __future__ import annotations

import os

import etagere

app = etagere.Etagere()


@app.model(version="1", media_type="application/octet-stream")
def noise(n: int) -> bytes:
    """2 MiB that nobody can compute again."""
    return n.to_bytes() + os.urandom(2 << 20)
