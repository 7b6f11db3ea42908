"""A service to be hurt: a fixed port, its output drained, and every process that it starts found again."""

from __future__ import annotations

import http.client
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.harness import Answer, Server

MODELS = Path(__file__).parent / "models"
PENDING = (202, 304)
_URL = re.compile(rb"(http://127\.0\.0\.1:\d+)")
_MARK = "TEST_MARK"


class Relation(NamedTuple):
    """Where a process belongs."""

    parent: int
    session: int


class Service(Server):
    """`etagere serve` on one port and data directory, however often it is started.

    Its processes inherit a mark in their environment, by which /proc shows them whoever their parent is.
    """

    def __init__(
        self,
        target: Path,
        data: Path,
        *options: str,
        env: Mapping[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
    ) -> None:
        self.port = unused_port()
        self.data = data
        self.mark = uuid.uuid4().hex
        served = Server.serve(target, data, "--port", str(self.port), *options)
        super().__init__([*wrapper, *served.command], {**(env or {}), _MARK: self.mark})
        self.started_in: list[float] = []
        self.log = ""

    def start(self) -> Service:
        """Returns when the service says that it serves.

        The seconds that it took are appended to `started_in`, without those for which its processes
        waited for a processor: other tests run on this machine too.
        """
        began = time.monotonic()
        ready = self.spawn()
        assert ready.wait(30), f"not ready: {self.log}"
        assert self.process is not None
        assert _URL.search(self.printed), f"exit {self.process.wait(10)}: {self.log}"
        self.started_in.append(time.monotonic() - began - sum(map(_waited, self.processes())))
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def spawn(self) -> threading.Event:
        """Start it and do not wait; the event is set when it serves, or has ended without."""
        ready = threading.Event()
        self.process = subprocess.Popen(self.command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._drain = threading.Thread(target=self._read, args=(self.process, ready), daemon=True)
        self._drain.start()
        return ready

    def _read(self, process: subprocess.Popen[bytes], ready: threading.Event) -> None:
        assert process.stdout is not None
        self.printed = b""
        with process.stdout as output:
            while chunk := os.read(output.fileno(), 65536):
                self.printed = (self.printed + chunk)[-1_000_000:]
                self.log = (self.log + chunk.decode("utf-8", "replace"))[-1_000_000:]
                if _URL.search(self.printed):
                    ready.set()
        ready.set()

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(seconds)
        self._drain.join(seconds)
        return status

    def kill(self) -> None:
        super().kill()
        self._drain.join(10)

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        try:
            self.stop()
        finally:
            for pid in self.processes():
                kill_process(pid, self.mark)

    def processes(self) -> dict[int, Relation]:
        """Every living process that carries the mark."""
        found = ((pid, _marked(pid, self.mark)) for pid in map(int, filter(str.isdigit, os.listdir("/proc"))))
        return {pid: relation for pid, relation in found if relation is not None}

    def helpers(self) -> list[int]:
        """The processes between the service and its runs: its child, and what is in that one's session."""
        everyone = self.processes()
        sessions = {relation.session for relation in everyone.values() if relation.parent == self.pid}
        return [pid for pid, relation in everyone.items() if relation.session in sessions and pid != self.pid]

    def runs(self) -> list[int]:
        """The leaders of the runs: each has a session of its own below a helper."""
        helpers = set(self.helpers())
        found = self.processes().items()
        leaders = [pid for pid, relation in found if relation.parent in helpers and relation.session == pid]
        return [pid for pid in leaders if not self._stands_by(pid)]

    def _stands_by(self, pid: int) -> bool:
        """Whether a process waits for its run: it has not gone into that one's directory yet."""
        try:
            return os.readlink(f"/proc/{pid}/cwd") == os.readlink(f"/proc/{self.pid}/cwd")
        except OSError:
            return False

    def others(self) -> list[int]:
        """All that belongs to runs that go on, or was left behind by those that have ended."""
        family = {self.pid, *self.helpers()}
        return sorted(
            pid
            for pid, relation in self.processes().items()
            if pid not in family and not (relation.parent in family and self._stands_by(pid))
        )

    def executions(self) -> list[str]:
        """What the models wrote down, one entry for each time that one was really begun."""
        path = Path(self.env["EXECUTIONS"])
        return path.read_text().splitlines() if path.exists() else []

    def ask(self, target: str, tag: str | None = None) -> Answer:
        """One GET; 503 while the service is over capacity or full is an answer like any other."""
        return self.get(target, tag)

    def results(self, targets: list[str], seconds: float = 60) -> dict[str, Answer]:
        """The conversation for many resources at once: the first answer of each that says neither 202 nor pending."""
        deadline, answers = time.monotonic() + seconds, {}
        tags: dict[str, str | None] = dict.fromkeys(targets)
        while tags:
            for target, tag in list(tags.items()):
                answer = self.get(target, tag)
                if answer.status in PENDING:
                    tags[target] = answer.etag
                else:
                    answers[target] = answer
                    del tags[target]
            assert time.monotonic() < deadline, f"still pending: {list(tags)}"
            time.sleep(0.02)
        return answers


def unused_port() -> int:
    """A port outside the ephemeral range: while the service is down, no client's own end can take it."""
    while True:
        port = random.randint(10_000, 30_000)
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port


def kill_process(pid: int, mark: str) -> bool:
    """`kill -9` of a process that carries the mark, and of no other that has got its number since."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if _marked(pid, mark) is None:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def eventually(holds: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until another process's state is so; the seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - began


@contextmanager
def steady(service: Service, target: str) -> Iterator[list[Answer]]:
    """Ask for `target.format(n)` one after the other, all the while; each must give 200. Yields the answers."""
    answers: list[Answer] = []
    faults: list[BaseException] = []
    over = threading.Event()

    def go_on() -> None:
        n = 0
        try:
            while not over.is_set():
                answers.append(service.result(target.format(n), 20))
                n += 1
        except (AssertionError, OSError, http.client.HTTPException) as fault:
            faults.append(fault)

    asking = threading.Thread(target=go_on)
    asking.start()
    try:
        yield answers
    finally:
        over.set()
        asking.join(30)
    assert not faults, faults
    assert answers
    assert {answer.status for answer in answers} == {200}


def _waited(pid: int) -> float:
    """Seconds for which the first thread of a process was ready and had no processor (proc_pid_schedstat(5))."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _marked(pid: int, mark: str) -> Relation | None:
    """What a process is that carries the mark; None for zombies and those of others."""
    try:
        if f"{_MARK}={mark}".encode() not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return None
        state, parent, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return None if state in "ZX" else Relation(int(parent), int(session))
