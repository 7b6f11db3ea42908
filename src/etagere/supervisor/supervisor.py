"""The supervisor: executes one attempt in a process of its own, within its limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from etagere.config import MAX_PROCESSES, MAX_RUN_DIR
from etagere.core.representation import Kind, Outcome
from etagere.ports import Clock
from etagere.supervisor.attempt import Attempt, Order, Renew, Report
from etagere.supervisor.directory import RunDirectory, sweep
from etagere.supervisor.fifo import Fifo, Tail
from etagere.supervisor.limits import Limits
from etagere.supervisor.process import Warm
from etagere.supervisor.program import Description

Echo = Callable[[bytes], object]


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
                try:
                    yield outcome
                except Exception:
                    # Cancelled it may be handed over all the same, but not so.
                    succeeded = False
                    raise
        finally:
            if not succeeded:
                await asyncio.to_thread(directory.remove)

    @asynccontextmanager
    async def _attempt(
        self, order: Order, directory: RunDirectory, report: Report, renew: Renew
    ) -> AsyncIterator[Outcome]:
        is_command = "argv" in self._models[order.resource.model]
        attempt = Attempt(order, directory, self._limits(order), report, Tail(self._echo), is_command)
        started = self._clock.now()
        with (
            Fifo(directory.path / "events", attempt.events.feed) as events,
            Fifo(directory.path / "output", attempt.output.feed) as output,
        ):
            process = await self._warm.run(order.resource.model, directory.path, order.trace)
            try:
                status = await attempt.supervise(process, renew)
                events.drain()
                output.drain()
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
