"""A model whose every answer is known beforehand, and which writes down each time that it is really run."""

from __future__ import annotations

import hashlib
import os
import time

import etagere

app = etagere.Etagere()


@app.model(version="1", media_type="application/octet-stream")
def known(key: int, ms: int, size: int) -> bytes:
    """`size` bytes that follow from `key`, after `ms` milliseconds."""
    file = os.open(os.environ["EXECUTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, b"%d %d\n" % (key, os.getpid()))
    os.fsync(file)
    os.close(file)
    time.sleep(ms / 1000)
    return hashlib.shake_256(b"%d" % key).digest(size)
