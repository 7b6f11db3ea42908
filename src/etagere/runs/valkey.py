"""The run table that many machines share: in Valkey, changed by a few scripts, and mirrored where it is looked at."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

from etagere.core import pacing
from etagere.core.clients import NOBODY, Asker
from etagere.core.lifecycle import Event, InvalidTransition, Run, State
from etagere.core.pacing import Places
from etagere.core.representation import Resource
from etagere.core.tally import Overview
from etagere.errors import StoreLost, draining
from etagere.ports import Clock
from etagere.runs import admission
from etagere.runs.feed import UNCONFIRMED_S, Feed
from etagere.runs.journal import check_collision
from etagere.runs.mirror import Mirror, run_of
from etagere.runs.ordering import RANKS_VALID_S
from etagere.runs.patience import LOOKED_AT
from etagere.runs.rules import Rules, finite
from etagere.runs.shares import MOST_SHARES
from etagere.valkey import Script, Valkey

RENEWALS = 3
"""So often is a lease renewed in its time."""
PROGRESS_S = 0.5
_SILENT_S = 10.0
_REMEMBERED = 1000


class _Held:
    """An attempt of this worker, renewed and reported of last at these monotonic times, and its progress to be told."""

    __slots__ = ("attempt", "message", "news", "progress", "renewed", "reported")

    def __init__(self, attempt: int, renewed: float) -> None:
        self.attempt = attempt
        self.renewed = self.reported = renewed
        self.progress = ""
        self.message = ""
        self.news = False


class ValkeyRunTable:
    """The `RunTable` of many machines, with its `Interest` and `Pending`.

    `feed` keeps `mirror` true. An attempt whose `lease` (seconds) cannot be renewed in its time is stopped here, since
    another may have it by then. `worker` is the name of who claims, and empty where nobody does: who has one speaks of
    its own attempts alone.
    """

    def __init__(
        self,
        store: Valkey,
        scripts: Mapping[str, Script],
        mirror: Mirror,
        feed: Feed,
        clock: Clock,
        rules: Rules,
        *,
        lease: float,
        worker: str = "",
    ) -> None:
        self._store = store
        self._scripts = scripts
        self._mirror = mirror
        self._feed = feed
        self._clock = clock
        self._rules = rules
        self._models = rules.models
        self._lease = lease
        self._worker = worker
        self._held: dict[str, _Held] = {}
        self._stopped: OrderedDict[str, int] = OrderedDict()
        self._ranked_at = -math.inf
        self._ranked: Counter[str] = Counter()

    async def submit(self, resource: Resource, asker: Asker = NOBODY) -> Run:
        """See `RunTable.submit`.

        Raises:
            StoreLost: the store cannot be reached; perhaps the run was started all the same.
        """
        run = await self._offer(resource, asker, unless_finished=False)
        assert run is not None, "nothing else is in its way"
        return run

    async def submit_unless_finished(self, resource: Resource, asker: Asker) -> Run | None:
        """The same, but None where the store has a result, or a failure: in one round trip.

        Raises:
            Problem: as `submit`.
        """
        return await self._offer(resource, asker, unless_finished=True)

    async def _offer(self, resource: Resource, asker: Asker, *, unless_finished: bool) -> Run | None:
        told = self._rules.offer(resource, asker, unless_finished=unless_finished)
        status, *rest = await self._call("offer", told, resource.uri)
        match status:
            case b"finished":
                return None
            case b"collision":
                check_collision(resource.id, rest[0].decode(), resource.uri)
            case b"full":
                raise admission.over_capacity(int(rest[0]))
            case b"share":
                raise admission.share_exhausted(admission.share_of(self._rules.max_pending))
            case b"quota":
                assert self._rules.quota is not None
                wait = self._rules.quota.wait(float(rest[0]), float(rest[1]))
                raise admission.quota_exhausted(self._rules.quota, wait)
            case b"draining":
                raise draining()
            case _:
                pass  # started, or joined
        return self._taken(rest[0])

    def get(self, id: str) -> Run | None:
        """See `RunTable.get`; what was not confirmed for some seconds is not known."""
        entry = self._mirror.entries.get(id)
        if entry is None:
            return None
        # Each ping comes by here.
        known = self._feed.fresh or self._clock.monotonic() - entry.seen < UNCONFIRMED_S
        return entry.run if known else None

    async def look(self, id: str) -> None:
        """Ask the store itself for a run, which `get` knows then.

        Raises:
            StoreLost: it cannot be reached.
        """
        found = await self._store.script(self._scripts["look"], id)
        if found is not None:
            self._mirror.take(json.loads(found), self._clock.monotonic())
        else:
            self._mirror.drop(id)

    @property
    def fresh(self) -> bool:
        """Whether all that is pending is known."""
        return self._feed.fresh

    def position(self, id: str) -> int | None:
        """See `RunTable.position`: the rank in the run's own queue, at most a second old."""
        entry = self._mirror.entries.get(id)
        if entry is None or entry.held:
            return None
        now = self._clock.monotonic()
        if now - self._ranked_at >= RANKS_VALID_S:
            self._ranked, self._ranked_at = self._mirror.ranks(), now
        return entry.rank or self._ranked[entry.run.queue] + 1

    async def claim(self, queues: Collection[str]) -> tuple[Run, Resource] | None:
        """See `RunTable.claim`; attempts whose lease is over are found lost before."""
        asked = self._clock.monotonic()
        wanted = {
            "queues": sorted(queues),
            "models": False if self._models is None else self._models,
            "lease": self._lease,
            "worker": self._worker,
        }
        while found := await self._call("claim", json.dumps(wanted)):
            id, uri = (text.decode() for text in found[:2])
            run = self._taken(found[2])
            if self._stopped.get(id, 0) >= run.attempt:
                # A store that was emptied counts from one again, and that attempt is being stopped here.
                await self.advance(id, Event.release, run.attempt)
                continue
            held, self._held[id] = self._held.get(id), _Held(run.attempt, asked)
            # An attempt of ours that a store has forgotten, and was asked for again, is that attempt: it goes on.
            if held is None or held.attempt != run.attempt:
                return run, Resource(id, uri, run.model, run.queue)
        return None

    def leave(self, model: str) -> list[str]:
        """Claim no more runs of this model (`name@version`); those of which this worker still does."""
        self._models = [left for left in self._models or () if left != model]
        return self._models

    def report(self, id: str, attempt: int, fraction: float | None = None, message: str = "") -> bool:
        """See `RunTable.report`; the store is told by `keep_renewing`."""
        if self._goes_on(id, attempt, fraction, message):
            return True
        self._stop(id, attempt)
        return False

    def let_go(self, id: str, attempt: int) -> None:
        """An attempt of this worker is over: it is not renewed any more."""
        held = self._held.get(id)
        if held is not None and held.attempt == attempt:
            del self._held[id]

    async def advance(self, id: str, event: Event, attempt: int | None = None) -> Run | None:
        """See `RunTable.advance`."""
        given = "" if attempt is None else str(attempt)
        before = self._mirror.entries.get(id)
        status, *rest = await self._call("advance", id, event.value, given, self._worker)
        if status == b"none":
            return None
        state = rest[0].decode()
        if status == b"invalid":
            raise InvalidTransition(f"a {state} run cannot {event}")
        held = self._held.get(id)
        if held is not None:
            self.let_go(id, held.attempt if attempt is None else attempt)
        entry = self._mirror.entries.get(id) or before
        return None if entry is None else replace(entry.run, state=State(state))

    async def renew(self) -> None:
        """Renew the leases of the attempts of this worker, and tell of their progress.

        Raises:
            StoreLost: the store cannot be reached.
        """
        now = self._clock.monotonic()
        # Whoever has it reports each second: of one that does not, nobody knows here either.
        batch = [(id, held) for id, held in self._held.items() if now - held.reported < _SILENT_S + 2 * self._lease]
        if not batch:
            return
        told = [[id, held.attempt, held.progress, held.message] for id, held in batch]
        for _, held in batch:
            held.news = False
        [answers] = await self._call("renew", self._lease, json.dumps(told), self._needless(), self._worker)
        for (id, held), answer in zip(batch, answers, strict=True):
            if answer != b"lost":
                held.renewed = now
            elif self._held.get(id) is held:
                self._lose(id, held)

    async def keep_renewing(self) -> None:
        """Renew for ever, early enough for two of three renewals to fail."""
        renewed = -math.inf
        while True:
            await asyncio.sleep(min(PROGRESS_S, self._lease / RENEWALS / 2))
            now = self._clock.monotonic()
            if now - renewed < self._lease / RENEWALS and not any(held.news for held in self._held.values()):
                continue
            try:
                await self.renew()
                renewed = now
            except StoreLost:
                continue

    async def note(self, asked: Mapping[str, float]) -> None:
        """See `Interest.note`."""
        until = {id: finite(pacing.patience(self._rules.patience, told)) for id, told in asked.items()}
        # An empty table would be an array to Lua, which does not matter there.
        told = json.dumps(until), self._needless(), LOOKED_AT
        [changes] = await self._store.script(self._scripts["note"], *told)
        if changes:
            self._apply(changes)
            self._ranked_at = -math.inf

    @property
    def droppable(self) -> bool:
        """See `Interest.droppable`."""
        return self._mirror.abandoned > 0

    def join(self, id: str, asker: Asker) -> None:
        """See `Interest.join`; the store is told before whatever it is told next."""
        entry = self._mirror.entries.get(id)
        if entry is None:
            return
        if asker.urgency < entry.run.urgency:
            entry.run = replace(entry.run, urgency=asker.urgency)
        script = self._scripts["join"]
        self._store.script(script, id, asker.client, asker.urgency, MOST_SHARES).add_done_callback(self._joined)

    def counts(self) -> dict[State, int]:
        """See `Pending.counts`."""
        held = self._mirror.held.total()
        return {State.queued: len(self._mirror.entries) - held, State.running: held}

    def overview(self) -> Overview:
        """What is pending, in numbers; each run is looked at."""
        return self._mirror.overview()

    def pending(self, state: State | None = None) -> list[Run]:
        """See `Pending.pending`."""
        runs = [entry.run for entry in self._mirror.entries.values() if state in (None, entry.run.state)]
        return sorted(runs, key=attrgetter("created"))

    async def cancel(self, id: str) -> Run | None:
        """See `Pending.cancel`."""
        entry = self._mirror.entries.get(id)
        [status] = await self._call("cancel", id)
        return None if status == b"none" or entry is None else entry.run

    def waiting(self, queue: str) -> Mapping[str, int]:
        """How many runs of each model wait for their turn in this queue."""
        return self._mirror.waiting.get(queue, {})

    def places(self, at_once: int, model: str) -> Places:
        """What there is for a model where `at_once` runs can go on in all."""
        limit = self._rules.concurrency(model) or at_once
        held = self._mirror.held
        return Places(min(at_once, limit), min(at_once - held.total(), limit - held[model]))

    def _goes_on(self, id: str, attempt: int, fraction: float | None, message: str) -> bool:
        entry, held = self._mirror.entries.get(id), self._held.get(id)
        if entry is None or entry.run.state is not State.running or entry.run.attempt != attempt:
            return False
        if entry.worker != self._worker:
            return False
        if fraction is not None:
            entry.run = replace(entry.run, progress=fraction, message=message)
        if held is not None and held.attempt == attempt:
            held.reported = self._clock.monotonic()
            if held.reported - held.renewed >= self._lease:
                return False
            if fraction is not None:
                held.progress, held.message, held.news = repr(fraction), message, True
        return not (entry.cancelled or (entry.abandoned and entry.run.model in self._rules.needless))

    def _taken(self, record: bytes) -> Run:
        """A run as a script has answered with it. What was heard of one that an emptied store has had may hide it."""
        found = json.loads(record)
        self._mirror.take(found, self._clock.monotonic())
        return run_of(found)

    def _joined(self, reply: asyncio.Future[Any]) -> None:
        if not reply.cancelled() and reply.exception() is None:
            self._apply(reply.result()[0])

    def _stop(self, id: str, attempt: int) -> None:
        held = self._held.get(id)
        if held is None or held.attempt != attempt:
            return
        del self._held[id]
        self._stopped[id] = attempt
        if len(self._stopped) > _REMEMBERED:
            self._stopped.popitem(last=False)

    def _lose(self, id: str, held: _Held) -> None:
        self._stop(id, held.attempt)
        entry = self._mirror.entries.get(id)
        if entry is not None and entry.run.attempt == held.attempt:
            # The store does not know it: neither do we.
            self._mirror.drop(id)

    def _needless(self) -> str:
        return json.dumps(dict.fromkeys(self._rules.needless, True))

    async def _call(self, script: str, *arguments: str | bytes | int | float) -> list[Any]:
        """What a script returns behind the changes that it has made, which are in the mirror then."""
        replies: list[Any] = await self._store.script(self._scripts[script], *arguments)
        self._apply(replies[0])
        return replies[1:]

    def _apply(self, events: list[bytes]) -> None:
        for said in events:
            self._mirror.apply(json.loads(said))
