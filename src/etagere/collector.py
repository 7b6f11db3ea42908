"""The collector: the background process that takes outcomes off the result queue and puts them in the cache."""

from __future__ import annotations

import asyncio
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from etagere import contents
from etagere.contents import Contents
from etagere.core.lifecycle import Event, InvalidTransition, Run
from etagere.core.media import format_name
from etagere.core.outcomes import explain, poisoned, printed
from etagere.core.pacing import remember
from etagere.core.representation import QUICK_BYTES, Failure, Kind, Outcome, Representation, Resource
from etagere.core.tally import Tally
from etagere.errors import Evicted, StorageFull, StoreLost
from etagere.logs import get_logger
from etagere.model import Registry
from etagere.pacer import Pacer
from etagere.ports import Clock, Keeper, ResultQueue, RunTable
from etagere.results import SECOND, second_format

log = get_logger("etagere.collector")

KEPT_SECONDS = {Kind.refused: 365 * 86400.0, Kind.failed: 3600.0}
RETRY_SECONDS = 1.0

_LATER = (StorageFull, StoreLost)
"""What may go well in a moment, and says nothing against an outcome."""


class Collector:
    """Checks and hashes outcomes; what is in the cache is taken out of the run table.

    A result that there is no room for waits behind the others, which may be smaller; so does one that a store which is
    away was to get.
    `settled` is told the resource of each run that has ended: a place under its model's limit is free.
    """

    def __init__(
        self,
        registry: Registry,
        results: ResultQueue,
        cache: Keeper,
        runs: RunTable,
        clock: Clock,
        pacer: Pacer,
        tally: Tally,
        *,
        max_result: int,
        settled: Callable[[Resource], None],
    ) -> None:
        self._registry = registry
        self._results = results
        self._cache = cache
        self._runs = runs
        self._clock = clock
        self._pacer = pacer
        self._tally = tally
        self._max_result = max_result
        self._settled = settled
        # What waits for room; large results as they were found, not to be read and hashed again each time.
        self._waiting: dict[tuple[str, int], Representation | Failure | None] = {}

    async def collect(self) -> None:
        """Collect outcomes for ever."""
        deferred: set[tuple[str, int]] = set()
        while True:
            outcome = await self._results.take()
            if _key(outcome) in deferred:
                # Every other one has had its turn since.
                deferred.clear()
                await asyncio.sleep(RETRY_SECONDS)
            if not await self._collect(outcome):
                deferred.add(_key(outcome))

    async def _collect(self, outcome: Outcome) -> bool:
        """Keep an outcome, or lose it; False where neither can be done now."""
        try:
            await self._keep(outcome)
        except _LATER:
            await self._results.defer(outcome)
            return False
        except Exception:
            log.exception("outcome not collected", id=outcome.resource.id)
            return await self._give_up(outcome)
        return True

    async def _give_up(self, outcome: Outcome) -> bool:
        # One broken outcome must not stop all others: its run is lost, and tried again.
        try:
            await self._lose(outcome)
        except _LATER:
            await self._results.defer(outcome)
            return False
        except Exception:
            log.exception("a run whose outcome was not collected stays as it is", id=outcome.resource.id)
        return True

    async def _keep(self, outcome: Outcome) -> None:
        key, run = _key(outcome), self._runs.get(outcome.resource.id)
        finished = self._waiting.get(key) or await self._kept_before(outcome) or await self._finished(outcome, run)
        try:
            kept = await self._cache.put(outcome.resource, finished, printed(outcome))
            await self._keep_second(outcome, kept)
        except StorageFull as full:
            if key not in self._waiting:
                log.error("result kept until there is room", id=key[0], reason=full.detail)
            unmoved = isinstance(finished, Representation) and finished.path is not None and finished.path.exists()
            self._waiting[key] = finished if unmoved else None
            raise
        event = Event.succeed if outcome.kind is Kind.succeeded else Event.fail
        # Who waits for the end need not wait until it is recorded, too.
        await asyncio.gather(self._runs.advance(outcome.resource.id, event), self._tell(outcome, run))
        await self._forget(outcome)

    async def _tell(self, outcome: Outcome, run: Run | None) -> None:
        self._settled(outcome.resource)
        if run is None:
            return
        self._tally.end(outcome.resource.id, outcome.resource.model, outcome.kind, outcome.seconds)
        # Whatever a run ends with is what clients wait for; poison is of several attempts, and no run time.
        if outcome.kind is not Kind.poison:
            self._pacer.learn(outcome.resource.model, outcome.seconds)

    async def _keep_second(self, outcome: Outcome, primary: Representation | Failure) -> None:
        """Keep the second format, where the run of this model writes one."""
        model = self._registry.models.get(outcome.resource.model)
        format = second_format(model.returned) if model else None
        if format is None or outcome.path is None or not isinstance(primary, Representation):
            return
        path = outcome.path.with_name(SECOND)
        try:
            size, digest, body = await asyncio.to_thread(contents.read, path, self._max_result)
        except FileNotFoundError:
            return  # moved into the cache before a crash
        second = replace(
            primary, format=format.name, media_type=format.media_type, size=size, digest=digest, body=body,
            path=None if body is not None else path, mtime_ns=0, derived=True,
        )  # fmt: skip
        with suppress(Evicted):
            await self._cache.put_variant(primary, second)

    async def _kept_before(self, outcome: Outcome) -> Representation | None:
        """What a crash has let us collect twice: its file is in the cache already."""
        if outcome.path is None or outcome.path.exists():
            return None
        return await self._cache.kept(outcome.resource.id)

    async def _lose(self, outcome: Outcome) -> None:
        try:
            after = await self._runs.advance(outcome.resource.id, Event.lose, outcome.attempt)
        except InvalidTransition:
            after = None  # it is queued again already
        if after is not None and after.ended:
            await self._results.put(poisoned(after, outcome.resource, self._clock.now()))
        await self._forget(outcome)

    async def _forget(self, outcome: Outcome) -> None:
        self._waiting.pop(_key(outcome), None)
        await self._results.done(outcome)
        if outcome.path is not None:
            await asyncio.to_thread(shutil.rmtree, outcome.path.parent, ignore_errors=True)

    async def _finished(self, outcome: Outcome, run: Run | None) -> Representation | Failure:
        if outcome.kind is not Kind.succeeded:
            return self._failure(outcome, run)
        assert outcome.media_type is not None
        size, digest, body = await self._read(outcome)
        return Representation(
            id=outcome.resource.id,
            format=format_name(outcome.media_type),
            media_type=outcome.media_type,
            digest=digest,
            size=size,
            created=outcome.finished,
            seconds=outcome.seconds,
            body=body,
            path=None if body is not None else outcome.path,
            accepted=run.created if run else outcome.started,
            attempt=outcome.attempt,
            awaited=self._awaited(run),
        )

    async def _read(self, outcome: Outcome) -> Contents:
        if outcome.body is not None:
            return Contents.of(outcome.body)
        assert outcome.path is not None
        found = outcome.path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("the result is not a regular file")
        read = partial(contents.read, outcome.path, self._max_result)
        return read() if found.st_size <= QUICK_BYTES else await asyncio.to_thread(read)

    def _awaited(self, run: Run | None) -> float:
        """Seconds in which a client may ask yet for the end of this run."""
        return remember(self._pacer.told_at_most(run)) if run else 0.0

    def _failure(self, outcome: Outcome, run: Run | None) -> Failure:
        now = self._clock.now()
        kept = KEPT_SECONDS.get(outcome.kind)
        if kept is None:
            model = self._registry.models.get(outcome.resource.model)
            kept = model.options.failure_ttl if model else 0.0
        return Failure(
            id=outcome.resource.id,
            kind=outcome.kind,
            detail=explain(outcome),
            created=now,
            seconds=outcome.seconds,
            expires=now + max(kept, self._awaited(run)),
            attempt=outcome.attempt,
            accepted=run.created if run else outcome.started,
            facts=outcome.facts,
        )


def _key(outcome: Outcome) -> tuple[str, int]:
    return outcome.resource.id, outcome.attempt
