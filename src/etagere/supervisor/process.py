"""The service's side of the warm process, and of the process groups of the runs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from etagere.errors import ImportFailed, LostProcess
from etagere.logs import get_logger
from etagere.supervisor.environment import for_models
from etagere.supervisor.guard import kill
from etagere.supervisor.linux import children
from etagere.supervisor.program import Description
from etagere.supervisor.wire import Unpacker, pack

log = get_logger("etagere.supervisor")

GRACE_SECONDS = 0.5
_HOPELESS_SECONDS = 5.0
_FAREWELL_SECONDS = 2.0
_BEAT_SECONDS = 1.0
_BEATS_UNANSWERED = 5


class Process:
    """The process group of one run.

    `ended` becomes its wait status (see `os.waitstatus_to_exitcode`), or the exception LostProcess.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pid: int | None = None
        self._stopping = False
        self.ended: asyncio.Future[int] = self._loop.create_future()

    @property
    def pid(self) -> int | None:
        """The id of its leader, session and group; None until it is known to be started."""
        return self._pid

    def stop(self, *, grace: bool = True) -> None:
        """Ask it to end, and kill it after a moment's grace, or kill it at once."""
        if self._stopping:
            return
        self._stopping = True
        seconds = GRACE_SECONDS if grace else 0.0
        self._signal(signal.SIGTERM if grace else signal.SIGKILL)
        self._loop.call_later(seconds, self._signal, signal.SIGKILL)
        self._loop.call_later(seconds + _HOPELESS_SECONDS, self.lose, "its process cannot be killed")

    async def end(self) -> None:
        """Kill it, and return when it is gone, cancelled or not. How it ended does not matter any more."""
        self._stopping = True
        self._signal(signal.SIGKILL)
        hopeless = self._loop.call_later(_HOPELESS_SECONDS, self.lose, "its process cannot be killed")
        told: asyncio.CancelledError | None = None
        while not self.ended.done():
            try:
                await asyncio.wait([self.ended])
            except asyncio.CancelledError as cancelled:
                told = cancelled
        hopeless.cancel()
        self.ended.exception()
        if told is not None:
            raise told

    def started(self, pid: int) -> None:
        """It runs under this id."""
        self._pid = pid
        if self._stopping:
            self._signal(signal.SIGKILL)

    def finish(self, status: int) -> None:
        """Its end was reported: from now on the id may be another's."""
        if not self.ended.done():
            self.ended.set_result(status)

    def lose(self, reason: str) -> None:
        """Nobody will report its end any more: kill what there is."""
        self._signal(signal.SIGKILL)
        if not self.ended.done():
            self.ended.set_exception(LostProcess(reason))

    def _signal(self, number: int) -> None:
        if self._pid is None or self.ended.done():
            return
        with suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(self._pid, number)
            except ProcessLookupError:
                # Between its fork and its setsid it has no group yet.
                os.kill(self._pid, number)


class _Incarnation(asyncio.Protocol):
    """One warm process, from its start to its death.

    While a run depends on it, it is asked each second whether it is there: one that is frozen is as good as dead.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[list[str]] = self._loop.create_future()
        self.alive = True
        self._beating = False
        self._unanswered = 0
        self._unpacker = Unpacker()
        self._processes: dict[int, Process] = {}
        self._tokens = 0
        self._transport: asyncio.WriteTransport | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own, so that no signal of the terminal reaches it.
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "etagere.supervisor.warm", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket = ours

    async def load(self, description: Description) -> list[str]:
        """Let it load the program; the names of the threads that this has left."""
        await self._loop.create_unix_connection(lambda: self, sock=self._socket)
        self._send(description)
        return await self.ready

    def run(self, model: str, directory: Path, trace: str) -> Process:
        """Let it start a run."""
        self._tokens += 1
        process = self._processes[self._tokens] = Process()
        self._send({"start": self._tokens, "model": model, "directory": str(directory), "trace": trace})
        if not self._beating:
            self._beating, self._unanswered = True, 0
            self._loop.call_later(_BEAT_SECONDS, self._beat)
        return process

    async def end(self) -> None:
        """End it, and with it every run; returns when it is gone."""
        if self._transport is not None:
            self._transport.abort()
        for insist in (self._kill, self._popen.kill):
            try:
                await asyncio.to_thread(self._popen.wait, _FAREWELL_SECONDS)
            except subprocess.TimeoutExpired:
                insist()
        await asyncio.to_thread(self._popen.wait)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._unanswered = 0
        for message in self._unpacker.feed(data):
            self._hear(message)

    def connection_lost(self, _: Exception | None) -> None:
        """The warm process is dead, or we are closing: nothing of it may stay."""
        self.alive = False
        for process in self._processes.values():
            process.lose("the warm process died")
        self._processes.clear()
        if not self.ready.done():
            self.ready.set_exception(ImportFailed("the process that imports the models died while it did", ""))

    def _beat(self) -> None:
        self._beating = self.alive and bool(self._processes)
        if not self._beating:
            return
        if self._unanswered == _BEATS_UNANSWERED:
            log.warning("the warm process does not answer any more and is killed")
            self._kill()
            assert self._transport is not None
            self._transport.abort()
            return
        self._unanswered += 1
        self._send({"beat": self._unanswered})
        self._loop.call_later(_BEAT_SECONDS, self._beat)

    def _kill(self) -> None:
        """Kill the warm process; its guard, frozen or not, ends all that is left of it, and itself."""
        if self._popen.poll() is None:
            for pid in children(self._popen.pid):
                kill(pid)
            self._popen.send_signal(signal.SIGCONT)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._transport is not None
        self._transport.write(pack(message))

    def _hear(self, message: dict[str, Any]) -> None:
        match message:
            case {"started": token, "pid": pid}:
                self._processes[token].started(pid)
            case {"beat": _}:
                pass
            case {"exited": token, "status": status}:
                self._processes.pop(token).finish(status)
            case {"lost": token, "reason": reason}:
                self._processes.pop(token).lose(reason)
            case {"ready": True, "threads": threads}:
                self.ready.set_result(threads)
            case {"import_error": text, "traceback": traceback}:
                self.ready.set_exception(ImportFailed(text, traceback))
            case _:
                raise AssertionError(f"no message of ours: {message}")


class Warm:
    """The warm process of an application, started again on demand when it has died.

    Its environment is that of the service, made fit for models, unless another is given. `threads` are the names of
    those that import and setup have left.
    """

    def __init__(self, description: Description, environment: Mapping[str, str] | None = None) -> None:
        self.threads: list[str] = []
        self._description = description
        self._environment = environment
        self._starting = asyncio.Lock()
        self._current: _Incarnation | None = None

    async def start(self) -> None:
        """Start it, unless it lives.

        Raises:
            ImportFailed: the models do not import.
        """
        await self._live()

    async def run(self, model: str, directory: Path, trace: str) -> Process:
        """Start a run of `model` (`name@version`) in its prepared directory; `trace` is its traceparent, or empty.

        Raises:
            ImportFailed: the warm process had died, and the models do not import any more.
        """
        return (await self._live()).run(model, directory, trace)

    async def close(self) -> None:
        """End it and every run; they are lost."""
        async with self._starting:
            current, self._current = self._current, None
            if current is not None:
                await current.end()

    async def _live(self) -> _Incarnation:
        if self._current is not None and self._current.alive:
            return self._current
        async with self._starting:
            if self._current is None or not self._current.alive:
                self._current = await self._next()
            return self._current

    async def _next(self) -> _Incarnation:
        if self._current is not None:
            log.warning("the warm process died and is started again")
            await self._current.end()
            self._current = None
        fresh = _Incarnation(self._environment or for_models(os.environ))
        try:
            self.threads = await fresh.load(self._description)
        except BaseException:
            await fresh.end()
            raise
        if self.threads:
            log.warning(
                "threads are left after import and setup: every run starts a new interpreter", threads=self.threads
            )
        return fresh
