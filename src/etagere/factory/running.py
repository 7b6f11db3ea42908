"""A service at work, and the parts that are made in the same way wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from etagere import tasks
from etagere.asgi.access_log import AccessLog
from etagere.asgi.app import Application
from etagere.asgi.cors import Cors
from etagere.config import Settings
from etagere.core.quota import Quota
from etagere.database import Database
from etagere.formats.converter import Converter
from etagere.here import HERE
from etagere.identity import Identify
from etagere.locator import Locator
from etagere.logs import get_logger
from etagere.model import Registry
from etagere.ports import Cache, Clock, Presence, RunTable, Variants
from etagere.service import Service
from etagere.supervisor import program
from etagere.supervisor.supervisor import Supervisor
from etagere.variants import Deriver

if TYPE_CHECKING:
    from etagere.asgi.traced import Traced
    from etagere.otel import Tracing

Stop = Callable[[], Awaitable[object]]
Endless = Callable[[], Coroutine[Any, Any, None]]

STOP_S = 8.0
AGAIN_S = 1.0

log = get_logger("etagere")


@dataclass(frozen=True, slots=True)
class Ground:
    """What a service is built on. `stops` gets what ends each part, as soon as that is begun; the last ends first."""

    registry: Registry
    settings: Settings
    database: Database
    clock: Clock
    stops: AsyncExitStack
    identify: Identify | None = None
    tracing: Tracing | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A service at work; `stops` is what it takes to stop it."""

    application: Application | Cors | AccessLog | Traced
    service: Service
    stops: AsyncExitStack

    async def stop(self) -> None:
        """Runs under way are killed and queued again; what is recorded stays for the next start."""
        self.service.wind_down()
        await self.stops.aclose()


def in_background(*work: Endless) -> Stop:
    """Begin work that has no end, and how to end it."""
    begun = [asyncio.create_task(_lasting(each)) for each in work]
    return partial(tasks.cancel, begun)


async def _lasting(work: Endless) -> None:
    """Work is begun again where something has gone wrong that it did not expect."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("work in the background has failed, and begins again")
        await asyncio.sleep(AGAIN_S)


def in_time(name: str, stop: Stop) -> Stop:
    """A stop that is left undone where it takes too long: whatever is shared with others does without it."""

    async def bounded() -> None:
        try:
            async with asyncio.timeout(STOP_S):
                await stop()
        except TimeoutError:
            log.error("a part has not stopped in time, and is left", part=name)

    return bounded


def traced(
    application: Application | Cors | AccessLog, tracing: Tracing | None
) -> Application | Cors | AccessLog | Traced:
    """The application, each request with a span where there are traces."""
    if tracing is None:
        return application
    from etagere.asgi.traced import Traced

    return Traced(application, tracing.tracer)


def locator(
    registry: Registry,
    settings: Settings,
    runs: RunTable,
    cache: Cache,
    retired: Collection[str],
    presence: Presence = HERE,
) -> Locator:
    """What finds resources; `retired` are keys of versions that were served once."""
    # Twice the runs that may be pending, so that a ping of any of them is never parsed again.
    size = max(10_000, 2 * settings.max_pending)
    return Locator(registry, runs, cache, memo_size=size, retired=frozenset(retired), presence=presence)


def deriver(settings: Settings, variants: Variants) -> Deriver:
    """What makes other formats."""
    return Deriver(variants, Converter(), settings.data / "variants", settings.max_result)


def supervisor(registry: Registry, settings: Settings, clock: Clock) -> Supervisor:
    """What executes attempts, in the data directory."""
    return Supervisor(
        program.describe(registry),
        settings.data / "runs",
        max_result=settings.max_result,
        max_run_dir=settings.max_run_dir,
        max_processes=settings.max_processes,
        clock=clock,
    )


def quota(settings: Settings) -> Quota | None:
    """The quota of new runs of each client."""
    return Quota.parse(settings.quota) if settings.quota else None


def concurrency(registry: Registry, key: str) -> int | None:
    """How many runs of a model may go on at once."""
    model = registry.models.get(key)
    return model.options.concurrency if model else None


def queue(registry: Registry, key: str) -> str | None:
    """The queue of a model."""
    model = registry.models.get(key)
    return model.options.queue if model else None


def queues(registry: Registry) -> set[str]:
    """The queues of all models."""
    return {model.options.queue for model in registry.models.values()}


def is_needless(registry: Registry, key: str) -> bool:
    """Whether a run that nobody asks for any more is not to be computed."""
    model = registry.models.get(key)
    return model is not None and model.options.abandon == "kill"
