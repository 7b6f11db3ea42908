"""An ASGI application that does nothing but send one prepared answer, served as the service is."""

from __future__ import annotations

import json
import os
from pathlib import Path

from etagere import Etagere, Settings
from etagere.asgi.responses import Receive, Scope, Send


class Bare(Etagere):
    """Takes the service's place in `etagere serve`; its answer is a recorded one of the service."""

    def __init__(self, recorded: Path) -> None:
        super().__init__()
        answer = json.loads(recorded.read_text())
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer["fields"]]
        self._head = {"type": "http.response.start", "status": answer["status"], "headers": fields}
        self._content = {"type": "http.response.body", "body": answer["content"].encode("latin-1")}

    async def start(self, settings: Settings | None = None) -> None:
        """There is nothing to start."""

    async def stop(self) -> None:
        """There is nothing to stop."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send(self._head)
        await send(self._content)


app = Bare(Path(os.environ["BENCHMARK_ANSWER"]))
