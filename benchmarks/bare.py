"""An ASGI application that does nothing but send one prepared answer, served as the service is."""

from __future__ import annotations

import asyncio
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


class Sleeping(Bare):
    """Sends it after `seconds`."""

    def __init__(self, recorded: Path, seconds: float) -> None:
        super().__init__(recorded)
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sleep, and send the answer."""
        await asyncio.sleep(self._seconds)
        await super().__call__(scope, receive, send)


def _chosen(recorded: Path) -> Bare:
    seconds = os.environ.get("BENCHMARK_SLEEP")
    return Sleeping(recorded, float(seconds)) if seconds else Bare(recorded)


app = _chosen(Path(os.environ["BENCHMARK_ANSWER"]))
