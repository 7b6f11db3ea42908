"""`Etagere`: the models of one application, and an ASGI application that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from etagere.asgi.responses import Receive, Scope, Send
from etagere.config import Settings
from etagere.errors import DeclarationError, StartError
from etagere.factory import Running, start
from etagere.model import Registry

log = structlog.get_logger("etagere")


class Etagere(Registry):
    """Models declared with `@app.model`, `app.setup` and `app.command`; also an ASGI application.

    Keyword arguments are defaults of the settings (`Settings` names them all); a file, the
    environment and the command line go over them.

    A host application runs it with its own life: `FastAPI(lifespan=models.lifespan)`, then
    `host.mount("/models", models)`. Without that, the first request starts everything.

    Raises:
        DeclarationError: a keyword is not the name of a setting.
    """

    def __init__(self, **defaults: Any) -> None:
        super().__init__()
        unknown = sorted(set(defaults) - set(Settings.model_fields))
        if unknown:
            raise DeclarationError(f"no such setting: {', '.join(unknown)}")
        self.defaults = defaults
        self._running: Running | None = None
        self._starting: asyncio.Task[Running] | None = None

    async def start(self, settings: Settings | None = None) -> None:
        """Open the data directory and start to work.

        Raises:
            StartError: it cannot start; the message says why.
        """
        self._running = await start(self, settings or Settings.layered(self.defaults, {}))

    async def stop(self) -> None:
        """Stop the runs under way, which are queued again, and close the data directory."""
        running, self._running, self._starting = self._running, None, None
        if running is not None:
            await running.stop()

    @asynccontextmanager
    async def lifespan(self, host: object = None) -> AsyncIterator[None]:
        """The life of the service, as the `lifespan` of a host application."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            running = self._running or await self._start_late()
            await running.application(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _start_late(self) -> Running:
        if self._starting is None:
            log.warning("started by the first request; give the host application lifespan=models.lifespan")
            self._starting = asyncio.create_task(start(self, Settings.layered(self.defaults, {})))
        try:
            self._running = await asyncio.shield(self._starting)
        except StartError:
            self._starting = None
            raise
        return self._running

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except StartError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})
