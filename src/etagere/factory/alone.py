"""A service of one machine, with nothing beside it."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from etagere import front, versions
from etagere.asked import Asked
from etagere.caches.prints import SqlitePrints
from etagere.caches.sqlite import SqliteCache
from etagere.collector import Collector
from etagere.config import Settings
from etagere.control import Control
from etagere.core.outcomes import poisoned
from etagere.core.representation import Resource
from etagere.core.tally import Tally
from etagere.database import Database
from etagere.engines.local import LocalEngine
from etagere.errors import Problem
from etagere.factory import running as parts
from etagere.factory.running import Ground, Running
from etagere.logs import get_logger
from etagere.model import Registry
from etagere.operations import Operations
from etagere.pacer import Pacer
from etagere.ports import Clock
from etagere.runs.histories import Histories
from etagere.runs.memory import MemoryRunTable
from etagere.runs.outbox import Outbox
from etagere.runs.versions import Versions
from etagere.scrubber import Scrubber
from etagere.service import Service
from etagere.traces import UNTRACED
from etagere.waiters import Waiters
from etagere.worker import Worker

if TYPE_CHECKING:
    pass

log = get_logger("etagere")


class _Ended:
    """What is done when a run has ended, whatever ended it."""

    def __init__(self, waiters: Waiters) -> None:
        self.waiters = waiters
        self.pacer: Pacer | None = None
        self.engine: LocalEngine | None = None

    def __call__(self, id: str) -> None:
        self.waiters.wake(id)
        if self.pacer is not None:
            self.pacer.forget(id)

    def settled(self, resource: Resource) -> None:
        """A place under its model's limit is free."""
        self(resource.id)
        if self.engine is not None:
            self.engine.wake(resource.queue)


async def begin(ground: Ground) -> Running:
    """Start the warm process, the collector, the workers and the scrubber.

    Raises:
        StartError: the models do not import, or keys cannot be read.
    """
    settings, database, clock, stops = ground.settings, ground.database, ground.clock, ground.stops
    identity = front.identity(settings, clock, ground.identify)
    registry, retired = await versions.publish(ground.registry, Versions(database), settings)
    ended = _Ended(Waiters(settings.max_waiting))
    runs = _run_table(registry, settings, database, clock, ended)
    outbox, prints = Outbox(database), SqlitePrints(database)
    cache = SqliteCache(database, clock, settings.data / "blobs", settings.cache_size, settings.memory_cache_size)
    stops.push_async_callback(cache.close)
    ended.pacer = pacer = await _pacer(registry, settings.runs, database, runs, clock)
    await _take_up(database, outbox, runs, cache, clock)
    supervisor = parts.supervisor(registry, settings, clock)
    stops.push_async_callback(supervisor.close)
    await supervisor.start(_uncollected(database))
    traces = ground.tracing or UNTRACED
    worker = Worker(registry, runs, outbox, supervisor, clock, prints, cancelled=ended, traces=traces)
    ended.engine = engine = LocalEngine(worker, parts.queues(registry), settings.runs)
    tally, largest = Tally(), settings.max_result
    collector = Collector(registry, outbox, cache, runs, clock, pacer, tally, max_result=largest, settled=ended.settled)
    asked = Asked(runs, runs, ended.waiters, pacer)
    locator = parts.locator(registry, settings, runs, cache, retired)
    deriver = parts.deriver(settings, cache)
    service = Service(locator, runs, cache, engine, clock, deriver, ended.waiters, pacer, asked, tally)
    scrubber = Scrubber(cache.stored, clock)
    work = collector.collect, asked.keep_telling, partial(_scrub, database, scrubber)
    stops.push_async_callback(parts.in_background(*work))
    stops.push_async_callback(engine.stop)
    await engine.start()
    stops.callback(deriver.close)
    operations = Operations(service, runs, cache.holdings, prints, scrubber, cache.nondeterministic, version("etagere"))
    control = Control(settings.data, operations)
    stops.push_async_callback(control.stop)
    await control.start()
    measured = front.metrics(service, runs.overview, cache.held, cache.nondeterministic)
    application = front.application(service, operations, measured, settings, identity, retired)
    return Running(parts.traced(application, ground.tracing), service, stops.pop_all())


def _run_table(
    registry: Registry, settings: Settings, database: Database, clock: Clock, dropped: _Ended
) -> MemoryRunTable:
    return MemoryRunTable(
        database,
        clock,
        settings.max_pending,
        partial(parts.concurrency, registry),
        partial(parts.queue, registry),
        patience=settings.patience,
        quota=parts.quota(settings),
        needless=partial(parts.is_needless, registry),
        dropped=dropped,
    )


async def _take_up(database: Database, outbox: Outbox, runs: MemoryRunTable, cache: SqliteCache, clock: Clock) -> None:
    """What the last service left behind."""
    for run, resource in await runs.load():
        await outbox.put(poisoned(run, resource, clock.now()))
    if not database.clean:
        await cache.stored.sweep()


async def _scrub(database: Database, scrubber: Scrubber) -> None:
    try:
        await database.check()
    except Problem as problem:
        log.error("the database was not checked", reason=problem.detail)
    await scrubber.scrub()


def _uncollected(database: Database) -> set[str]:
    """The directories of runs that somebody will come for."""
    # Those without a file have nothing in theirs, and nobody would remove it.
    rows = database.rows("SELECT id, attempt FROM outcome WHERE content ->> 'path' IS NOT NULL")
    return {f"{id}.{attempt}" for id, attempt in rows}


async def _pacer(registry: Registry, at_once: int, database: Database, runs: MemoryRunTable, clock: Clock) -> Pacer:
    histories = Histories(database)
    places = partial(runs.places, at_once)
    return Pacer(await histories.load(registry.models), places, histories.save, clock.now(), runs.waiting)
