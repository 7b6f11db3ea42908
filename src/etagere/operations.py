"""What an operator can do with a running service, however the word reaches it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from etagere.core.lifecycle import Run, State
from etagere.errors import MalformedRequest, StoreLost, UnknownId, UnknownModel
from etagere.logs import get_logger
from etagere.ports import Fleet, Holdings, Pending, Prints
from etagere.scrubber import Scrubber
from etagere.service import Service

MOST_RUNS = 1000
"""So many runs are told of at once, the newest."""

STOPPED_WITHIN_S = 10.0
"""So long a cancellation waits until the run's process is gone; it takes a second or two."""

Document = dict[str, Any]

log = get_logger("etagere.operations")


class Operations:
    """Each method is an operation, and returns a document that JSON can carry; times are seconds unless they are dates.

    `version` is that of the software; `nondeterministic` counts by model the results that were others than before;
    `fleet` is that of all processes that share a store, where there are many.
    """

    def __init__(
        self,
        service: Service,
        runs: Pending,
        holdings: Holdings,
        prints: Prints,
        scrubber: Scrubber,
        nondeterministic: Mapping[str, int],
        version: str,
        fleet: Fleet | None = None,
    ) -> None:
        self._service = service
        self._runs = runs
        self._holdings = holdings
        self._prints = prints
        self._scrubber = scrubber
        self._nondeterministic = nondeterministic
        self._version = version
        self._fleet = fleet
        self._since = service.clock.now()
        config = ConfigDict(allow_inf_nan=False)
        methods = (self.status, self.runs, self.logs, self.cancel, self.purge, self.drain)
        self._methods: dict[str, Callable[..., Awaitable[Document]]] = {
            method.__name__: validate_call(config=config)(method) for method in methods
        }

    async def status(self) -> Document:
        """How the service is; `oldest` is the age of the oldest queued run."""
        results, size = await self._holdings.totals()
        return {
            "version": self._version,
            "pid": os.getpid(),
            "since": _date(self._since),
            "uptime": self._service.clock.now() - self._since,
            "models": sorted(self._service.registry.models),
            **self.counted(),
            "oldest": max(map(self._age, self._runs.pending(State.queued)), default=None),
            "waiting": self._service.waiters.taken,
            "results": results,
            "bytes": size,
            "nondeterministic": dict(self._nondeterministic),
            "scrubber": {"rounds": self._scrubber.rounds, "damaged": self._scrubber.damaged},
            **({"nodes": await self._fleet.nodes()} if self._fleet else {}),
        }

    def counted(self) -> Document:
        """How many runs there are, and whether new ones are started."""
        counts, service = self._runs.counts(), self._service
        draining = service.draining or service.stopping
        return {"draining": draining, "queued": counts[State.queued], "running": counts[State.running]}

    async def runs(self, state: State | None = None) -> Document:
        """The pending runs in this state, or all, the newest last, and how many older ones are left out."""
        return self.listed(state)

    def listed(self, state: State | None = None) -> Document:
        """The same at once.

        Raises:
            StoreLost: what is pending is somewhere else, and not known now.
        """
        if self._fleet and not self._fleet.fresh:
            raise StoreLost(
                "What many machines share cannot be reached, so what is pending is not known.", retry_after=2
            )
        found = self._runs.pending(state)
        return {"runs": [self._told(run) for run in found[-MOST_RUNS:]], "left_out": max(0, len(found) - MOST_RUNS)}

    async def logs(self, id: str) -> Document:
        """What the last attempt of a resource that said anything has left.

        Raises:
            UnknownId: nothing is kept of this one.
        """
        printed = await self._prints.printed(id)
        if printed is None:
            run = self._service.runs.get(id)
            later = " Its run is pending; what that prints is kept when the attempt ends." if run else ""
            raise UnknownId(f"Nothing is kept of what runs of {id[:40]} have printed.{later}")
        return {
            "id": printed.id,
            "attempt": printed.attempt,
            "outcome": printed.outcome,
            "finished": _date(printed.finished),
            "output": printed.output,
            "traceback": printed.traceback,
        }

    async def cancel(self, id: str) -> Document:
        """Take a run out of the queue, or stop it; who still asks starts it anew.

        The run is told of as it was. `became` is `cancelled`; or `ended` if it came to an end just before, by a result
        or a failure; or `stopping` if its process has not gone yet.

        Raises:
            UnknownId: no run of this id is pending.
        """
        place = self._service.waiters.enter(id)
        try:
            run = await self._runs.cancel(id)
            if run is None:
                raise UnknownId(f"No run of {id[:40]} is pending.")
            log.info("run cancelled by an operator", id=id, model=run.model, state=str(run.state))
            if place is not None:
                await asyncio.wait([place], timeout=STOPPED_WITHIN_S)
            await self._service.find(id)
            return {**self._told(run), "became": self._became(run)}
        finally:
            if place is not None:
                self._service.waiters.leave(id, place)

    async def purge(self, model: str | None = None, older_than: float = 0.0) -> Document:
        """Forget results and failures of a model, `name` or `name@version`, or of all, that are so many seconds old.

        Raises:
            UnknownModel: there is no such model, and nothing was found of an earlier one.
        """
        if older_than < 0:
            raise MalformedRequest("What is to be forgotten cannot be younger than nothing.")
        purged = await self._holdings.purge(model, self._service.clock.now() - older_than)
        if model is not None and not (purged.results or purged.failures) and not self._is_model(model):
            raise UnknownModel(f"There is no model {model[:80]}, and nothing is kept of one.")
        done = {"results": purged.results, "failures": purged.failures, "bytes": purged.size}
        log.info("purged by an operator", model=model or "all", older_than=older_than, **done)
        return done

    async def drain(self, on: bool = True) -> Document:
        """Start nothing new, and let the runs under way come to their end; or start some again.

        `cluster` tells whether that is so for all that share a store, and not for this service alone.

        Raises:
            StoreLost: others cannot be told.
        """
        await self._service.set_draining(on)
        log.info("draining: no runs are started" if on else "no longer draining: runs are started again")
        counts = self._runs.counts()
        done = {"draining": on, "cluster": self._fleet is not None}
        return {**done, "queued": counts[State.queued], "running": counts[State.running]}

    async def perform(self, operation: str, arguments: Mapping[str, Any]) -> Document:
        """What the operation of this name returns, given arguments as JSON has them.

        Raises:
            MalformedRequest: there is no such operation, or the arguments are not its.
            Problem: it could not be done.
        """
        method = self._methods.get(operation)
        if method is None:
            raise MalformedRequest(f"The operations are {', '.join(self._methods)}.")
        try:
            return await method(**arguments)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise MalformedRequest(faults) from error

    def _age(self, run: Run) -> float:
        return max(0.0, self._service.clock.now() - run.created)

    def _told(self, run: Run) -> Document:
        return {
            "id": run.id,
            "model": run.model,
            "client": run.client,
            "state": str(run.state),
            "attempt": run.attempt,
            "progress": run.progress,
            "message": run.message,
            "age": self._age(run),
            "position": self._service.runs.position(run.id),
            **({"worker": self._fleet.holder(run.id)} if self._fleet else {}),
        }

    def _is_model(self, model: str) -> bool:
        return any(model in (each.name, each.key) for each in self._service.registry.models.values())

    def _became(self, run: Run) -> str:
        current = self._service.runs.get(run.id)
        if current is not None and current.created == run.created:
            return "stopping"
        found = self._service.cache.get(run.id)
        return "ended" if found is not None and found.accepted == run.created else "cancelled"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
