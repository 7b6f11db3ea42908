"""The worker: claim the best eligible run, supervise it, hand over the outcome, until none is left."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from etagere.core.lifecycle import Event, Run, State
from etagere.core.outcomes import poisoned
from etagere.core.representation import Kind, Outcome, Printed, Resource
from etagere.errors import ImportFailed, LostProcess, Problem, StoreLost
from etagere.logs import get_logger
from etagere.model import Registry
from etagere.ports import Clock, Prints, ResultQueue, RunTable
from etagere.supervisor.attempt import RENEWAL_SECONDS, Crashed, Order, Superseded
from etagere.supervisor.supervisor import Supervisor
from etagere.traces import UNTRACED, Attempted, Traces

log = get_logger("etagere.worker")

_QUIET = (Kind.succeeded, Kind.refused)
_LONGEST_OUTPUT = 2000
_REMEMBERED = 1000
IMPORTED_AGAIN_S = 10.0


class _Stale(Exception):
    """The run is not one that the models of today have; the message says why."""


class Worker:
    """Works off queues of the run table, one attempt at a time for each caller of `work`.

    What happened to a run is recorded before it is logged, so that a broken log costs nothing but the log.
    `cancelled` is told the id of each run that ends without an outcome. While `draining`, no attempt is begun. Where
    there are other workers, `leave` is told the model (`name@version`) that is left to them: this one has another.
    """

    def __init__(
        self,
        registry: Registry,
        runs: RunTable,
        results: ResultQueue,
        supervisor: Supervisor,
        clock: Clock,
        prints: Prints,
        *,
        cancelled: Callable[[str], None],
        traces: Traces = UNTRACED,
        leave: Callable[[str], None] | None = None,
    ) -> None:
        self._registry = registry
        self._runs = runs
        self._results = results
        self._supervisor = supervisor
        self._clock = clock
        self._prints = prints
        self._cancelled = cancelled
        self._traces = traces
        self._leave_model = leave
        self._refused: OrderedDict[str, None] = OrderedDict()
        self.draining = False

    async def work(self, queues: Collection[str]) -> None:
        """Run attempts until no run of these queues is eligible."""
        while not self.draining and (claimed := await self._runs.claim(queues)):
            with self._traces.attempt(claimed[0]) as span:
                await self._attempt(*claimed, span)

    async def _attempt(self, run: Run, resource: Resource, span: Attempted) -> None:
        try:
            order = self._order(run, resource, span.traceparent)
            # Without a fraction a report is the renewal of the attempt.
            report = partial(self._runs.report, run.id, run.attempt)
            async with self._supervisor.run(order, report, report) as found:
                outcome = await self._hand_over(run, found)
                _tell(run, outcome)
                span.tell(str(outcome.kind), failed=outcome.kind not in _QUIET)
        except _Stale as stale:
            await self._refuse(run, str(stale), span)
        except Crashed as crash:
            span.tell("crashed", failed=True)
            await self._put_back(run, resource, Event.crash, crash.detail, crash.output)
        except LostProcess as lost:
            span.tell("lost", failed=True)
            await self._put_back(run, resource, Event.lose, str(lost), "")
        except Superseded:
            span.tell("superseded", failed=False)
            await self._leave(run)
        except asyncio.CancelledError:
            span.tell("released", failed=False)
            # Where nobody can be told, the attempt is found lost.
            with suppress(StoreLost):
                await asyncio.shield(self._runs.advance(run.id, Event.release, run.attempt))
            raise
        except OSError as error:
            # Whatever the run itself did is an outcome: this is the machine's, and may take a while.
            span.tell("postponed", failed=True)
            await self._runs.advance(run.id, Event.postpone, run.attempt)
            log.error("no attempt can be made now", id=run.id, model=run.model, reason=str(error))
        except Exception as fault:
            if isinstance(fault, ImportFailed) and self._leave_model is not None:
                await self._wait_for_models(run, fault, span)
                return
            span.tell("lost", failed=True)
            await self._put_back(run, resource, Event.lose, repr(fault), "")
            log.exception("a fault of the service's own", id=run.id)

    async def _hand_over(self, run: Run, found: Outcome) -> Outcome:
        """However long that takes, the attempt is not over before."""
        renewing = asyncio.create_task(self._renew(run))
        try:
            return await self._results.put(found)
        finally:
            renewing.cancel()

    async def _renew(self, run: Run) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            self._runs.report(run.id, run.attempt)

    def _order(self, run: Run, resource: Resource, trace: str) -> Order:
        model = self._registry.models.get(run.model)
        if model is None:
            raise _Stale("its model's version is retired")
        try:
            today, bound = model.bind(resource.query.encode(), resource.tenant)
        except Problem as problem:
            raise _Stale(f"its parameters are not valid for the model any more: {problem.detail}") from None
        if today.id != run.id:
            raise _Stale(f"its parameters are now those of {today.id}: the model changed, and its version did not")
        return Order.of(model, bound, run.attempt, resource.tenant, trace)

    async def _refuse(self, run: Run, reason: str, span: Attempted) -> None:
        """Cancel it, as a relic of another source; if it is asked for again, it is this source that is another."""
        if self._leave_model is None or run.id not in self._refused:
            self._refused[run.id] = None
            if len(self._refused) > _REMEMBERED:
                self._refused.popitem(last=False)
            span.tell("cancelled", failed=False)
            await self._runs.advance(run.id, Event.cancel, run.attempt)
            self._cancelled(run.id)
            log.warning("run cancelled", id=run.id, model=run.model, reason=reason)
            return
        span.tell("released", failed=False)
        self._leave_model(run.model)
        await self._runs.advance(run.id, Event.release, run.attempt)
        log.error("this worker has another model than the nodes: its runs are left to others", model=run.model)

    async def _wait_for_models(self, run: Run, failure: ImportFailed, span: Attempted) -> None:
        """Give others, whose models import, the time to take it: whoever fails at once is always free."""
        span.tell("postponed", failed=True)
        await self._runs.advance(run.id, Event.postpone, run.attempt)
        log.error("the models do not import any more", model=run.model, reason=str(failure))
        await asyncio.sleep(IMPORTED_AGAIN_S)

    async def _leave(self, run: Run) -> None:
        current = self._runs.get(run.id)
        if current is None or (current.state, current.attempt) != (State.running, run.attempt):
            log.info("attempt superseded", id=run.id, model=run.model, attempt=run.attempt)
            return
        # Only now that its process is gone: until then the next one would be a second at the same time.
        await self._runs.advance(run.id, Event.cancel, run.attempt)
        self._cancelled(run.id)
        log.info("run stopped: nobody wants it", id=run.id, model=run.model, attempt=run.attempt)

    async def _put_back(self, run: Run, resource: Resource, event: Event, detail: str, output: str) -> None:
        now = self._clock.now()
        if output:
            self._prints.note(Printed(run.id, run.attempt, "crashed", now, output))
        after = await self._runs.advance(run.id, event, run.attempt)
        given_up = after is not None and after.state is State.failed
        if after is not None and given_up:
            # How long it ran is how long its last attempt did.
            await self._results.put(poisoned(replace(after, started=run.started), resource, now, output))
        happened = "run given up" if given_up else "attempt ended without an outcome"
        log.warning(happened, id=run.id, model=run.model, attempt=run.attempt, reason=detail, **_printed(output))


def _tell(run: Run, outcome: Outcome) -> None:
    about: dict[str, Any] = {"id": run.id, "model": run.model, "attempt": run.attempt, "outcome": str(outcome.kind)}
    about |= {"seconds": round(outcome.seconds, 3), "client": run.client or None}
    if outcome.kind in _QUIET:
        log.info("run ended", **about)
        return
    traceback = {"traceback": outcome.traceback} if outcome.traceback else {}
    log.warning("run ended", **about, reason=outcome.detail, **traceback, **_printed(outcome.output))


def _printed(output: str) -> dict[str, str]:
    end = output[-_LONGEST_OUTPUT:].strip()
    return {"output": end} if end else {}
