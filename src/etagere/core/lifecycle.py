"""The life of a run, as one table: everything that changes a run's state stands here.

A run is born `queued`. A worker's claim makes it `running` and gives it a new attempt number,
the fencing token. It ends as `succeeded` or `failed` when its outcome has been collected, or as
`cancelled` when nobody wants it any more. Four things put a running run back into the queue:

* `crash`: the supervisor saw its process die. Three times, then it is poison.
* `lose`: nobody knows what became of it (a killed service, an expired lease). Ten times, with
  a growing delay, then it is poison.
* `release`: a clean stop or drain. It costs the run nothing.
* `postpone`: the machine has no room to begin it. It costs nothing but a delay, in which others have their turn.

An outcome is welcome in any state: runs are deterministic, so the result of an attempt that was
given up is as right as that of its successor, and the first one wins.

An event that a state does not have is not in the table, and is a fault in the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from etagere.core.clients import USUAL_URGENCY

CRASHES_ALLOWED = 3
LOSSES_ALLOWED = 10
LONGEST_DELAY = 60.0
POSTPONED_SECONDS = 2.0


class State(StrEnum):
    """Where a run stands; the last three are ends."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


class Event(StrEnum):
    """What can happen to a run."""

    claim = "claim"
    succeed = "succeed"
    fail = "fail"
    crash = "crash"
    lose = "lose"
    release = "release"
    postpone = "postpone"
    cancel = "cancel"


class InvalidTransition(Exception):
    """This event cannot happen in this state."""


@dataclass(frozen=True, slots=True)
class Run:
    """One computation of one resource.

    `model` is `name@version`. `attempt` counts claims and is the fencing token; `crashes` and
    `losses` count what is held against the run. Times are seconds since the epoch, `delay` is how
    many seconds it must wait before it may be claimed again, counted from when it was queued.
    `client`, `urgency` and `trace` are those of who started it, see `Asker`; the urgency is that of the most urgent
    of those who asked for it since. `tenant` is to whom a resource of a private model belongs.
    """

    id: str
    model: str
    queue: str
    created: float
    state: State = State.queued
    attempt: int = 0
    crashes: int = 0
    losses: int = 0
    delay: float = 0.0
    started: float | None = None
    progress: float | None = None
    message: str = ""
    client: str = ""
    urgency: int = USUAL_URGENCY
    trace: str = ""
    tenant: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state in (State.succeeded, State.failed, State.cancelled)


_TABLE: dict[tuple[State, Event], State] = {
    (State.queued, Event.claim): State.running,
    (State.queued, Event.succeed): State.succeeded,
    (State.queued, Event.fail): State.failed,
    (State.queued, Event.cancel): State.cancelled,
    (State.running, Event.succeed): State.succeeded,
    (State.running, Event.fail): State.failed,
    (State.running, Event.crash): State.queued,
    (State.running, Event.lose): State.queued,
    (State.running, Event.release): State.queued,
    (State.running, Event.postpone): State.queued,
    (State.running, Event.cancel): State.cancelled,
}


def step(run: Run, event: Event, now: float) -> Run:
    """The run after `event` at `now`.

    A crash or loss too many gives `failed`: its outcome is `Kind.poison`.

    Raises:
        InvalidTransition: the state does not have this event.
    """
    target = _TABLE.get((run.state, event))
    if target is None:
        raise InvalidTransition(f"a {run.state} run cannot {event}")
    if event is Event.claim:
        return replace(run, state=target, attempt=run.attempt + 1, started=now, progress=None, message="", delay=0.0)
    if target is not State.queued:
        return replace(run, state=target)
    return _requeued(run, event)


def _requeued(run: Run, event: Event) -> Run:
    crashes = run.crashes + (event is Event.crash)
    losses = run.losses + (event is Event.lose)
    used_up = crashes >= CRASHES_ALLOWED or losses >= LOSSES_ALLOWED
    return replace(
        run,
        state=State.failed if used_up else State.queued,
        crashes=crashes,
        losses=losses,
        delay=_delay(event, losses),
        started=None,
        progress=None,
        message="",
    )


def _delay(event: Event, losses: int) -> float:
    if event is Event.lose:
        return min(LONGEST_DELAY, 0.25 * 2.0**losses)
    return POSTPONED_SECONDS if event is Event.postpone else 0.0
