"""The run table of one service: in memory, journalled to its database.

Memory is what counts while the service lives; the journal is what a restart finds. So a run is
accepted only once the journal has it. Whatever else becomes of it is written there as soon as can
be, and waits for nothing: where that fails, a restart finds the run as it was before and computes it
once more, which harms nobody. Canonical URIs are in the journal only.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial

from etagere.core.lifecycle import Event, Run, State, step
from etagere.core.pacing import Places
from etagere.core.representation import Resource
from etagere.database import Database
from etagere.errors import InternalError, OverCapacity, StorageFull
from etagere.logs import get_logger
from etagere.ports import Clock
from etagere.runs import journal

RETRY_AFTER_S = 5
RANKS_VALID_S = 1.0

log = get_logger("etagere.runs")


class _Entry:
    """A pending run and its place: `order` of submission, last known `rank`, `held` by a worker."""

    __slots__ = ("held", "order", "rank", "run")

    def __init__(self, run: Run, order: int) -> None:
        self.run = run
        self.order = order
        self.rank = 0
        self.held = False


class MemoryRunTable:
    """The `RunTable` of a single service.

    `concurrency` gives the limit of a model (`name@version`) or None, `queue_of` its queue, or None
    where there is no such model any more. `load` must be awaited before anything else.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        max_pending: int,
        concurrency: Callable[[str], int | None],
        queue_of: Callable[[str], str | None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._max_pending = max_pending
        self._concurrency = concurrency
        self._queue_of = queue_of
        self._entries: dict[str, _Entry] = {}
        self._arriving: dict[str, tuple[str, asyncio.Task[Run]]] = {}
        self._ready: dict[str, dict[str, OrderedDict[str, None]]] = {}
        self._delayed: list[tuple[float, int, _Entry]] = []
        self._held: Counter[str] = Counter()
        self._orders = itertools.count()
        self._ranked_at = float("-inf")
        self._ranked: Counter[str] = Counter()

    async def load(self) -> list[tuple[Run, Resource]]:
        """Take up the runs that the last service left behind.

        Those whose end is in the cache are forgotten: what has been answered stays so.
        Each other goes to the queue that its model has now, and is cancelled where that model is gone.
        What was running is lost, or released if that service was closed in order, unless its
        outcome waits in the result queue. Returned are the runs for which that was one loss too
        many: they stay pending until the caller hands over their outcome, `Kind.poison`.
        """
        await self._database.write(partial(journal.forget_answered, now=self._clock.now()))
        # Through the writer, so that whatever was posted before is seen.
        found = await self._database.write(journal.select)
        for run, _ in found:
            self._place(self._add(run), replace(run, queue=sys.intern(self._queue_of(run.model) or run.queue)))
        undelivered = [run for run, delivered in found if not delivered]
        await self._cancel([run for run in undelivered if self._queue_of(run.model) is None])
        event = Event.release if self._database.clean else Event.lose
        interrupted = [run.id for run in undelivered if run.state is State.running]
        advanced = await asyncio.gather(*(self.advance(lost, event) for lost in interrupted))
        return [(run, self._resource(run)) for run in advanced if run is not None and run.ended]

    async def submit(self, resource: Resource) -> Run:
        """See `RunTable.submit`."""
        entry = self._entries.get(resource.id)
        if entry is not None:
            row = self._database.read("SELECT uri FROM run WHERE id = ?", (resource.id,))
            if row is not None:
                journal.check_collision(resource.id, row[0], resource.uri)
            return entry.run
        uri, recording = self._arriving.get(resource.id, (resource.uri, None))
        journal.check_collision(resource.id, uri, resource.uri)
        if recording is None:
            self._check_capacity()
            recording = asyncio.ensure_future(self._record(resource))
            self._arriving[resource.id] = resource.uri, recording
        # The others who wait for this commit do not depend on the one who asked first.
        return await asyncio.shield(recording)

    def get(self, id: str) -> Run | None:
        """See `RunTable.get`."""
        entry = self._entries.get(id)
        return None if entry is None else entry.run

    def position(self, id: str) -> int | None:
        """See `RunTable.position`: the rank in the run's own queue, at most a second old."""
        entry = self._entries.get(id)
        if entry is None or entry.held:
            return None
        if self._clock.monotonic() - self._ranked_at >= RANKS_VALID_S:
            self._rank()
        return entry.rank or self._ranked[entry.run.queue] + 1

    async def claim(self, queues: Collection[str]) -> tuple[Run, Resource] | None:
        """See `RunTable.claim`: the oldest run whose model is below its limit and whose delay is over."""
        entry = self._next(queues)
        if entry is None:
            return None
        claimed = step(entry.run, Event.claim, self._clock.now())
        resource = self._resource(claimed)
        self._place(entry, claimed)
        # Nobody waits for that: a restart that does not find it makes the attempt once more.
        self._database.post(partial(journal.save, run=claimed))
        return claimed, resource

    def report(self, id: str, attempt: int, fraction: float, message: str) -> bool:
        """See `RunTable.report`; kept in memory only."""
        entry = self._entries.get(id)
        if entry is None or entry.run.state is not State.running or entry.run.attempt != attempt:
            return False
        entry.run = replace(entry.run, progress=fraction, message=message)
        return True

    async def advance(self, id: str, event: Event, attempt: int | None = None) -> Run | None:
        """See `RunTable.advance`.

        A run whose attempts are used up is returned as `failed` but stays pending, with its counts,
        until its outcome ends it by `Event.fail`: between the two nobody can start it anew.
        """
        entry = self._entries.get(id)
        if entry is None or attempt not in (None, entry.run.attempt):
            return None
        before, after = entry.run, step(entry.run, event, self._clock.now())
        kept = after
        if after.ended and event in (Event.crash, Event.lose):
            kept = replace(before, crashes=after.crashes, losses=after.losses)
        self._place(entry, kept)
        try:
            await self._database.write(partial(journal.save, run=kept))
        except StorageFull as error:
            log.warning("a run was not journalled", id=id, run_event=event.value, cause=repr(error.__cause__))
        return after

    def counts(self) -> dict[State, int]:
        """How many runs are queued and running."""
        held = self._held.total()
        return {State.queued: len(self._entries) - held, State.running: held}

    def places(self, at_once: int, model: str) -> Places:
        """What there is for a model where `at_once` runs can go on in all."""
        limit = self._concurrency(model) or at_once
        return Places(min(at_once, limit), min(at_once - self._held.total(), limit - self._held[model]))

    async def _cancel(self, runs: Collection[Run]) -> None:
        await asyncio.gather(*(self.advance(run.id, Event.cancel) for run in runs))
        for model, number in Counter(run.model for run in runs).items():
            log.info("runs cancelled: their model's version is retired", model=model, runs=number)

    def _check_capacity(self) -> None:
        if len(self._entries) + len(self._arriving) >= self._max_pending:
            raise OverCapacity(f"{self._max_pending} runs are pending.", retry_after=RETRY_AFTER_S)

    async def _record(self, resource: Resource) -> Run:
        run = Run(resource.id, sys.intern(resource.model), sys.intern(resource.queue), self._clock.now())
        try:
            await self._database.write(partial(journal.insert, run=run, uri=resource.uri))
            self._place(self._add(run), run)
        finally:
            del self._arriving[resource.id]
        return run

    def _resource(self, run: Run) -> Resource:
        row = self._database.read("SELECT uri FROM run WHERE id = ?", (run.id,))
        if row is None:
            raise InternalError(f"The journal has no run {run.id}.")
        return Resource(run.id, row[0], run.model, run.queue)

    def _add(self, run: Run) -> _Entry:
        entry = self._entries[run.id] = _Entry(run, next(self._orders))
        return entry

    def _place(self, entry: _Entry, run: Run) -> None:
        """Make `run` the entry's, and put the entry where that belongs."""
        again = entry.held
        self._withdraw(entry)
        entry.run = run
        if run.ended:
            del self._entries[run.id]
        elif run.state is State.running:
            entry.held = True
            self._held[run.model] += 1
        elif run.delay:
            heapq.heappush(self._delayed, (self._clock.monotonic() + run.delay, entry.order, entry))
        else:
            self._enqueue(entry, first=again)

    def _withdraw(self, entry: _Entry) -> None:
        run = entry.run
        if entry.held:
            entry.held = False
            self._held[run.model] -= 1
            if not self._held[run.model]:
                del self._held[run.model]
            return
        models = self._ready.get(run.queue, {})
        waiting = models.get(run.model, OrderedDict())
        waiting.pop(run.id, None)
        if not waiting:
            models.pop(run.model, None)

    def _enqueue(self, entry: _Entry, first: bool) -> None:
        waiting = self._ready.setdefault(entry.run.queue, {}).setdefault(entry.run.model, OrderedDict())
        waiting[entry.run.id] = None
        if first:
            waiting.move_to_end(entry.run.id, last=False)
            entry.rank = 1

    def _next(self, queues: Collection[str]) -> _Entry | None:
        now = self._clock.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            entry = heapq.heappop(self._delayed)[2]
            if self._entries.get(entry.run.id) is entry and not entry.held:
                self._enqueue(entry, first=True)
        heads = (entry for queue in queues for entry in self._heads(queue))
        return min(heads, key=lambda entry: entry.order, default=None)

    def _heads(self, queue: str) -> Iterator[_Entry]:
        for model, waiting in self._ready.get(queue, {}).items():
            limit = self._concurrency(model)
            if limit is None or self._held[model] < limit:
                yield self._entries[next(iter(waiting))]

    def _rank(self) -> None:
        # Entries stand in the order of their submission.
        self._ranked = Counter()
        for entry in self._entries.values():
            if not entry.held:
                self._ranked[entry.run.queue] += 1
                entry.rank = self._ranked[entry.run.queue]
        self._ranked_at = self._clock.monotonic()
