"""One of many nodes that answer requests: what is pending and what is finished is in the store that all share."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from etagere import front, versions
from etagere.asked import Asked
from etagere.caches.away import AwayCache
from etagere.control import Control
from etagere.core.representation import Kind
from etagere.core.tally import Tally
from etagere.engines.elsewhere import Elsewhere
from etagere.errors import Problem
from etagere.factory import running as parts
from etagere.factory.cluster import Cluster, has_ended
from etagere.factory.running import Ground, Running
from etagere.logs import get_logger
from etagere.operations import Operations
from etagere.pacer import Pacer
from etagere.presence import NodeHoldings, NodePresence
from etagere.runs.mirror import Mirrored
from etagere.runs.shared_histories import SharedHistories
from etagere.runs.shared_versions import SharedVersions
from etagere.scrubber import Scrubber
from etagere.service import Service
from etagere.waiters import Waiters

if TYPE_CHECKING:
    pass

log = get_logger("etagere")


class _Heard:
    """What a node does when it hears of a run, or of all."""

    def __init__(self, waiters: Waiters, tally: Tally) -> None:
        self.waiters = waiters
        self.tally = tally
        self.pacer: Pacer | None = None
        self.service: Service | None = None
        self.purged = asyncio.Event()
        self.purges = 0

    def run(self, event: str, entry: Mirrored) -> None:
        """Something has become of a run."""
        run = entry.run
        if not has_ended(event, entry):
            return
        if self.pacer is not None:
            self.pacer.forget(run.id)
            if entry.outcome and event in ("succeed", "fail"):
                self._learn(self.pacer, entry)
        self.waiters.wake(run.id)

    def pulse(self, draining: bool, purges: int) -> None:
        """How things stand with all."""
        if self.service is not None:
            self.service.draining = draining
        if purges != self.purges:
            self.purges = purges
            self.purged.set()

    def _learn(self, pacer: Pacer, entry: Mirrored) -> None:
        run, kind = entry.run, Kind(entry.outcome)
        seconds = max(0.0, entry.ended - (run.started or entry.ended))
        self.tally.end(run.id, run.model, kind, seconds)
        if kind is not Kind.poison:
            pacer.learn(run.model, seconds)


async def begin(ground: Ground) -> Running:
    """Follow the store, and answer requests.

    Raises:
        StartError: the store cannot be used, or keys cannot be read.
    """
    settings, database, clock, stops = ground.settings, ground.database, ground.clock, ground.stops
    identity = front.identity(settings, clock, ground.identify)
    waiters, tally = Waiters(settings.max_waiting), Tally()
    heard = _Heard(waiters, tally)
    cluster = Cluster(ground.registry, settings, clock, "node", heard.run, heard.pulse)
    stops.push_async_callback(parts.in_time("store", cluster.close))
    await cluster.open()
    registry, retired = await versions.publish(ground.registry, SharedVersions(cluster.store), settings)
    runs, shared = cluster.runs, cluster.shared
    cache = AwayCache(database, clock, settings.data / "blobs", settings.cache_size, settings.memory_cache_size)
    stops.push_async_callback(cache.close)
    histories = await SharedHistories(cluster.store).load(registry.models)
    heard.pacer = pacer = Pacer(histories, cluster.places, lambda model, history: None, clock.now(), runs.waiting)
    asked = Asked(runs, runs, waiters, pacer)
    presence = NodePresence(runs, cache, shared, settings.data / "incoming", away=settings.blob_redirect)
    cache.bring = presence.bring
    locator = parts.locator(registry, settings, runs, cache, retired, presence)
    deriver = parts.deriver(settings, cache)
    engine = Elsewhere(cluster.store)
    service = Service(locator, runs, cache, engine, clock, deriver, waiters, pacer, asked, tally, presence)
    heard.service = service
    scrubber = Scrubber(cache.stored, clock)
    holdings, ours = NodeHoldings(shared, cache), version("etagere")
    operations = Operations(service, runs, holdings, shared, scrubber, cache.nondeterministic, ours, cluster)
    control = Control(settings.data, operations)
    measured = front.metrics(service, runs.overview, cache.held, cache.nondeterministic, cluster.neighbours)
    elsewhere = shared if settings.blob_redirect else None
    served = front.application(service, operations, measured, settings, identity, retired, elsewhere)
    work = asked.keep_telling, scrubber.scrub, cluster.measure, partial(_forget, heard, cluster, cache)
    stops.push_async_callback(parts.in_time("background", parts.in_background(*work)))
    stops.callback(deriver.close)
    stops.push_async_callback(control.stop)
    await control.start()
    return Running(parts.traced(served, ground.tracing), service, stops.pop_all())


async def _forget(heard: _Heard, cluster: Cluster, cache: AwayCache) -> None:
    """Forget for ever what was purged on whichever node."""
    known = 0
    while True:
        await heard.purged.wait()
        heard.purged.clear()
        # There may be more of them before these are done.
        seen = heard.purges
        missed = seen - known if 0 < known <= seen else seen
        try:
            for model, before in await cluster.shared.purges(missed):
                await cache.forget(model, before)
            known = seen
        except Problem as problem:
            log.warning("what was purged is not forgotten yet", reason=problem.detail)
            heard.purged.set()
            await asyncio.sleep(parts.AGAIN_S)
        except BaseException:
            heard.purged.set()
            raise
