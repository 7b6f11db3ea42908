"""What the service needs from the world, at most six methods each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from etagere.core.clients import NOBODY, Asker
from etagere.core.lifecycle import Event, Run, State
from etagere.core.representation import Failure, Ghost, Outcome, Printed, Representation, Resource


class Clock(Protocol):
    """The time; the core never asks for it, it is told."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, for delays."""
        ...


class RunTable(Protocol):
    """id → run, for runs that have not ended. It is the queue, and what makes one run per resource true."""

    async def submit(self, resource: Resource, asker: Asker = NOBODY) -> Run:
        """Join the resource's run or start one; returns once it is recorded durably.

        A run that is started belongs to the share of its `asker` until it ends; one that is joined stands in the
        shares of those who asked for it, see `Interest.join`.

        Raises:
            OverCapacity: `max_pending` runs are pending already, and this would be another.
            ShareExhausted: half of `max_pending`, at least one, are pending that this client has started.
            QuotaExhausted: this client has started as many runs as it may for now.
            StorageFull: it could not be recorded; nothing was accepted.
        """
        ...

    def get(self, id: str) -> Run | None:
        """The pending run of this id that is recorded durably; one look-up in memory."""
        ...

    def position(self, id: str) -> int | None:
        """Its rank among the queued runs, from 1; None where it is not queued."""
        ...

    async def claim(self, queues: Collection[str]) -> tuple[Run, Resource] | None:
        """The best eligible run of these queues, now `running` with a new attempt; None where none is eligible.

        The turn is that of the client with the fewest running; of several, of the one that has waited longest for
        another, since it came, or since one of its runs last began or ended. Of its own runs it is the most urgent
        one, and of those the first that came.
        """
        ...

    def report(self, id: str, attempt: int, fraction: float | None = None, message: str = "") -> bool:
        """Progress of an attempt, and its renewal; without a fraction the renewal alone.

        False if the attempt is no longer the current one, or nobody wants it any more: it is to be stopped.
        """
        ...

    async def advance(self, id: str, event: Event, attempt: int | None = None) -> Run | None:
        """Apply an event of the life cycle; the run after it, or None if there is no such run or attempt.

        With an `attempt`, an event of another attempt changes nothing. Whoever looks sees the event from the
        beginning, however long recording it takes.
        """
        ...


class Interest(Protocol):
    """Which pending runs are still wanted; a run table is told in batches, and no batch is essential."""

    async def note(self, asked: Mapping[str, float]) -> None:
        """These ids have been asked for since the last time, each with the Retry-After in seconds that was sent for it.

        A queued run that nobody has asked for during the table's patience, or ten times what a client was told if that
        is longer, is eligible only when no other is. Asked for again, it has a place at the end of the others.
        Where `submit` would be refused, it drops the one that was abandoned longest instead. A running one that has
        been abandoned goes on, unless its model is not to be computed for nobody: then its renewal is refused, and
        a queued one is dropped. A new run counts as asked for, and so does each one that a start finds.
        """
        ...

    @property
    def droppable(self) -> bool:
        """Whether there are abandoned runs that a `submit` might drop."""
        ...

    def join(self, id: str, asker: Asker) -> None:
        """Another client asks for this pending run: it stands in that share too, and is as urgent as the most urgent
        of those who asked.

        That is about turns alone, and a restart forgets it. A run stands in no more than some shares. A ping is no
        such request.
        """
        ...


class Pending(Protocol):
    """The pending runs as operators see them; a protocol of its own beside the run table."""

    def counts(self) -> Mapping[State, int]:
        """How many runs are queued and running."""
        ...

    def pending(self, state: State | None = None) -> list[Run]:
        """Those in this state, or all, in the order of their submission."""
        ...

    async def cancel(self, id: str) -> Run | None:
        """The run as it was before, or None where there is none.

        A queued one is gone when this returns. A running one is not renewed any more: it stays in the table until its
        attempt has been stopped, and is cancelled then, whatever else ends the attempt without an outcome.
        """
        ...


class Fleet(Protocol):
    """The processes that share a store, for operators."""

    @property
    def fresh(self) -> bool:
        """Whether what is pending is known; else it is what was heard of last."""
        ...

    async def nodes(self) -> Mapping[str, Mapping[str, Any]]:
        """What each that is there tells of itself, by its name: its `kind`, and of workers how many `runs` at once."""
        ...

    def holder(self, id: str) -> str | None:
        """The name of the worker that has this run."""
        ...


class ResultQueue(Protocol):
    """Outcomes on their way from the engine to the collector, at least once."""

    async def put(self, outcome: Outcome) -> Outcome:
        """Hand over an outcome; when this returns it is recorded durably, or `done` already.

        It is returned, or the failure that had to be handed over in its place.
        """
        ...

    async def take(self) -> Outcome:
        """The next outcome; waits for one."""
        ...

    async def defer(self, outcome: Outcome) -> None:
        """Hand back what was taken and cannot be kept now: it is taken again after the others."""
        ...

    async def done(self, outcome: Outcome) -> None:
        """It is in the cache: forget it."""
        ...


class Cache(Protocol):
    """Finished representations and remembered failures, and the ghosts of those that were evicted."""

    def get(self, id: str) -> Representation | Failure | None:
        """What is ready under this id. Small bodies are checked against their digest when loaded."""
        ...

    def ghost(self, id: str) -> Ghost | None:
        """What is known of a resource that has had an outcome, its bytes evicted or not."""
        ...

    async def put(
        self, resource: Resource, finished: Representation | Failure, printed: Printed | None = None
    ) -> Representation | Failure:
        """Keep it, durably when this returns, and evict what is over the size limit.

        The first representation of an id wins: what is kept is returned. One that has other bytes than the
        last that is known of this id, evicted or not, is a `difference` of its ghost from then on. A
        representation with a `path` outside the cache is moved into it. What the run `printed` is recorded with it.

        Raises:
            StorageFull: there is no room now; nothing was changed.
        """
        ...

    def stream(self, representation: Representation, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a representation from `start` up to and without `stop`, in chunks; for bodies that are files.

        A stream that has begun is not ended by eviction. To ask for nothing (`start` is `stop`) is to be lent the
        file: its `path` goes on leading to it for some seconds at least, so that a server can open it.

        Raises:
            FileNotFoundError: it was evicted, or its size or modification time is not what was collected.
        """
        ...

    async def discard(self, id: str) -> None:
        """Forget a representation with its variants, or a failure, or by its key a variant; the ghost stays."""
        ...


class Keeper(Protocol):
    """Where finished results are put."""

    async def put(
        self, resource: Resource, finished: Representation | Failure, printed: Printed | None = None
    ) -> Representation | Failure:
        """See `Cache.put`."""
        ...

    async def kept(self, id: str) -> Representation | None:
        """What is there of this id."""
        ...

    async def put_variant(self, primary: Representation, given: Representation) -> Representation:
        """See `Variants.put_variant`."""
        ...


class Variants(Protocol):
    """Variants of representations in the cache: other formats, other content codings. They leave with the primary."""

    def variant(self, id: str, name: str) -> Representation | None:
        """What is kept of this resource under this name, checked like a primary one."""
        ...

    async def put_variant(self, primary: Representation, given: Representation) -> Representation:
        """Keep a variant of `primary`, which counts towards the size limit; the first of a name wins.

        A variant with a `path` outside the cache is moved into it.

        Raises:
            Evicted: the primary representation is not there any more, or is another one.
            StorageFull: there is no room now; nothing was changed.
        """
        ...

    async def file(self, representation: Representation) -> Path | None:
        """The file to make a variant from, or None where the body is in memory.

        Raises:
            FileNotFoundError: it was evicted, or is not what was collected.
        """
        ...


Pace = Callable[[int], Awaitable[None]]
"""Told how many bytes were read; returns when more may be."""


class Checked(NamedTuple):
    """What was compared with its SHA-256: up to which key, how many bodies and bytes, and how many were damaged."""

    last: str
    bodies: int
    size: int
    damaged: int


class Stored(Protocol):
    """All bodies in the cache, variants included, for whoever checks that they are still what was put."""

    async def sweep(self) -> int:
        """Remove bodies that nothing refers to, and forget what refers to none; how many there were."""
        ...

    async def check(self, after: str, pace: Pace) -> Checked | None:
        """Compare the next bodies behind the key `after` with their SHA-256; None behind the last.

        What is damaged is set aside and forgotten, so that it is computed again; the ghost stays.

        Raises:
            StorageFull: what is damaged could not be forgotten now.
        """
        ...


class Purged(NamedTuple):
    """How many results and failures have been forgotten, and how many bytes with them, those of variants too."""

    results: int = 0
    failures: int = 0
    size: int = 0


class Holdings(Protocol):
    """All that the cache holds, for operators."""

    async def totals(self) -> tuple[int, int]:
        """How many results there are, and the bytes of all bodies, those of variants too."""
        ...

    async def purge(self, model: str | None, before: float) -> Purged:
        """Forget the results and failures that ended before that time (seconds since the epoch); ghosts stay.

        `model` is a name, or `name@version`, or None for all. What is being sent is sent to its end.

        Raises:
            StorageFull: it could not be recorded; a part may be gone.
        """
        ...


class Prints(Protocol):
    """What the last attempt of each resource that said anything has printed: for operators, never for clients."""

    def note(self, printed: Printed) -> None:
        """Keep it, in the place of what an earlier attempt printed; recorded with what is recorded next."""
        ...

    async def printed(self, id: str) -> Printed | None:
        """What is kept of this resource. It leaves with the ghost, or as the oldest where there is too much."""
        ...


class Fetched(NamedTuple):
    """What many machines share of a resource: what is known of it, what is ready, and the variants that runs wrote."""

    ghost: Ghost | None = None
    found: Representation | Failure | None = None
    variants: Sequence[Representation] = ()


class Presence(Protocol):
    """Whether the run table and the cache can tell of a resource without asking anybody else."""

    def knows(self, id: str) -> bool:
        """Whether what they have of it is all there is."""
        ...

    async def load(self, id: str) -> None:
        """Have them know it.

        Raises:
            StoreLost: whoever is to be asked cannot be reached.
        """
        ...

    async def submit(self, resource: Resource, asker: Asker) -> Run | None:
        """Have the run table join the run of what they do not know, or start one; None where it has ended somewhere.

        Raises:
            Problem: see `RunTable.submit`.
        """
        ...


class Redirects(Protocol):
    """Where clients can fetch large results by themselves."""

    async def url(self, found: Representation) -> str | None:
        """A URL that is good for a while; None where the result is not there any more.

        Raises:
            StoreLost: that cannot be found out.
            StorageFull: that place cannot be used now.
        """
        ...


class Engine(Protocol):
    """Hosts workers and wakes them."""

    async def start(self) -> None:
        """Begin to work."""
        ...

    def wake(self, queue: str, reason: str = "") -> None:
        """There may be work in this queue: a hint, harmless when lost, repeated or late; one a reason will do."""
        ...

    async def stop(self) -> None:
        """End every attempt under way; the runs go back to the queue with their attempt refunded."""
        ...


class ServiceEngine(Engine, Protocol):
    """The engine of a service that answers requests."""

    async def drain(self, on: bool) -> None:
        """Have no more attempts begun and those under way go on to their end; or some begun again.

        Raises:
            StoreLost: whoever is to do so cannot be told.
        """
        ...
