"""The worker: claim the best eligible run, supervise it, hand over the outcome, until none is left."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial

import structlog

from etagere.core.lifecycle import Event, Run, State
from etagere.core.outcomes import poisoned
from etagere.core.representation import Kind, Outcome, Resource
from etagere.errors import LostProcess, StorageFull
from etagere.model import Registry
from etagere.ports import Clock, ResultQueue, RunTable
from etagere.supervisor.supervisor import Crashed, Order, Superseded, Supervisor

log = structlog.get_logger("etagere.worker")


class Worker:
    """Works off queues of the run table, one attempt at a time for each caller of `work`."""

    def __init__(
        self, registry: Registry, runs: RunTable, results: ResultQueue, supervisor: Supervisor, clock: Clock
    ) -> None:
        self._registry = registry
        self._runs = runs
        self._results = results
        self._supervisor = supervisor
        self._clock = clock

    async def work(self, queues: Collection[str]) -> None:
        """Run attempts until no run of these queues is eligible, or none can be made now."""
        while claimed := await self._claim(queues):
            try:
                await self._attempt(*claimed)
            except OSError as error:
                log.error("no attempt can be made", reason=str(error))
                return

    async def _claim(self, queues: Collection[str]) -> tuple[Run, Resource] | None:
        try:
            return await self._runs.claim(queues)
        except StorageFull as full:
            log.warning("no run can be claimed", reason=full.detail)
            return None

    async def _attempt(self, run: Run, resource: Resource) -> None:
        model = self._registry.models.get(run.model)
        if model is None:
            log.info("run cancelled: its model's version is retired", id=run.id, model=run.model)
            await self._runs.advance(run.id, Event.cancel)
            return
        try:
            _, bound = model.bind(resource.uri.partition("?")[2].encode())
            report = partial(self._runs.report, run.id, run.attempt)
            outcome = await self._supervisor.run(Order.of(model, bound, run.attempt), report)
        except Crashed as crash:
            await self._put_back(run, resource, Event.crash, crash.detail, crash.output)
        except LostProcess as lost:
            await self._put_back(run, resource, Event.lose, str(lost), "")
        except Superseded:
            log.info("attempt superseded", id=run.id, model=run.model, attempt=run.attempt)
        except (OSError, asyncio.CancelledError):
            # A full disk or a stop is not this run's fault: the attempt is refunded.
            await asyncio.shield(self._runs.advance(run.id, Event.release, run.attempt))
            raise
        except Exception as fault:
            log.exception("a fault of the service's own", id=run.id)
            await self._put_back(run, resource, Event.lose, repr(fault), "")
        else:
            _tell(run, outcome)
            await self._results.put(outcome)

    async def _put_back(self, run: Run, resource: Resource, event: Event, detail: str, output: str) -> None:
        log.warning("attempt ended without an outcome", id=run.id, model=run.model, attempt=run.attempt, reason=detail)
        after = await self._runs.advance(run.id, event, run.attempt)
        if after is not None and after.state is State.failed:
            await self._results.put(poisoned(after, resource, self._clock.now(), output))


def _tell(run: Run, outcome: Outcome) -> None:
    told = log.info if outcome.kind in (Kind.succeeded, Kind.refused) else log.warning
    told("run ended", id=run.id, model=run.model, attempt=run.attempt, outcome=str(outcome.kind),
         seconds=round(outcome.seconds, 3))  # fmt: skip
    if outcome.traceback:
        log.warning("the model raised", id=run.id, traceback=outcome.traceback)
