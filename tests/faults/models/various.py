"""Models whose answers are known and that end in every way; each writes down that it was really begun."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

from pydantic import BaseModel

import etagere

app = etagere.Etagere()

DECLARES = """
import json, os, sys, time
spec = json.load(sys.stdin)
with open(os.environ["EXECUTIONS"], "a") as notes:
    notes.write(f"declared-{spec['key']} {os.getpid()}\\n")
open("made", "w").write(str(spec["key"]) * 100)
with open(os.environ["RUN_EVENTS"], "w") as events:
    events.write(json.dumps({"result": "made"}) + "\\n")
"""


class Key(BaseModel):
    key: int


def begin(model: str, key: int) -> int:
    """How often that was begun, this time included."""
    note = f"{model}-{key} "
    with open(os.environ["EXECUTIONS"], "a+") as notes:
        notes.write(f"{note}{os.getpid()}\n")
        notes.flush()
        notes.seek(0)
        return sum(line.startswith(note) for line in notes)


@app.model(version="1", media_type="application/octet-stream")
def small(key: int) -> bytes:
    begin("small", key)
    return hashlib.shake_256(b"%d" % key).digest(1000)


@app.model(version="1", media_type="application/octet-stream")
def large(key: int) -> bytes:
    begin("large", key)
    return hashlib.shake_256(b"%d" % key).digest(1_500_000)


@app.model(version="1", media_type="text/plain")
def text(key: int) -> bytes:
    begin("text", key)
    return b"%d\n" % key * 2000


@app.model(version="1")
def refuses(key: int) -> int:
    begin("refuses", key)
    raise etagere.Refused(f"{key} is too much")


@app.model(version="1", media_type="text/plain")
def dies_once(key: int) -> bytes:
    if begin("dies_once", key) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return b"%d" % key


@app.model(version="1", media_type="text/plain")
def waits(key: int) -> bytes:
    """Waits until there is a file of this name in `GATES`."""
    begin("waits", key)
    gate = Path(os.environ["GATES"], "open")
    while not gate.exists():
        signal.sigtimedwait([], 0.02)
    return b"%d" % key


app.command("declared", [sys.executable, "-c", DECLARES], version="1", parameters=Key, media_type="text/plain")
