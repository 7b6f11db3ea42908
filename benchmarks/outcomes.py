"""An application whose runs are not computed: their outcomes are put on the result queue when it is told to."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import etagere
from etagere.asgi.responses import Receive, Scope, Send
from etagere.core.lifecycle import Run
from etagere.core.representation import Kind, Outcome, Resource

APART_SECONDS = 0.02


class Told(etagere.Etagere):
    """Stands in for the workers: it claims runs as they do, and hands over outcomes as they do."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; `/finish` ends every run that is queued, one after the other, and answers when all are handed over."""
        if scope["type"] != "http" or scope["path"] != "/finish":
            await super().__call__(scope, receive, send)
            return
        lines = await self._finish()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(lines))]})
        await send({"type": "http.response.body", "body": lines})

    async def _finish(self) -> bytes:
        """Line by line, the ids and when their outcomes were put."""
        assert self._running is not None
        runs = self._running.service.runs
        claimed = []
        while found := await runs.claim(["default"]):
            claimed.append(found)
        put, lines = [], []
        for run, resource in claimed:
            outcome = _outcome(run, resource)
            lines.append(f"{run.id} {time.monotonic()}")
            put.append(asyncio.create_task(self._running._engine._worker._results.put(outcome)))
            await asyncio.sleep(APART_SECONDS)
        await asyncio.gather(*put)
        return "\n".join(lines).encode("ascii")


def _outcome(run: Run, resource: Resource) -> Outcome:
    path = Path(os.environ["BENCHMARK_RESULTS"], run.id, "result")
    path.parent.mkdir()
    path.write_bytes(b"1")
    now = time.time()
    return Outcome(resource, run.attempt, Kind.succeeded, now, now, path=path, media_type="application/json")


app = Told()


@app.model(version="1")
def occupied(seconds: float) -> float:
    """Keep the one real worker from the others."""
    time.sleep(seconds)
    return seconds


@app.model(version="1")
def told(n: int) -> int:
    """Never runs."""
    return n
