"""The supervisor: executes one attempt in a process of its own, within its limits."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etagere.config import MAX_PROCESSES, MAX_RUN_DIR
from etagere.core import media
from etagere.core.representation import QUICK_BYTES, Kind, Outcome, Resource
from etagere.errors import EtagereError
from etagere.logs import get_logger
from etagere.model import Model
from etagere.parameters import Bound
from etagere.ports import Clock
from etagere.supervisor.directory import RunDirectory, UnusableResult, sweep
from etagere.supervisor.fifo import Events, Fifo, Tail
from etagere.supervisor.limits import Limit, Limits, Watch
from etagere.supervisor.process import GRACE_SECONDS, Process, Warm
from etagere.supervisor.program import Description

Report = Callable[[float, str], bool]
Renew = Callable[[], bool]
Echo = Callable[[bytes], object]

RENEWAL_SECONDS = 1.0
_WATCH_SECONDS = 0.1
_SETTLE_SECONDS = 0.25

log = get_logger("etagere.supervisor")


class Crashed(EtagereError):
    """The process died, or ended without a word; `output` is the last that it printed."""

    def __init__(self, detail: str, output: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.output = output


class Superseded(EtagereError):
    """The attempt is no longer the current one, or nobody wants it any more; it was killed."""


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt to make.

    `parameters` is the canonical JSON object, `time_limit` in seconds, `memory_limit` in bytes,
    `media_type` that of its primary format, declared or known from what a function returns.
    """

    resource: Resource
    attempt: int
    parameters: bytes
    time_limit: float
    memory_limit: int | None
    media_type: str | None

    @classmethod
    def of(cls, model: Model, bound: Bound, attempt: int) -> Order:
        """An attempt to run a model with these parameters, within its own limits."""
        options = model.options
        media_type = options.media_type if model.function is None else model.media_type
        limits = options.time_limit, options.memory_limit, media_type
        return cls(model.resource(bound), attempt, bound.json, *limits)


class Supervisor:
    """Runs attempts, any number at once, in directories of their own below `directory`.

    A result has at most `max_result` bytes, everything in an attempt's directory `max_run_dir`, and it has at most
    `max_processes` processes at once. `echo` gets everything that models print, as it comes. `environment` is
    that of the models, in place of the service's own.
    """

    def __init__(
        self,
        program: Description,
        directory: Path,
        *,
        max_result: int,
        clock: Clock,
        max_run_dir: int = MAX_RUN_DIR,
        max_processes: int = MAX_PROCESSES,
        echo: Echo | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._models: dict[str, dict[str, Any]] = program["models"]
        self._directory = directory.absolute()
        self._max_result = max_result
        self._max_run_dir = max_run_dir
        self._max_processes = max_processes
        self._clock = clock
        self._echo = echo
        self._warm = Warm(program, environment)

    @property
    def threads(self) -> list[str]:
        """The names of the threads that importing the models and their setup have left."""
        return self._warm.threads

    async def start(self, kept: Collection[str] = ()) -> None:
        """Make the directory and start the warm process.

        What an earlier supervisor left in the directory is removed, but for the names in `kept`.

        Raises:
            ImportFailed: the models do not import; carries the traceback.
        """
        self._directory.mkdir(0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(sweep, self._directory, kept)
        await self._warm.start()

    async def close(self) -> None:
        """End the warm process and whatever still runs."""
        await self._warm.close()

    @asynccontextmanager
    async def run(self, order: Order, report: Report, renew: Renew = lambda: True) -> AsyncIterator[Outcome]:
        """Execute one attempt; cancelling this kills it.

        The outcome is known when the result is whole; on leaving, the process is gone. The directory
        of a succeeded one is the caller's to remove; it holds the result's file. `report` is told the
        progress, `renew` is called each second; either is False when the attempt is to be stopped.

        Raises:
            Crashed: the process died, or ended without a result.
            Superseded: `report` or `renew` said so.
            LostProcess: the warm process died under it, or no process could be started.
            ImportFailed: the warm process had died, and the models do not import any more.
        """
        directory = RunDirectory(self._directory / f"{order.resource.id}.{order.attempt}")
        succeeded = False
        try:
            directory.create(order.parameters)
            async with self._attempt(order, directory, report, renew) as outcome:
                succeeded = outcome.kind is Kind.succeeded
                yield outcome
        finally:
            if not succeeded:
                await asyncio.to_thread(directory.remove)

    @asynccontextmanager
    async def _attempt(
        self, order: Order, directory: RunDirectory, report: Report, renew: Renew
    ) -> AsyncIterator[Outcome]:
        is_command = "argv" in self._models[order.resource.model]
        attempt = _Attempt(order, directory, self._limits(order), report, Tail(self._echo), is_command)
        started = self._clock.now()
        with (
            Fifo(directory.path / "events", attempt.events.feed) as events,
            Fifo(directory.path / "output", attempt.output.feed) as output,
        ):
            process = await self._warm.run(order.resource.model, directory.path)
            status = await attempt.supervise(process, renew)
            events.drain()
            output.drain()
            try:
                end = attempt.conclude(status)
                yield Outcome(
                    order.resource,
                    order.attempt,
                    end.kind,
                    started,
                    self._clock.now(),
                    path=directory.result if end.kind is Kind.succeeded else None,
                    media_type=end.media_type,
                    detail=end.detail,
                    facts=end.facts,
                    traceback=attempt.events.traceback if end.kind is Kind.failed else "",
                    output=attempt.output.text(),
                )
            finally:
                await process.end()

    def _limits(self, order: Order) -> Limits:
        own = order.time_limit, order.memory_limit
        return Limits(*own, self._max_result, self._max_run_dir, self._max_processes)


@dataclass(frozen=True, slots=True)
class _End:
    kind: Kind
    detail: str = ""
    media_type: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


class _Attempt:
    """One process: its limits while it runs, and what its end means."""

    def __init__(
        self,
        order: Order,
        directory: RunDirectory,
        limits: Limits,
        report: Report,
        output: Tail,
        is_command: bool,
    ) -> None:
        self._order = order
        self._directory = directory
        self._limits = limits
        self._report = report
        self._is_command = is_command
        self._process: Process | None = None
        self._crossed: Limit | None = None
        self._superseded = False
        self._known = asyncio.get_running_loop().create_future()
        self.events = Events(self._progress, self._done)
        self.output = output

    async def supervise(self, process: Process, renew: Renew) -> int:
        """Keep the process within its limits until it ends; its wait status, 0 where the outcome is known before."""
        self._process = process
        limit = asyncio.get_running_loop().call_later(self._limits.time_limit, self._cross, self._limits.time)
        watch = asyncio.create_task(self._watch(process))
        renewal = asyncio.create_task(self._renew(renew))
        try:
            await asyncio.wait([process.ended, self._known], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            process.stop()
            await asyncio.wait([process.ended])
            raise
        finally:
            limit.cancel()
            watch.cancel()
            renewal.cancel()
        # Where we have ended it, it does not matter whether its end was reported.
        return process.ended.result() if process.ended.done() and not self._is_stopped else 0

    def conclude(self, status: int) -> _End:
        """What this end means.

        Raises:
            Crashed: the process did not give an account of itself.
            Superseded: see `Supervisor.run`.
        """
        if self._superseded:
            raise Superseded("the attempt is no longer the current one")
        if self._crossed is not None:
            return _beyond(self._crossed)
        if self.events.refused is not None:
            return _End(Kind.refused, self.events.refused)
        if self.events.failed is not None:
            return _End(Kind.failed, self.events.failed)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            raise self._crashed(f"its process was ended by signal {-code} ({signal.strsignal(-code)})")
        if code > 0 and self._is_command:
            return _End(Kind.failed, f"exit status {code}")
        if code > 0:
            raise self._crashed(f"its process ended with exit status {code} and without a result")
        return self._result()

    def _result(self) -> _End:
        declared, said = self._order.media_type, self.events.media_type if self._is_command else None
        given = declared or (media.BINARY if self._is_command else media.JSON)
        if said and _essence(given) != _essence(said):
            return _End(Kind.failed, _contradiction(declared, said))
        try:
            found = self._directory.take(self.events.result if self._is_command else None, self._limits.max_result)
        except UnusableResult as unusable:
            too_large = self._directory.size() > self._limits.max_result
            return _beyond(self._limits.result) if too_large else _End(Kind.failed, str(unusable))
        if not found:
            raise self._crashed("its process ended without a result")
        return _End(Kind.succeeded, media_type=given)

    def _crashed(self, detail: str) -> Crashed:
        return Crashed(detail, self.output.text())

    async def _renew(self, renew: Renew) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            if not renew():
                self._supersede()

    async def _watch(self, process: Process) -> None:
        watch, told = Watch(self._limits, self._directory), False
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                if process.pid is not None and (limit := await asyncio.to_thread(watch.crossed, process.pid)):
                    self._cross(limit)
            except Exception:
                # One look that fails must not be the last: the next one may find the limit exceeded.
                if not told:
                    told = True
                    log.exception("the limits of a run could not be checked", id=self._order.resource.id)

    def _progress(self, fraction: float, message: str) -> None:
        if not self._report(fraction, message):
            self._supersede()

    def _done(self) -> None:
        # Whoever says so: a result that is whole, and read in one go, needs no trust in the process that left it.
        concluded = self._is_command or self._is_stopped or self._known.done()
        if not concluded and self._directory.has_result(QUICK_BYTES):
            self._know()

    def _cross(self, limit: Limit) -> None:
        if self._process is not None and not self._is_stopped:
            self._crossed = limit
            self._process.stop(grace=limit.grace)
            # Ten thousand processes take their time to die, and nobody need wait for that to know.
            seconds = _SETTLE_SECONDS + (GRACE_SECONDS if limit.grace else 0.0)
            asyncio.get_running_loop().call_later(seconds, self._know)

    def _supersede(self) -> None:
        if self._process is not None and not self._is_stopped:
            self._superseded = True
            self._process.stop()

    def _know(self) -> None:
        if not self._known.done():
            self._known.set_result(None)

    @property
    def _is_stopped(self) -> bool:
        return self._superseded or self._crossed is not None


def _beyond(limit: Limit) -> _End:
    return _End(limit.kind, limit.detail, facts=limit.facts)


def _contradiction(declared: str | None, said: str) -> str:
    if declared:
        return f"the result is declared as {declared}, and the run says {said}"
    return f'the run says that its result is {said}; declare media_type="{_essence(said)}" on the command'


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()
