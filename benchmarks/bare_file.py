"""An ASGI application that does nothing but have its server send one file, served as the service is."""

from __future__ import annotations

import os
from pathlib import Path

from etagere import Etagere, Settings
from etagere.asgi.responses import Receive, Scope, Send


class BareFile(Etagere):
    """Takes the service's place in `etagere serve`; its answer is the file, for every target."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        fields = [(b"content-length", b"%d" % path.stat().st_size)]
        self._head = {"type": "http.response.start", "status": 200, "headers": fields}
        self._content = {"type": "http.response.pathsend", "path": str(path)}

    async def start(self, settings: Settings | None = None) -> None:
        """There is nothing to start."""

    async def stop(self) -> None:
        """There is nothing to stop."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        await send(self._head)
        await send(self._content)


app = BareFile(Path(os.environ["BENCHMARK_FILE"]))
