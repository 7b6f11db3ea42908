"""One attempt: its process within its limits, and what the end of that means."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from etagere.core import media
from etagere.core.representation import QUICK_BYTES, Kind, Resource
from etagere.errors import EtagereError
from etagere.logs import get_logger
from etagere.model import Model
from etagere.parameters import Bound
from etagere.supervisor.directory import RunDirectory, UnusableResult
from etagere.supervisor.fifo import Events, Tail
from etagere.supervisor.limits import Limit, Limits, Watch
from etagere.supervisor.process import GRACE_SECONDS, Process

Report = Callable[[float, str], bool]
Renew = Callable[[], bool]

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
    `media_type` that of its primary format, declared or known from what a function returns. `trace` is
    the traceparent that its process gets, if there is one.
    """

    resource: Resource
    attempt: int
    parameters: bytes
    time_limit: float
    memory_limit: int | None
    media_type: str | None
    trace: str = ""

    @classmethod
    def of(cls, model: Model, bound: Bound, attempt: int, tenant: str = "", trace: str = "") -> Order:
        """An attempt to run a model with these parameters, for this tenant if it is private, within its own limits."""
        options = model.options
        media_type = options.media_type if model.function is None else model.media_type
        limits = options.time_limit, options.memory_limit, media_type
        return cls(model.resource(bound, tenant), attempt, bound.json, *limits, trace)


@dataclass(frozen=True, slots=True)
class End:
    """What an attempt came to; `facts` are more of what its problem document says."""

    kind: Kind
    detail: str = ""
    media_type: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


class Attempt:
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
            # Told so again, it has had its moment's grace.
            await asyncio.wait([process.ended])
            raise
        finally:
            limit.cancel()
            watch.cancel()
            renewal.cancel()
        # Where we have ended it, it does not matter whether its end was reported.
        return process.ended.result() if process.ended.done() and not self._is_stopped else 0

    def conclude(self, status: int) -> End:
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
            return End(Kind.refused, self.events.refused)
        if self.events.failed is not None:
            return End(Kind.failed, self.events.failed)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            raise self._crashed(f"its process was ended by signal {-code} ({signal.strsignal(-code)})")
        if code > 0 and self._is_command:
            return End(Kind.failed, f"exit status {code}")
        if code > 0:
            raise self._crashed(f"its process ended with exit status {code} and without a result")
        return self._result()

    def _result(self) -> End:
        declared, said = self._order.media_type, self.events.media_type if self._is_command else None
        given = declared or (media.BINARY if self._is_command else media.JSON)
        if said and _essence(given) != _essence(said):
            return End(Kind.failed, _contradiction(declared, said))
        try:
            found = self._directory.take(self.events.result if self._is_command else None, self._limits.max_result)
        except UnusableResult as unusable:
            too_large = self._directory.size() > self._limits.max_result
            return _beyond(self._limits.result) if too_large else End(Kind.failed, str(unusable))
        if not found:
            raise self._crashed("its process ended without a result")
        return End(Kind.succeeded, media_type=given)

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


def _beyond(limit: Limit) -> End:
    return End(limit.kind, limit.detail, facts=limit.facts)


def _contradiction(declared: str | None, said: str) -> str:
    if declared:
        return f"the result is declared as {declared}, and the run says {said}"
    return f'the run says that its result is {said}; declare media_type="{_essence(said)}" on the command'


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()
