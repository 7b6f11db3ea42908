"""The processes that answer no requests: workers, and collectors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from etagere import versions
from etagere.collector import Collector
from etagere.config import Settings
from etagere.core.tally import Tally
from etagere.engines.local import LocalEngine
from etagere.errors import StartError
from etagere.factory import running as parts
from etagere.factory.cluster import Cluster, is_work
from etagere.factory.running import in_time
from etagere.logs import get_logger
from etagere.model import Registry
from etagere.pacer import Pacer
from etagere.ports import Clock, Engine
from etagere.runs.mirror import Mirrored
from etagere.runs.shared_histories import SharedHistories
from etagere.runs.shared_versions import SharedVersions
from etagere.source import Sources
from etagere.traces import UNTRACED
from etagere.worker import Worker

if TYPE_CHECKING:
    from etagere.otel import Tracing

SWEEP_EVERY_S = 3600.0
COLLECTED_AT_ONCE = 8

log = get_logger("etagere")


class Host:
    """A process at work; `stops` is what it takes to stop it."""

    def __init__(self, engine: Engine | None, stops: AsyncExitStack) -> None:
        self.engine = engine
        self._stops = stops

    def followed_by(self, close: Callable[[], object]) -> Host:
        """The same, with one thing more to do in the end."""
        stops = AsyncExitStack()
        stops.callback(close)
        stops.push_async_callback(self.stop)
        return Host(self.engine, stops)

    async def stop(self) -> None:
        """Runs under way are killed and queued again; what was taken and not kept is taken over by another."""
        await self._stops.aclose()


class _Bell:
    """Wakes the engine when there may be work."""

    def __init__(self) -> None:
        self.engine: Engine | None = None

    def __call__(self, event: str, entry: Mirrored) -> None:
        if self.engine is not None and is_work(event, entry):
            self.engine.wake(entry.run.queue, f"{entry.run.id}.{entry.seq}")


async def work(
    registry: Registry, settings: Settings, clock: Clock, tracing: Tracing | None = None, celery: Any = None
) -> Host:
    """Run the models, as many runs at once as the settings say; in the fleet of a Celery application, if one is given.

    Raises:
        StartError: there are no models or they do not import, or the store cannot be used.
    """
    if not registry.models:
        raise StartError("There are no models here, so there is nothing to work off.")
    bell = _Bell()
    cluster = Cluster(registry, settings, clock, "worker", bell, models=registry.models)
    queues = set(settings.queues) or parts.queues(registry)
    async with AsyncExitStack() as stops:
        if tracing is not None:
            stops.push_async_callback(in_time("traces", tracing.close))
        supervisor = parts.supervisor(registry, settings, clock)
        stops.push_async_callback(in_time("supervisor", supervisor.close))
        await supervisor.start()
        stops.push_async_callback(in_time("store", cluster.close))
        await cluster.open()
        versions.compare(registry, await SharedVersions(cluster.store).load(), Sources())
        results = cluster.stream(settings.data / "incoming", asyncio.Event())
        worker = Worker(
            registry, cluster.runs, results, supervisor, clock, cluster.shared,
            cancelled=lambda _: None, traces=tracing or UNTRACED, leave=partial(_leave, cluster),
        )  # fmt: skip
        bell.engine = engine = _engine(settings, cluster, worker, queues, celery)
        cluster.told |= {"runs": settings.runs, "queues": sorted(queues), "models": sorted(registry.models)}
        stops.push_async_callback(in_time("renewal", parts.in_background(cluster.runs.keep_renewing)))
        stops.push_async_callback(in_time("engine", engine.stop))
        await engine.start()
        return Host(engine, stops.pop_all())


def _leave(cluster: Cluster, model: str) -> None:
    """Take no more runs of a model, and say so."""
    cluster.told["models"] = cluster.runs.leave(model)


def _engine(settings: Settings, cluster: Cluster, worker: Worker, queues: Collection[str], celery: Any) -> Engine:
    if settings.engine is None and celery is None:
        return LocalEngine(worker, queues, settings.runs)
    from etagere.factory.fleet import celery_engine

    return celery_engine(settings, cluster, worker, queues, celery)


async def collect(registry: Registry, settings: Settings, clock: Clock) -> Host:
    """Take outcomes, and put them where all nodes find them.

    Raises:
        StartError: the store cannot be used.
    """
    news = asyncio.Event()
    cluster = Cluster(registry, settings, clock, "collector", partial(_ring, news))
    async with AsyncExitStack() as stops:
        stops.push_async_callback(in_time("store", cluster.close))
        await cluster.open()
        results = cluster.stream(settings.data / "incoming", news)
        await results.open()
        histories = SharedHistories(cluster.store)
        known = await histories.load(registry.models)
        places = partial(cluster.runs.places, 1)
        # What clients were told, other processes have told them.
        pacer = Pacer(known, places, histories.save, float("inf"))
        collector = Collector(
            registry, results, cluster.shared, cluster.runs, clock, pacer, Tally(),
            max_result=settings.max_result, settled=lambda _: None,
        )  # fmt: skip
        collecting = parts.in_background(*[collector.collect] * COLLECTED_AT_ONCE, partial(_sweep, cluster))
        stops.push_async_callback(in_time("collector", collecting))
        return Host(None, stops.pop_all())


def _ring(news: asyncio.Event, event: str, entry: Mirrored) -> None:
    if event == "deliver":
        news.set()


async def _sweep(cluster: Cluster) -> None:
    """Remove for ever what nobody refers to."""
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        if removed := await cluster.shared.sweep():
            log.info("blobs were removed that nobody refers to", blobs=removed)
