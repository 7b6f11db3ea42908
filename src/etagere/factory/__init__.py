"""From settings to a running service: the one place that knows the adapters."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from etagere.config import Settings
from etagere.errors import BrokenDatabase, Problem, StartError
from etagere.logs import get_logger
from etagere.model import Registry

if TYPE_CHECKING:
    from etagere.asgi.responses import Scope, Send
    from etagere.doctor import Remark
    from etagere.factory.hosts import Host
    from etagere.factory.running import Ground, Running
    from etagere.identity import Identify
    from etagere.otel import Tracing

_CELERY = ("celery", "kombu")

log = get_logger("etagere")


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()


async def start(registry: Registry, settings: Settings, identify: Identify | None = None) -> Running:
    """Open the data directory and begin to work: all of it here, or with a store as one of many nodes.

    `identify` is a host application's word on who asks.

    Raises:
        StartError: the data directory is locked or not to be written, the models do not import, or there is no store.
    """
    _check(settings)
    try:
        return await _begin(registry, settings, identify)
    except BrokenDatabase:
        # Opening it again sets it aside.
        return await _begin(registry, settings, identify)


def _check(settings: Settings) -> None:
    if faults := settings.contradictions:
        raise StartError(f"bad settings: {'; '.join(faults)}")
    if settings.idle:
        log.warning("settings that mean nothing without a store", settings=", ".join(settings.idle))


def check_engine(engine: str | None) -> None:
    """See that workers can be hosted so, as far as that is known without the broker.

    Raises:
        StartError: it is no broker's URL, or what it takes is not installed.
    """
    if engine is None:
        return
    try:
        from etagere.factory.fleet import broker
    except ModuleNotFoundError as error:
        raise without_cluster(error) from error
    broker(engine)


async def examine(settings: Settings) -> AsyncIterator[Remark]:
    """Look whether what many machines share is well; nothing where there is no such thing."""
    if settings.store is None:
        return
    from etagere.doctor import Level, Remark

    try:
        from etagere.factory.dependencies import examine as dependencies
    except ModuleNotFoundError as error:
        yield Remark(Level.problem, "store", str(without_cluster(error)))
        return
    async for remark in dependencies(settings):
        yield remark


async def _begin(registry: Registry, settings: Settings, identify: Identify | None) -> Running:
    from etagere.database import Database
    from etagere.factory.running import Ground

    async with AsyncExitStack() as stops:
        tracing = _tracing() if settings.traces else None
        if tracing is not None:
            stops.push_async_callback(tracing.close)
        database = await Database.open(settings.data)
        stops.push_async_callback(database.close)
        try:
            return await _build(Ground(registry, settings, database, SystemClock(), stops, identify, tracing))
        except BaseException as error:
            if database.broken:
                raise BrokenDatabase(f"The database in {settings.data} is broken.") from error
            if isinstance(error, OSError):
                raise StartError(f"{error.filename or settings.data} cannot be used: {error.strerror}.") from error
            raise


async def _build(ground: Ground) -> Running:
    if ground.settings.store is None:
        from etagere.factory.alone import begin as begin_alone

        return await begin_alone(ground)
    try:
        from etagere.factory.node import begin as begin_node
    except ModuleNotFoundError as error:
        raise without_cluster(error) from error
    return await begin_node(ground)


def without_cluster(error: ModuleNotFoundError) -> Exception:
    """What to raise where a module of the extra `cluster` is missing."""
    if (error.name or "").partition(".")[0] not in ("redis", "obstore", *_CELERY):
        return error
    wanted = "--engine needs" if error.name in _CELERY else "a store needs"
    return StartError(f"{wanted} {error.name}, which is not there: pip install '.[cluster]' in a checkout of Etagere")


async def refuse(problem: Problem, scope: Scope, send: Send) -> None:
    """Answer a request while nothing runs."""
    from etagere.asgi.problems import of_problem

    await of_problem(problem, scope.get("root_path", "")).send(send, head=scope["method"] == "HEAD")


def _tracing() -> Tracing:
    try:
        from etagere.otel import Tracing
    except ImportError as error:
        raise StartError(
            f"traces need OpenTelemetry, and {error.name} is not there: pip install '.[otel]' in a checkout of Etagere"
        ) from None
    return Tracing()


async def begin_working(registry: Registry, settings: Settings, celery: Any = None) -> Host:
    """Run the models for the nodes that share a store, in the fleet of a Celery application if one is given.

    Raises:
        StartError: the store cannot be used, or the models do not import.
    """
    _check(settings)
    tracing = _tracing() if settings.traces else None
    try:
        from etagere.factory.hosts import work
    except ModuleNotFoundError as error:
        raise without_cluster(error) from error
    return await work(registry, settings, SystemClock(), tracing, celery)


async def begin_collecting(registry: Registry, settings: Settings) -> Host:
    """Collect what was run for the nodes that share a store.

    Raises:
        StartError: the store cannot be used.
    """
    _check(settings)
    try:
        from etagere.factory.hosts import collect
    except ModuleNotFoundError as error:
        raise without_cluster(error) from error
    return await collect(registry, settings, SystemClock())
