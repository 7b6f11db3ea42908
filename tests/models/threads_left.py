"""A module that leaves a thread behind when it is imported: its runs cannot be forks."""

from __future__ import annotations

import threading

from etagere.model import Registry

app = Registry()
TABLE: list[int] = []
FOREVER = threading.Event()
IMPORTED_BY = threading.get_native_id()

threading.Thread(target=FOREVER.wait, name="keeper", daemon=True).start()


@app.setup
def load_table() -> None:
    TABLE.extend((1, 2, 3))


@app.model(version="1")
def own_import(factor: int) -> dict[str, object]:
    """Whether the process that runs this has imported the module itself."""
    return {"table": [factor * entry for entry in TABLE], "own": threading.get_native_id() == IMPORTED_BY}
