"""Clients that wait for runs: what each costs, and how long after the outcome it is answered."""

from __future__ import annotations

import selectors
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator

from benchmarks.client import Arriving, Server
from benchmarks.figures import Figure, at_most
from benchmarks.memory import private_kib
from benchmarks.servers import service, sleeping, told

CLIENTS = 1000
WARM = 50
WAIT_SECONDS = 60
P99_MS = 20.0
TIMES_BARE = 2


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    yield _memory()
    with tempfile.TemporaryDirectory() as results, told(BENCHMARK_RESULTS=results, **_settings()) as server:
        yield _latency(server)


def _settings() -> dict[str, str]:
    pending = str(CLIENTS + WARM + 1)
    return {"ETAGERE_RUNS": "1", "ETAGERE_MAX_PENDING": pending, "ETAGERE_MAX_WAIT": str(WAIT_SECONDS)}


def _memory() -> Figure:
    with service(**_settings()) as server:
        targets = [f"/sleep?seconds=1800&n={n}" for n in range(WARM + CLIENTS)]
        answers = [server.get(target).expect(202) for target in targets]
        requests = [
            _waiting(server, target, answer.tag, WAIT_SECONDS) for target, answer in zip(targets, answers, strict=True)
        ]
        ours = _kib_each(server, requests)
        pinged = server.get(targets[0], answers[0].tag).expect(304)
    with sleeping(pinged, WAIT_SECONDS) as other:
        theirs = _kib_each(other, requests)
    return at_most(
        f"memory of each of {CLIENTS:,} waiting clients", ours / theirs, TIMES_BARE, f"a bare sleep ({ours:.1f} KiB)"
    )


def _kib_each(server: Server, requests: list[bytes]) -> float:
    """Private memory for each client that begins to wait, after some that do already."""
    connections = [server.connect() for _ in requests]
    try:
        for connection, request in zip(connections[:WARM], requests[:WARM], strict=True):
            connection.sendall(request)
        before = _settled_kib(server)
        for connection, request in zip(connections[WARM:], requests[WARM:], strict=True):
            connection.sendall(request)
        return (_settled_kib(server) - before) / CLIENTS
    finally:
        for connection in connections:
            connection.close()


def _settled_kib(server: Server) -> int:
    """The private memory once it has not changed for a while."""
    found = -1
    while found != (found := private_kib(server.pid)):
        time.sleep(1)
    return found


def _latency(server: Server) -> Figure:
    server.get("/occupied?seconds=1800").expect(202)
    tags = {target: server.get(target).expect(202).tag for target in (f"/told?n={n}" for n in range(CLIENTS))}
    requests = [_waiting(server, target, tag, WAIT_SECONDS) for target, tag in tags.items()]
    connections = [server.connect() for _ in requests]
    for connection, request in zip(connections, requests, strict=True):
        connection.sendall(request)
    # All wait once a request that came after theirs has been answered.
    server.get("/told?n=0").expect(202)
    put: dict[str, float] = {}
    finishing = threading.Thread(target=lambda: put.update(_finish(server)))
    finishing.start()
    arrived = _arrivals(connections)
    finishing.join()
    spent = [(arrived[id] - at) * 1000 for id, at in put.items()]
    middle, late = statistics.median(spent), statistics.quantiles(spent, n=100)[-1]
    found = f"{late:.1f} ms (p50 {middle:.1f} ms, longest {max(spent):.1f} ms)"
    what = f"from an outcome to the answer, {CLIENTS:,} clients waiting for {CLIENTS:,} runs, p99"
    return Figure(what, found, f"≤ {P99_MS:.0f} ms", late <= P99_MS)


def _finish(server: Server) -> dict[str, float]:
    """When the outcome of each id was put, by the clock that all processes of this machine have."""
    lines = server.get("/finish").expect(200).content.decode().splitlines()
    return {id: float(at) for id, at in (line.split() for line in lines)}


def _arrivals(connections: list[socket.socket]) -> dict[str, float]:
    """When the 200 of each id had come."""
    arrived: list[tuple[float, Arriving]] = []
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, Arriving(connection))
        while selector.get_map():
            for key, _ in selector.select(WAIT_SECONDS):
                if key.data.read():
                    arrived.append((time.monotonic(), key.data))
                    selector.unregister(key.fileobj)
    for connection in connections:
        connection.close()
    return {answer.expect(200).tag[1:33]: at for at, answer in ((at, one.answer()) for at, one in arrived)}


def _waiting(server: Server, target: str, tag: str, seconds: int) -> bytes:
    return server.request(target, tag)[:-2] + f"Prefer: wait={seconds}\r\n\r\n".encode("ascii")
