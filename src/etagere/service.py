"""The thin driver: a request becomes a decision, and the decision its effects, through the ports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import NamedTuple

from etagere.asked import Asked
from etagere.core.clients import NOBODY, Asker
from etagere.core.conditions import Conditions, Decision, Standing, decide
from etagere.core.etag import EntityTag, find_ready
from etagere.core.lifecycle import Run
from etagere.core.media import Format
from etagere.core.pacing import Pace
from etagere.core.representation import Failure, Kind, Representation, Resource
from etagere.core.tally import Tally
from etagere.errors import Evicted, NotStarted, Problem, QuotaExhausted, Retired, ShareExhausted, Stopping, draining
from etagere.flights import Flights
from etagere.here import HERE
from etagere.locator import Address, Locator, Start
from etagere.logs import get_logger
from etagere.model import Registry
from etagere.pacer import Pacer
from etagere.ports import Cache, Clock, Presence, RunTable, ServiceEngine
from etagere.variants import Deriver
from etagere.waiters import Waiters

_ITS_OWN = (ShareExhausted, QuotaExhausted)
"""What refuses one client and not all."""

_Submit = Callable[[Resource, Asker], Awaitable[Run | None]]

log = get_logger("etagere.service")


class Seen(NamedTuple):
    """A pending run, or what is ready, or neither."""

    run: Run | None
    found: Representation | Failure | None


class Answer(NamedTuple):
    """A decision with what is needed to say it; `started` where this request, and no other, has started the run."""

    decision: Decision
    run: Run | None = None
    found: Representation | Failure | None = None
    tag: EntityTag | None = None
    started: bool = False


class Service:
    """Answers for resources."""

    def __init__(
        self,
        locator: Locator,
        runs: RunTable,
        cache: Cache,
        engine: ServiceEngine,
        clock: Clock,
        deriver: Deriver,
        waiters: Waiters,
        pacer: Pacer,
        asked: Asked,
        tally: Tally,
        presence: Presence = HERE,
    ) -> None:
        self.locator = locator
        self.runs = runs
        self.cache = cache
        self.clock = clock
        self.waiters = waiters
        self.pacer = pacer
        self.asked = asked
        self.tally = tally
        self.stopping = False
        self.draining = False
        self._engine = engine
        self._presence = presence
        self._deriver = deriver
        self._starting: Flights[str, Run | None] = Flights()
        self._reported = lru_cache(maxsize=1024)(_report)

    @property
    def registry(self) -> Registry:
        """The models that are served."""
        return self.locator.registry

    def wind_down(self) -> None:
        """Start nothing more, and have those that wait answered now: a stop follows."""
        self.stopping = True
        self.waiters.close()

    async def set_draining(self, on: bool) -> None:
        """While draining, nothing new is accepted and no attempt begun; what is there and under way is as ever.

        Raises:
            StoreLost: others cannot be told.
        """
        await self._engine.drain(on)
        self.draining = on

    def glance(self, id: str) -> Seen | None:
        """What there is of a resource; None while its run is being recorded, or somebody else is to be asked."""
        run = self.asked.pending(id)
        if run is not None:
            return Seen(run, None)
        return None if id in self._starting or not self._presence.knows(id) else Seen(None, self.cache.get(id))

    async def find(self, id: str) -> None:
        """Have what there is of a resource at hand.

        Raises:
            StoreLost: it is elsewhere, and cannot be reached.
        """
        if not self._presence.knows(id):
            await self._presence.load(id)

    async def look(self, id: str) -> Seen:
        """What there is. Who asks while its run is being recorded waits for that, and parses nothing.

        Raises:
            StoreLost: as `find`.
        """
        run = self.asked.pending(id)
        if run is None and (starting := self._starting.current(id)):
            # Whoever needs a run is told by its own start.
            with suppress(Problem):
                run = await starting
        if run is None:
            await self.find(id)
            run = self.asked.pending(id)
        return Seen(run, None if run else self.cache.get(id))

    def tell(self, run: Run) -> tuple[Run, int | None, Pace]:
        """What a client is told of a pending run: itself, its position, and when to ask again."""
        position = self.runs.position(run.id)
        return run, position, self.pacer.tell(run, position, self.clock.now())

    async def present(self, address: Address, seen: Seen) -> Seen:
        """The same, with what is ready in the format and coding of the address.

        Raises:
            NotAcceptable: the result cannot be given so.
            StorageFull: there is no room for it now.
        """
        primary = seen.found
        while isinstance(primary, Representation):
            try:
                given = await self._deriver.derive(primary, Format(address.format, address.media_type), address.codings)
            except Evicted:
                log.info("evicted while a variant was made", id=address.id)
            except FileNotFoundError as lost:
                log.error("stored result lost", id=address.id, reason=str(lost))
                await self.cache.discard(address.id)
            else:
                return seen._replace(found=given)
            seen = await self.look(address.id)
            primary = seen.found
        return seen

    async def answer(
        self,
        address: Address,
        seen: Seen,
        conditions: Conditions,
        start: Start,
        may_start: Callable[[], bool],
        asker: Asker = NOBODY,
    ) -> Answer:
        """Decide on what was seen just now, and start a run where that is the decision.

        Raises:
            Problem: the run could not be started, or `may_start` forbids it or raises it.
        """
        id, (run, found) = address.id, seen
        names = (found.name,) if isinstance(found, Representation) else address.names
        digest = partial(self._digest, found, address)
        decision, tag = decide(_standing(run, found), id, names, conditions, digest)
        if tag is None and conditions.if_none_match and address.primary in names:
            self._doubt(conditions.if_none_match, address)
        if decision is Decision.accepted and run is not None:
            self.asked.join(run, asker)
        if decision is not Decision.start:
            return Answer(decision, run, found, tag)
        self._admit(address, may_start)
        run, started = await self._start(id, start, asker)
        return Answer(Decision.accepted, run, started=started)

    async def venture(
        self, address: Address, start: Start, may_start: Callable[[], bool], asker: Asker = NOBODY
    ) -> Answer | None:
        """Start a run of what is not known here unless there is a result elsewhere, which is found out by that.

        That spares who asks without conditions a look. None where there is something, or no run may be started.

        Raises:
            Problem: the run could not be started.
        """
        if address.id in self._starting or self._presence.knows(address.id):
            return None
        try:
            self._admit(address, may_start)
        except Problem:
            return None  # what there is may be read all the same
        run = await self._starting.join(address.id, lambda: self._submit(start, asker, self._presence.submit))
        if run is None:
            return None
        # Perhaps another node was first.
        self.asked.join(run, asker)
        return Answer(Decision.accepted, run, started=True)

    async def _start(self, id: str, start: Start, asker: Asker) -> tuple[Run, bool]:
        """A new run, or the one that is being started, and whether it was this request that did."""
        while (starting := self._starting.current(id)) is not None:
            # What keeps another client from it does not keep this one.
            with suppress(*_ITS_OWN):
                if (run := await starting) is not None:
                    self.asked.join(run, asker)
                    return run, False
        run = await self._starting.join(id, lambda: self._submit(start, asker, self.runs.submit))
        assert run is not None, "a run table starts one, or raises"
        return run, True

    def _admit(self, address: Address, may_start: Callable[[], bool]) -> None:
        if address.retired:
            raise Retired(f"{address.model} is no longer served; ask without a version for the newest.")
        if not may_start():
            raise NotStarted("A prefetch, or a page from elsewhere, gets what is there and starts nothing.")
        if self.stopping:
            raise Stopping("The service is stopping. Ask again in a moment.", retry_after=5)
        if self.draining:
            raise draining()

    async def _submit(self, start: Start, asker: Asker, submit: _Submit) -> Run | None:
        resource = await start()
        await self.asked.tell_before_a_start()
        run = await submit(resource, asker)
        if run is not None:
            # It will be sent a Retry-After, too.
            self.asked.note(run.id)
            self._engine.wake(run.queue)
        return run

    def _doubt(self, tags: tuple[EntityTag, ...], address: Address) -> None:
        """Report a ready tag of this resource that its digest speaks against: some run gave other bytes."""
        if shown := find_ready(tags, address.id, address.primary):
            self._reported(address.id, address.model, shown)

    def _digest(self, found: Representation | Failure | None, address: Address, name: str) -> bytes | None:
        if isinstance(found, Representation):
            return found.digest
        ghost = self.cache.ghost(address.id) if name == address.primary else None
        return ghost.digest if ghost else None


def _report(id: str, model: str, shown: EntityTag) -> None:
    log.warning("nondeterministic: a client has another result than ours", id=id, model=model, tag=str(shown))


def _standing(run: Run | None, found: Representation | Failure | None) -> Standing:
    if run is not None:
        return Standing.pending
    if isinstance(found, Representation):
        return Standing.ready
    if found is None:
        return Standing.absent
    return Standing.refused if found.kind is Kind.refused else Standing.failed
