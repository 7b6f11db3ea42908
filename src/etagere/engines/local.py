"""The local engine: worker tasks in the service's own process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from contextlib import suppress

from etagere.errors import StoreLost
from etagere.logs import get_logger
from etagere.tasks import cancel
from etagere.worker import Worker

log = get_logger("etagere.engine")

POLL_SECONDS = 1.0


class LocalEngine:
    """Hosts as many workers as runs may go on at once; a wake-up that is lost is made good by polling."""

    def __init__(self, worker: Worker, queues: Collection[str], runs: int) -> None:
        self._worker = worker
        self._queues = frozenset(queues)
        self._runs = runs
        self._idle: deque[asyncio.Future[None]] = deque()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the workers."""
        self._tasks = [asyncio.create_task(self._host(), name=f"worker-{n}") for n in range(self._runs)]

    def wake(self, queue: str, reason: str = "") -> None:
        """Let one idle worker look; busy ones look by themselves."""
        while self._idle:
            waiting = self._idle.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    async def drain(self, on: bool) -> None:
        """See `ServiceEngine.drain`."""
        self._worker.draining = on
        if not on:
            for waiting in self._idle:
                if not waiting.done():
                    waiting.set_result(None)
            self._idle.clear()

    async def stop(self) -> None:
        """Cancel the attempts under way and wait until their processes are gone and their runs queued again."""
        await cancel(self._tasks)

    async def _host(self) -> None:
        task = asyncio.current_task()
        # What goes wrong while it is being stopped does not keep it from that.
        while task is None or not task.cancelling():
            try:
                await self._worker.work(self._queues)
            except StoreLost:
                pass  # whoever follows the store says so
            except Exception:
                # A worker outlives everything but its end, a broken log included.
                with suppress(Exception):
                    log.exception("a worker failed and goes on")
            await self._rest()

    async def _rest(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._idle.append(waiting)
        await asyncio.wait([waiting], timeout=POLL_SECONDS)
        if not waiting.done():
            self._idle.remove(waiting)
