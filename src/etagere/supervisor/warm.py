"""The warm process: imports the models once and forks a process for each run.

`python -m etagere.supervisor.warm FD SERVICE`, where FD is its end of a socket pair and SERVICE the
process id of its parent. It is one thread that waits for messages, for the end of its children and
for the end of the service; that end, in whichever way it learns of it, is the end of every run.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from etagere.errors import ImportFailed
from etagere.supervisor import child
from etagere.supervisor.guard import end_children, kill_families, kill_group, stand_guard
from etagere.supervisor.linux import adopt_orphans, children, die_with_parent, other_threads
from etagere.supervisor.program import Description, Job, load
from etagere.supervisor.spare import Spare, prepare
from etagere.supervisor.wire import Unpacker, pack

_CHUNK = 65536
_QUIET_MS = 20


class Channel:
    """The warm process's end of the socket pair."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._unpacker = Unpacker()

    def fileno(self) -> int:
        """For `select.poll`."""
        return self._socket.fileno()

    def send(self, **message: Any) -> None:
        """Send one message; a service that is gone is noticed when it is read from."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(pack(message))

    def receive(self) -> list[dict[str, Any]] | None:
        """Wait for bytes and return the messages that they complete; None when the service is gone."""
        try:
            chunk = self._socket.recv(_CHUNK)
        except ConnectionResetError:
            return None
        return list(self._unpacker.feed(chunk)) if chunk else None

    def close(self) -> None:
        """Give it up, in a forked process."""
        self._socket.close()


class WarmProcess:
    """The loop: start runs, report their ends."""

    def __init__(self, channel: Channel, guard: int, description: Description, jobs: Mapping[str, Job]) -> None:
        self._channel = channel
        self._guard = guard
        self._description = description
        self._jobs = jobs
        self._runs: dict[int, int] = {}
        self._spare: Spare | None = None
        # What the owner's setup has started is not a run's, and stays.
        self._spared = children()
        self._threads = other_threads()
        self._wakeup, self._alarm = os.pipe()
        for end in (self._wakeup, self._alarm):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Serve until the service is gone, then end everything."""
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        # Until now there was nothing to kill first.
        die_with_parent(signal.SIGHUP)
        self._stand_by()
        self._channel.send(ready=True, threads=self._threads)
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        waiting.register(self._wakeup, select.POLLIN)
        quiet = False
        while os.getppid() == self._guard:
            # A spare is made when a run is over or all is quiet, not at the expense of one that has just begun.
            ready = {descriptor for descriptor, _ in waiting.poll(None if self._spare or quiet else _QUIET_MS)}
            quiet = not ready
            if quiet:
                self._stand_by()
            if self._wakeup in ready:
                os.read(self._wakeup, _CHUNK)
                self._reap()
                self._stand_by()
            if self._channel.fileno() in ready and not self._obey():
                break
        for pid in self._runs:
            kill_group(pid)
        end_children()

    def _obey(self) -> bool:
        messages = self._channel.receive()
        for message in messages or ():
            if "start" in message:
                self._start(message["start"], message["model"], message["directory"], message["trace"])
            else:
                self._channel.send(**message)
        return messages is not None

    def _start(self, token: int, *order: str) -> None:
        try:
            spare = self._spare or self._fork()
            self._spare = None
            if not spare.order(*order):
                spare = self._fork()
                spare.order(*order)
        except OSError as error:
            self._channel.send(lost=token, reason=f"no process could be started: {error.strerror}")
            return
        self._runs[spare.pid] = token
        self._channel.send(started=token, pid=spare.pid)

    def _stand_by(self) -> None:
        # Without a spare the next run is forked when it comes.
        with suppress(OSError):
            self._spare = self._spare or self._fork()

    def _fork(self) -> Spare:
        return Spare(self._let_go, self._become_run)

    def _let_go(self) -> None:
        signal.set_wakeup_fd(-1)
        self._channel.close()
        os.close(self._wakeup)
        os.close(self._alarm)

    def _become_run(self, key: str, directory: Path, trace: str) -> NoReturn:
        status = 1
        try:
            child.enter(directory, trace)
            job = self._jobs[key]
            if job.function is not None and (self._threads or job.fresh or job.threads is not None):
                child.renew(key, directory, self._description, job.threads)
            status = child.run(job, directory)
        except BaseException:
            traceback.print_exc()
        finally:
            child.leave(status)

    def _reap(self) -> None:
        left = False
        with suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                left |= self._bury(ended.si_pid)
        if left:
            # They may be many, and go on to fork.
            end_children(self._ours)

    def _ours(self) -> set[int]:
        return self._spared | self._runs.keys() | ({self._spare.pid} if self._spare else set())

    def _bury(self, pid: int) -> bool:
        """Whether a run has left processes behind, of which this may be one."""
        if self._spare is not None and pid == self._spare.pid:
            self._spare = None
        if pid not in self._runs:
            os.waitpid(pid, 0)
            return True
        # Not yet waited for, the process keeps its id, so that the group is certainly its own.
        kill_group(pid)
        orphans = children() - self._ours()
        kill_families(orphans)
        _, status = os.waitpid(pid, 0)
        self._channel.send(exited=self._runs.pop(pid), status=status)
        return bool(orphans)


def main() -> None:
    """Load the program that the first message holds, and serve."""
    # A terminal's Ctrl-C, or a stop of the whole service, is for the service: it drains first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    guard = stand_guard(int(sys.argv[2]))
    die_with_parent(signal.SIGKILL)
    if os.getppid() != guard:
        child.leave(0)
    channel = Channel(int(sys.argv[1]))
    child.print_at_once()
    description = _first(channel)
    if description is None:
        child.leave(0)
    try:
        jobs = load(description)
    except ImportFailed as failure:
        channel.send(import_error=str(failure), traceback=failure.traceback)
        child.leave(1)
    adopt_orphans()
    prepare(job.parameters for job in jobs.values() if job.parameters is not None)
    gc.collect()
    gc.disable()
    gc.freeze()
    WarmProcess(channel, guard, description, jobs).serve()
    child.leave(0)


def _first(channel: Channel) -> Description | None:
    while (messages := channel.receive()) is not None:
        if messages:
            return messages[0]
    return None


if __name__ == "__main__":
    main()
