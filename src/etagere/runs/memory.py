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
import math
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter

from etagere.core.clients import NOBODY, Asker
from etagere.core.lifecycle import Event, Run, State, step
from etagere.core.pacing import Places
from etagere.core.quota import Quota
from etagere.core.representation import Resource
from etagere.core.tally import Overview
from etagere.database import Database
from etagere.errors import InternalError, Problem, StorageFull
from etagere.logs import get_logger
from etagere.ports import Clock
from etagere.runs import journal
from etagere.runs.admission import Admission
from etagere.runs.ordering import RANKS_VALID_S, Entry, Lines, overview, rank
from etagere.runs.patience import Patience
from etagere.runs.shares import MOST_SHARES, Shares

log = get_logger("etagere.runs")


class MemoryRunTable:
    """The `RunTable` of a single service, with its `Interest`, and its `Pending` for operators.

    `concurrency` gives the limit of a model (`name@version`) or None, `queue_of` its queue, or None
    where there is no such model any more. `load` must be awaited before anything else.

    A queued run that nobody has asked for during `patience`, in seconds, goes behind all others. It is dropped where
    it takes the place of another, and if `needless` says of its model that what nobody wants is not to be computed.
    `dropped` is told the ids, and those that an operator cancels. `quota` is that of new runs of each client.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        max_pending: int,
        concurrency: Callable[[str], int | None],
        queue_of: Callable[[str], str | None],
        *,
        patience: float = math.inf,
        quota: Quota | None = None,
        needless: Callable[[str], bool] = lambda _: False,
        dropped: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._admission = Admission(max_pending, quota)
        self._concurrency = concurrency
        self._queue_of = queue_of
        self._patience = Patience(patience)
        self._needless = needless
        self._dropped = dropped
        # In the order of their turns.
        self._entries: dict[str, Entry] = {}
        self._arriving: dict[str, tuple[str, asyncio.Task[Run]]] = {}
        self._shares = Shares()
        self._ready = Lines(self._shares)
        self._abandoned = Lines(Shares())
        self._delayed: list[tuple[float, int, Entry]] = []
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
        for client, whole in await self._database.write(partial(journal.quotas, now=self._clock.now())):
            self._admission.load(client, whole)
        # Through the writer, so that whatever was posted before is seen.
        found = await self._database.write(journal.select)
        for run, size, _ in found:
            self._admission.enter(run.client, size)
            queue = self._queue_of(run.model) or run.queue
            self._place(self._add(run, size), run if queue == run.queue else replace(run, queue=sys.intern(queue)))
        undelivered = [run for run, _, delivered in found if not delivered]
        await self._cancel([run for run in undelivered if self._queue_of(run.model) is None])
        event = Event.release if self._database.clean else Event.lose
        interrupted = [run.id for run in undelivered if run.state is State.running]
        advanced = await asyncio.gather(*(self.advance(lost, event) for lost in interrupted))
        return [(run, self._resource(run)) for run in advanced if run is not None and run.ended]

    async def submit(self, resource: Resource, asker: Asker = NOBODY) -> Run:
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
            whole = self._admit(len(resource.uri), asker.client)
            recording = asyncio.ensure_future(self._record(resource, asker, whole))
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
        now = self._clock.monotonic()
        if now - self._ranked_at >= RANKS_VALID_S:
            self._ranked, self._ranked_at = rank(self._entries.values(), self._shares), now
        return entry.rank or self._ranked[entry.run.queue] + 1

    async def claim(self, queues: Collection[str]) -> tuple[Run, Resource] | None:
        """See `RunTable.claim`: the first in turn whose model is below its limit and whose delay is over."""
        found = self._next(queues)
        if found is None:
            return None
        entry, client = found
        entry.charged = client
        claimed = step(entry.run, Event.claim, self._clock.now())
        resource = self._resource(claimed)
        self._place(entry, claimed)
        # Nobody waits for that: a restart that does not find it makes the attempt once more.
        self._database.post(partial(journal.save, run=claimed))
        return claimed, resource

    def report(self, id: str, attempt: int, fraction: float | None = None, message: str = "") -> bool:
        """See `RunTable.report`; kept in memory only."""
        entry = self._entries.get(id)
        if entry is None or entry.run.state is not State.running or entry.run.attempt != attempt:
            return False
        if fraction is not None:
            entry.run = replace(entry.run, progress=fraction, message=message)
        return not (entry.cancelled or (entry.abandoned and self._needless(entry.run.model)))

    async def advance(self, id: str, event: Event, attempt: int | None = None) -> Run | None:
        """See `RunTable.advance`.

        A run whose attempts are used up is returned as `failed` but stays pending, with its counts,
        until its outcome ends it by `Event.fail`: between the two nobody can start it anew.
        """
        entry = self._entries.get(id)
        if entry is None or attempt not in (None, entry.run.attempt):
            return None
        before, after = entry.run, step(entry.run, event, self._clock.now())
        if entry.cancelled and after.state is State.queued:
            after = step(before, Event.cancel, self._clock.now())
            self._dropped(id)
        kept = after
        if after.state is State.failed and event in (Event.crash, Event.lose):
            kept = replace(before, crashes=after.crashes, losses=after.losses)
        self._place(entry, kept)
        try:
            await self._database.write(partial(journal.save, run=kept))
        except StorageFull as error:
            log.warning("a run was not journalled", id=id, run_event=event.value, cause=repr(error.__cause__))
        return after

    async def note(self, asked: Mapping[str, float]) -> None:
        """See `Interest.note`."""
        now = self._clock.monotonic()
        for id, retry_after in asked.items():
            if entry := self._entries.get(id):
                self._patience.asked(id, now, retry_after)
                self._turn(entry, abandoned=False)
        for id in self._patience.exhausted(now):
            entry = self._entries[id]
            if self._needless(entry.run.model) and not entry.held:
                self._drop(entry)
            else:
                self._turn(entry, abandoned=True)

    @property
    def droppable(self) -> bool:
        """See `Interest.droppable`."""
        return bool(self._abandoned)

    def join(self, id: str, asker: Asker) -> None:
        """See `Interest.join`."""
        entry = self._entries.get(id)
        if entry is None:
            return
        lines = self._lines(entry)
        waits = entry in lines
        if asker.urgency < entry.run.urgency:
            lines.hurry(entry, asker.urgency)
        if asker.client not in entry.shares and len(entry.shares) < MOST_SHARES:
            entry.shares = (*entry.shares, sys.intern(asker.client))
            if waits:
                lines.stand(entry, asker.client)

    def counts(self) -> dict[State, int]:
        """See `Pending.counts`."""
        held = self._held.total()
        return {State.queued: len(self._entries) - held, State.running: held}

    def overview(self) -> Overview:
        """What is pending, in numbers; each run is looked at."""
        return overview(self._entries.values())

    def pending(self, state: State | None = None) -> list[Run]:
        """See `Pending.pending`."""
        runs = [entry.run for entry in self._entries.values() if state in (None, entry.run.state)]
        # Sorted anew, since those that nobody asked for have lost their turns.
        return sorted(runs, key=attrgetter("created"))

    async def cancel(self, id: str) -> Run | None:
        """See `Pending.cancel`."""
        entry = self._entries.get(id)
        if entry is None:
            return None
        run = entry.run
        if entry.held:
            entry.cancelled = True
            return run
        # Before it is recorded: whoever is woken may start it anew while that takes its time.
        self._dropped(id)
        await self.advance(id, Event.cancel)
        return run

    def waiting(self, queue: str) -> Mapping[str, int]:
        """How many runs of each model wait for their turn in this queue."""
        return self._ready.lengths(queue)

    def places(self, at_once: int, model: str) -> Places:
        """What there is for a model where `at_once` runs can go on in all."""
        limit = self._concurrency(model) or at_once
        return Places(min(at_once, limit), min(at_once - self._held.total(), limit - self._held[model]))

    async def _cancel(self, runs: Collection[Run]) -> None:
        await asyncio.gather(*(self.advance(run.id, Event.cancel) for run in runs))
        for model, number in Counter(run.model for run in runs).items():
            log.info("runs cancelled: their model's version is retired", model=model, runs=number)

    def _admit(self, size: int, client: str) -> float | None:
        """Count another run in, dropping abandoned ones for it; returned is what is to be recorded of a quota."""
        whole = self._admission.charge(client, self._clock.now())
        try:
            while full := self._admission.full(size):
                self._drop(self._abandoned.oldest(), full)
            while exhausted := self._admission.exhausted(client):
                self._drop(self._abandoned.oldest(client), exhausted)
        except Problem:
            self._admission.refund(client)
            raise
        self._admission.enter(client, size)
        return whole

    def _drop(self, entry: Entry | None, otherwise: Problem | None = None) -> None:
        """Let a run go; where there is none, raise the other thing."""
        if entry is None:
            assert otherwise is not None
            raise otherwise
        cancelled = step(entry.run, Event.cancel, self._clock.now())
        self._place(entry, cancelled)
        # Nobody waits for that: a restart that does not find it computes what nobody has asked for.
        self._database.post(partial(journal.save, run=cancelled))
        self._dropped(cancelled.id)
        log.info("run dropped: nobody asks for it", id=cancelled.id, model=cancelled.model)

    async def _record(self, resource: Resource, asker: Asker, whole: float | None) -> Run:
        names = sys.intern(resource.model), sys.intern(resource.queue)
        client = sys.intern(asker.client)
        run = Run(
            resource.id, *names, self._clock.now(), client=client, urgency=asker.urgency, trace=asker.trace,
            tenant=resource.tenant,
        )  # fmt: skip
        try:
            await self._database.write(partial(journal.insert, run=run, uri=resource.uri, whole=whole))
            self._place(self._add(run, len(resource.uri)), run)
        except BaseException:
            self._admission.leave(client, len(resource.uri))
            self._admission.refund(client)
            raise
        finally:
            del self._arriving[resource.id]
        return run

    def _resource(self, run: Run) -> Resource:
        row = self._database.read("SELECT uri FROM run WHERE id = ?", (run.id,))
        if row is None:
            raise InternalError(f"The journal has no run {run.id}.")
        return Resource(run.id, row[0], run.model, run.queue)

    def _add(self, run: Run, size: int) -> Entry:
        entry = self._entries[run.id] = Entry(run, next(self._orders), size)
        self._patience.asked(run.id, self._clock.monotonic())
        return entry

    def _place(self, entry: Entry, run: Run) -> None:
        """Make `run` the entry's, and put the entry where that belongs."""
        again = entry.held
        self._withdraw(entry)
        entry.run = run
        if run.ended:
            del self._entries[run.id]
            self._admission.leave(run.client, entry.size)
            self._patience.forget(run.id)
        elif run.state is State.running:
            entry.held = True
            self._held[run.model] += 1
            self._ready.begin(entry.charged)
        elif run.delay:
            heapq.heappush(self._delayed, (self._clock.monotonic() + run.delay, entry.order, entry))
        else:
            self._enqueue(entry, first=again)

    def _withdraw(self, entry: Entry) -> None:
        run = entry.run
        if not entry.held:
            self._lines(entry).leave(entry)
            return
        entry.held = False
        self._ready.end(entry.charged)
        self._held[run.model] -= 1
        if not self._held[run.model]:
            del self._held[run.model]

    def _enqueue(self, entry: Entry, *, first: bool) -> None:
        self._lines(entry).join(entry, first=first)
        if first and not entry.abandoned:
            entry.rank = 1

    def _turn(self, entry: Entry, *, abandoned: bool) -> None:
        """Let an entry go to the end of the others' lines, where it is not there yet; out of a line it has its turn."""
        if entry.abandoned is abandoned:
            return
        waiting = not entry.held and self._lines(entry).leave(entry)
        entry.abandoned = abandoned
        if waiting:
            entry.order = next(self._orders)
            self._entries[entry.run.id] = self._entries.pop(entry.run.id)
            self._enqueue(entry, first=False)
        self._ranked_at = float("-inf")

    def _lines(self, entry: Entry) -> Lines:
        return self._abandoned if entry.abandoned else self._ready

    def _next(self, queues: Collection[str]) -> tuple[Entry, str] | None:
        now = self._clock.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            entry = heapq.heappop(self._delayed)[2]
            if self._entries.get(entry.run.id) is entry and not entry.held:
                self._enqueue(entry, first=True)
        return self._ready.next(queues, self._is_free) or self._abandoned.next(queues, self._is_free)

    def _is_free(self, model: str) -> bool:
        limit = self._concurrency(model)
        return limit is None or self._held[model] < limit
