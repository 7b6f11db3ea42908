"""`Etagere`: the models of one application, and an ASGI application that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from etagere.config import Settings, unknown_setting
from etagere.errors import DeclarationError, Problem, StartError, Stopping, Unavailable
from etagere.factory import begin_working, refuse, start
from etagere.logs import get_logger
from etagere.model import Registry
from etagere.scratch import Scratch

if TYPE_CHECKING:
    from etagere.asgi.responses import Receive, Scope, Send
    from etagere.factory.hosts import Host
    from etagere.factory.running import Running
    from etagere.identity import Identify

RETRY_AFTER_S = 5

log = get_logger("etagere")


class Etagere(Registry):
    """Models declared with `@app.model`, `app.setup` and `app.command`; also an ASGI application.

    Keyword arguments are defaults of the settings (`Settings` names them all); a file, the
    environment and the command line go over them.

    A host application runs it with its own life: `FastAPI(lifespan=models.lifespan)`, then
    `host.mount("/models", models)`. Without that, the first request starts everything.

    `identify` is a host application's own word on who asks: given the ASGI scope of a request, the `Client`, or None
    to leave that to keys, tokens and addresses. It is asked at each request, pings included, so it should do no more
    than look into the scope, where middleware has put what it found out.

    Raises:
        DeclarationError: a keyword is not the name of a setting.
    """

    def __init__(self, *, identify: Identify | None = None, **defaults: Any) -> None:
        super().__init__()
        self.identify = identify
        if unknown := sorted(set(defaults) - set(Settings.model_fields)):
            raise DeclarationError("; ".join(map(unknown_setting, unknown)))
        self.defaults = defaults
        self._running: Running | None = None
        self._starting: asyncio.Task[Running] | None = None
        self._stopped = False

    async def start(self, settings: Settings | None = None) -> None:
        """Open the data directory and start to work, unless a request did so already.

        Raises:
            StartError: it cannot start; the message says why.
        """
        self._stopped = False
        try:
            await self._started(settings)
        except asyncio.CancelledError:
            await self.stop()
            raise

    def wind_down(self) -> None:
        """Get ready to stop: start nothing more, and have clients that wait answered now."""
        if self._running is not None:
            self._running.service.wind_down()

    async def stop(self) -> None:
        """Stop the runs under way, which are queued again, and close the data directory."""
        self._stopped = True
        starting, self._starting, self._running = self._starting, None, None
        if starting is None:
            return
        await asyncio.wait([starting])
        if not starting.cancelled() and starting.exception() is None:
            await starting.result().stop()

    @asynccontextmanager
    async def lifespan(self, host: object = None) -> AsyncIterator[None]:
        """The life of the service, as the `lifespan` of a host application."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    def check(self, settings: Mapping[str, Any]) -> Settings:
        """The settings of a worker in the fleet of a Celery application.

        Raises:
            StartError: they are not valid.
        """
        given = Settings.layered(self.defaults, settings, place="install(...)")
        if given.store is None:
            raise StartError("There is no store that is shared with others: the setting store says where.")
        return given

    async def work(self, celery: Any, settings: Mapping[str, Any]) -> Host:
        """Run the models for the nodes that share a store, in the fleet of a Celery application; see `engines.celery`.

        Raises:
            StartError: the store cannot be used, or the models do not import.
        """
        given = self.check(settings)
        if "data" in settings:
            return await begin_working(self, given, celery)
        scratch = Scratch()
        try:
            host = await begin_working(self, given.model_copy(update={"data": scratch.path}), celery)
        except BaseException:
            scratch.remove()
            raise
        return host.followed_by(scratch.remove)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            try:
                running = self._running or await self._start_late()
            except Problem as problem:
                await refuse(problem, scope, send)
            else:
                await running.application(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _start_late(self) -> Running:
        if self._stopped:
            raise Stopping("The service has been stopped.")
        if self._starting is None:
            log.warning("started by the first request; give the host application lifespan=models.lifespan")
        try:
            return await self._started()
        except Exception as error:
            _report(error)
            raise Unavailable("The reason is in the service's log.", retry_after=RETRY_AFTER_S) from error

    async def _started(self, settings: Settings | None = None) -> Running:
        """What runs; everybody who waits for the start waits for the same one."""
        if self._starting is None:
            settings = settings or Settings.layered(self.defaults, {})
            self._starting = asyncio.create_task(start(self, settings, self.identify))
            self._starting.add_done_callback(self._settle)
        return await asyncio.shield(self._starting)

    def _settle(self, starting: asyncio.Task[Running]) -> None:
        failed = starting.cancelled() or starting.exception() is not None
        if starting is not self._starting:
            return
        if failed:
            self._starting = None
        else:
            self._running = starting.result()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            _report(error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _report(error: Exception) -> None:
    if isinstance(error, StartError):
        log.error("the service cannot start", reason=str(error))
    else:
        log.exception("the service cannot start")
