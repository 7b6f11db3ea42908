"""A module that imports in the service's process and fails in the warm one."""

from __future__ import annotations

import sys

from etagere.model import Registry

app = Registry()


@app.model(version="1")
def never() -> None: ...


if sys.argv[0].endswith("warm.py"):
    raise LookupError("the table is not there")
