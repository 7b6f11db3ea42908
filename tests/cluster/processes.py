"""A cluster of real processes: a store, nodes, workers and collectors, to be killed, frozen or stopped by their pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.harness import Answer, Server
from tests.valkey import Store, free_port

MODELS = Path(__file__).parent / "models.py"
LEASE_S = 3
READY_S = 30


class Part(Server):
    """One process; its log is read as it comes."""

    def __init__(self, command: list[str], env: Mapping[str, str], url: str = "") -> None:
        super().__init__([sys.executable, "-m", "etagere", *command], env)
        self.url = url
        self.log = ""

    def start(self) -> Part:
        self.process = subprocess.Popen(
            self.command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self.process, ready), daemon=True)
        self._reader.start()
        assert ready.wait(READY_S), f"not ready: {self.log}"
        assert self.process.poll() is None, self.log
        return self

    def freeze(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process is None:
            return 0
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._reader.join(10)
        return status

    def _read(self, process: subprocess.Popen[bytes], ready: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.log += line.decode("utf-8", "replace")
            if line.startswith((b"Serving", b"Working", b"Collecting")):
                ready.set()
        process.stdout.close()
        ready.set()


class Cluster:
    """What shares one store; `store_url` is where its parts look for it."""

    def __init__(self, directory: Path, store: Store, target: Path = MODELS, **settings: str) -> None:
        self.directory = directory
        self.store = store
        self.target = target
        self.parts: list[Part] = []
        self.starts = directory / "starts"
        self.starts.mkdir(exist_ok=True)
        (directory / "blobs").mkdir(exist_ok=True)
        self.settings = {
            "ETAGERE_STORE": store.url,
            "ETAGERE_LEASE": str(LEASE_S),
            "ETAGERE_BLOBS": f"file://{directory}/blobs",
            "STARTS": str(self.starts),
            **{f"ETAGERE_{name.upper()}": value for name, value in settings.items()},
        }

    def node(self, **env: str) -> Part:
        port = free_port()
        data = self.directory / f"node{port}"
        command = ["serve", str(self.target), "--port", str(port), "--data", str(data)]
        return self._begin(command, env, f"http://127.0.0.1:{port}")

    def worker(self, *options: str, **env: str) -> Part:
        return self._begin(["worker", str(self.target), "--runs", "2", *options], env)

    def collector(self, **env: str) -> Part:
        return self._begin(["collect", str(self.target)], env)

    def stop(self) -> None:
        """Stop whatever runs; frozen parts first go on. What does not stop is killed, and told of."""
        stubborn = []
        for part in self.parts:
            if part.process is not None and part.process.poll() is None:
                part.thaw()
                try:
                    part.stop()
                except subprocess.TimeoutExpired:
                    stubborn.append(f"{part.command}: {part.log}")
        assert not stubborn

    def started(self, name: str) -> int:
        """How often the run of this name was begun."""
        path = self.starts / name
        return len(path.read_text().splitlines()) if path.exists() else 0

    def ended(self, name: str) -> int:
        """How often it came to its end."""
        return self.started(f"{name}.ended")

    def pids(self, name: str) -> list[int]:
        """The processes that have begun it."""
        return [int(line) for line in (self.starts / name).read_text().splitlines()]

    def _begin(self, command: list[str], env: Mapping[str, str], url: str = "") -> Part:
        part = Part(command, {**self.settings, **env}, url)
        self.parts.append(part)
        return part.start()


@contextmanager
def cluster(directory: Path, *, keep: bool = False, **settings: str) -> Iterator[Cluster]:
    """A cluster of nothing but a store yet; what is started is stopped."""
    store = Store(directory / "store", keep=keep).start()
    made = Cluster(directory, store, **settings)
    try:
        yield made
    finally:
        made.stop()
        store.stop()


def until(true: Callable[[], bool], seconds: float = 30, what: str = "it") -> None:
    """Wait for something that nobody tells."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} has not happened in {seconds} s"
        time.sleep(0.02)


def ready(answer: Answer) -> bool:
    return answer.status == 200


def is_below(pid: int, ancestor: int) -> bool:
    """Whether a process descends from another."""
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            return False
        pid = int(fields[1])
    return False
