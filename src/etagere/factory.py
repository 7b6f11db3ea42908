"""From settings to a running service: the one place that knows the adapters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from etagere.config import Settings
from etagere.core.quota import Quota
from etagere.errors import BrokenDatabase, Problem, StartError
from etagere.logs import get_logger
from etagere.model import Registry

if TYPE_CHECKING:
    from etagere.asgi.access_log import AccessLog
    from etagere.asgi.app import Application
    from etagere.asgi.cors import Cors
    from etagere.asgi.responses import Scope, Send
    from etagere.asgi.traced import Traced
    from etagere.caches.sqlite import SqliteCache
    from etagere.control import Control
    from etagere.core.representation import Resource
    from etagere.database import Database
    from etagere.engines.local import LocalEngine
    from etagere.identity import Identify
    from etagere.locator import Locator
    from etagere.otel import Tracing
    from etagere.pacer import Pacer
    from etagere.runs.memory import MemoryRunTable
    from etagere.runs.outbox import Outbox
    from etagere.scrubber import Scrubber
    from etagere.service import Service
    from etagere.supervisor.supervisor import Supervisor
    from etagere.variants import Deriver

log = get_logger("etagere")


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()


@dataclass(slots=True)
class Running:
    """A service at work, and what it takes to stop it."""

    application: Application | Cors | AccessLog | Traced
    service: Service
    _engine: LocalEngine
    _background: tuple[asyncio.Task[None], ...]
    _supervisor: Supervisor
    _cache: SqliteCache
    _deriver: Deriver
    _control: Control
    _database: Database
    _tracing: Tracing | None

    async def stop(self) -> None:
        """Runs under way are killed and queued again; what is recorded stays for the next start."""
        self.service.drain()
        await self._control.stop()
        self._deriver.close()
        await self._engine.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._supervisor.close()
        await self._cache.close()
        await self._database.close()
        if self._tracing is not None:
            await self._tracing.close()


async def start(registry: Registry, settings: Settings, identify: Identify | None = None) -> Running:
    """Open the data directory, start the warm process, the collector, the workers and the scrubber.

    `identify` is a host application's word on who asks.

    Raises:
        StartError: the data directory is locked or not to be written, or the models do not import.
    """
    tracing = _tracing() if settings.traces else None
    try:
        try:
            return await _begin(registry, settings, identify, tracing)
        except BrokenDatabase:
            # Opening it again sets it aside.
            return await _begin(registry, settings, identify, tracing)
    except BaseException:
        if tracing is not None:
            await tracing.close()
        raise


async def _begin(registry: Registry, settings: Settings, identify: Identify | None, tracing: Tracing | None) -> Running:
    from etagere.database import Database

    database = await Database.open(settings.data)
    try:
        return await _assemble(registry, settings, database, SystemClock(), identify, tracing)
    except BaseException as error:
        await database.close()
        if database.broken:
            raise BrokenDatabase(f"The database in {settings.data} is broken.") from error
        if isinstance(error, OSError):
            raise StartError(f"{error.filename or settings.data} cannot be used: {error.strerror}.") from error
        raise


async def refuse(problem: Problem, scope: Scope, send: Send) -> None:
    """Answer a request while nothing runs."""
    from etagere.asgi.problems import of_problem

    await of_problem(problem, scope.get("root_path", "")).send(send, head=scope["method"] == "HEAD")


async def _assemble(
    registry: Registry,
    settings: Settings,
    database: Database,
    clock: SystemClock,
    identify: Identify | None = None,
    tracing: Tracing | None = None,
) -> Running:
    from importlib.metadata import version

    from etagere import front, source
    from etagere.asked import Asked
    from etagere.caches.prints import SqlitePrints
    from etagere.caches.sqlite import SqliteCache
    from etagere.collector import Collector
    from etagere.control import Control
    from etagere.core.tally import Tally
    from etagere.engines.local import LocalEngine
    from etagere.operations import Operations
    from etagere.runs.outbox import Outbox
    from etagere.service import Service
    from etagere.traces import UNTRACED
    from etagere.waiters import Waiters
    from etagere.worker import Worker

    def ended(id: str) -> None:
        waiters.wake(id)
        pacer.forget(id)

    identity = front.identity(settings, clock, identify)
    registry, retired = await source.versions(registry, database, settings)
    runs = _run_table(registry, settings, database, clock, ended)
    outbox, prints, waiters = Outbox(database), SqlitePrints(database), Waiters(settings.max_waiting)
    cache = SqliteCache(database, clock, settings.data / "blobs", settings.cache_size, settings.memory_cache_size)
    pacer = await _pacer(registry, settings.runs, database, runs, clock)
    await _take_up(database, outbox, runs, cache, clock)
    supervisor = await _supervisor(registry, settings, database, clock)
    traces = tracing or UNTRACED
    worker = Worker(registry, runs, outbox, supervisor, clock, prints, cancelled=ended, traces=traces)
    engine = LocalEngine(worker, {model.options.queue for model in registry.models.values()}, settings.runs)
    done, largest, tally = partial(_settled, engine, ended), settings.max_result, Tally()
    collector = Collector(registry, outbox, cache, cache, runs, clock, pacer, tally, max_result=largest, settled=done)
    asked = Asked(runs, runs, waiters, pacer)
    locator = _locator(registry, settings, runs, cache, frozenset(retired))
    deriver = _deriver(settings, cache)
    service = Service(locator, runs, cache, engine, clock, deriver, waiters, pacer, asked, tally)
    scrubber = _scrubber(cache, clock)
    background = _background(collector.collect(), asked.keep_telling(), _scrub(database, scrubber))
    await engine.start()
    operations = Operations(service, runs, cache.holdings, prints, scrubber, cache.nondeterministic, version("etagere"))
    control = Control(settings.data, operations)
    await control.start()
    measured = front.metrics(service, runs.overview, cache.held, cache.nondeterministic)
    application = _traced(front.application(service, operations, measured, settings, identity, retired), tracing)
    return Running(application, service, engine, background, supervisor, cache, deriver, control, database, tracing)


def _tracing() -> Tracing:
    try:
        from etagere.otel import Tracing
    except ImportError as error:
        raise StartError(
            f'traces need OpenTelemetry, and {error.name} is not there: pip install "etagere[otel]"'
        ) from None
    return Tracing()


def _traced(
    application: Application | Cors | AccessLog, tracing: Tracing | None
) -> Application | Cors | AccessLog | Traced:
    if tracing is None:
        return application
    from etagere.asgi.traced import Traced

    return Traced(application, tracing.tracer)


def _run_table(
    registry: Registry, settings: Settings, database: Database, clock: SystemClock, dropped: Callable[[str], None]
) -> MemoryRunTable:
    from etagere.runs.memory import MemoryRunTable

    return MemoryRunTable(
        database,
        clock,
        settings.max_pending,
        partial(_concurrency, registry),
        partial(_queue, registry),
        patience=settings.patience,
        quota=Quota.parse(settings.quota) if settings.quota else None,
        needless=partial(_is_needless, registry),
        dropped=dropped,
    )


def _locator(
    registry: Registry, settings: Settings, runs: MemoryRunTable, cache: SqliteCache, retired: frozenset[str]
) -> Locator:
    from etagere.locator import Locator

    # Twice the runs that may be pending, so that a ping of any of them is never parsed again.
    return Locator(registry, runs, cache, memo_size=max(10_000, 2 * settings.max_pending), retired=retired)


def _background(*work: Coroutine[None, None, None]) -> tuple[asyncio.Task[None], ...]:
    return tuple(asyncio.create_task(each) for each in work)


def _deriver(settings: Settings, cache: SqliteCache) -> Deriver:
    from etagere.formats.converter import Converter
    from etagere.variants import Deriver

    return Deriver(cache, Converter(), settings.data / "variants", settings.max_result)


async def _take_up(
    database: Database, outbox: Outbox, runs: MemoryRunTable, cache: SqliteCache, clock: SystemClock
) -> None:
    """What the last service left behind."""
    from etagere.core.outcomes import poisoned

    for run, resource in await runs.load():
        await outbox.put(poisoned(run, resource, clock.now()))
    if not database.clean:
        await cache.stored.sweep()


def _scrubber(cache: SqliteCache, clock: SystemClock) -> Scrubber:
    from etagere.scrubber import Scrubber

    return Scrubber(cache.stored, clock)


async def _scrub(database: Database, scrubber: Scrubber) -> None:
    try:
        await database.check()
    except Problem as problem:
        log.error("the database was not checked", reason=problem.detail)
    await scrubber.scrub()


async def _supervisor(registry: Registry, settings: Settings, database: Database, clock: SystemClock) -> Supervisor:
    from etagere.supervisor import program
    from etagere.supervisor.supervisor import Supervisor

    supervisor = Supervisor(
        program.describe(registry),
        settings.data / "runs",
        max_result=settings.max_result,
        max_run_dir=settings.max_run_dir,
        max_processes=settings.max_processes,
        clock=clock,
    )
    # Those without a file have nothing in their directory that anybody would come for, and remove.
    uncollected = database.rows("SELECT id, attempt FROM outcome WHERE content ->> 'path' IS NOT NULL")
    await supervisor.start({f"{id}.{attempt}" for id, attempt in uncollected})
    return supervisor


def _settled(engine: LocalEngine, ended: Callable[[str], None], resource: Resource) -> None:
    ended(resource.id)
    engine.wake(resource.queue)


async def _pacer(
    registry: Registry, at_once: int, database: Database, runs: MemoryRunTable, clock: SystemClock
) -> Pacer:
    from etagere.pacer import Pacer
    from etagere.runs.histories import Histories

    histories = Histories(database)
    places = partial(runs.places, at_once)
    return Pacer(await histories.load(registry.models), places, histories.save, clock.now(), runs.waiting)


def _concurrency(registry: Registry, key: str) -> int | None:
    model = registry.models.get(key)
    return model.options.concurrency if model else None


def _queue(registry: Registry, key: str) -> str | None:
    model = registry.models.get(key)
    return model.options.queue if model else None


def _is_needless(registry: Registry, key: str) -> bool:
    """Whether a run that nobody asks for any more is not to be computed."""
    model = registry.models.get(key)
    return model is not None and model.options.abandon == "kill"
