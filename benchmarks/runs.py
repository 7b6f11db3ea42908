"""From a GET to its result, and a crowd that asks the same."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.client import Crowd, Server
from benchmarks.figures import Figure
from benchmarks.servers import bare, service

RUNS = 200
APART_SECONDS = 0.03
CROWD = 1000
ROUNDS = 7
P50_MS = 10.0
TIMES_BARE, PLUS_MS = 3, 50.0


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    with tempfile.TemporaryDirectory() as folder:
        count = Path(folder, "count")
        count.touch()
        with service(BENCHMARK_COUNT=str(count)) as server:
            yield _noop(server)
            yield from _crowd(server, count)


def _noop(server: Server) -> Figure:
    with server.session() as session:
        session.result("/noop?n=0")
        with bare(session.get("/noop?n=0")) as other, other.session() as bare_session:
            spent, round_trips = [], []
            for n in range(1, RUNS + 1):
                began = time.perf_counter()
                session.result(f"/noop?n={n}")
                asked = time.perf_counter()
                bare_session.get(f"/noop?n={n}")
                spent.append((asked - began) * 1000)
                round_trips.append((time.perf_counter() - asked) * 1000)
                # So that no run is measured together with the end of the one before.
                time.sleep(APART_SECONDS)
    middle, late = statistics.median(spent), statistics.quantiles(spent, n=20)[-1]
    found = f"{middle:.1f} ms (p95 {late:.1f} ms; bare GET {statistics.median(round_trips):.2f} ms)"
    return Figure("no-op run, from the first GET to the 200, p50", found, f"≤ {P50_MS:.0f} ms", middle <= P50_MS)


def _crowd(server: Server, count: Path) -> Iterator[Figure]:
    ours, theirs = [], []
    with bare(server.get("/counted?n=0").expect(202)) as other:
        for n in range(1, ROUNDS + 1):
            ours.append(_at_once(server, f"/counted?n={n}"))
            theirs.append(_at_once(other, f"/counted?n={n}"))
            with server.session() as session:
                session.result(f"/counted?n={n}")
    spent, allowed = statistics.median(ours), TIMES_BARE * statistics.median(theirs) + PLUS_MS
    runs = len(count.read_text().split())
    yield Figure(
        f"{CROWD:,} identical GETs at once, all answered",
        f"{spent:.0f} ms, {spent / statistics.median(theirs):.2f} × bare",
        f"≤ {TIMES_BARE} × bare + {PLUS_MS:.0f} ms = {allowed:.0f} ms",
        spent <= allowed,
    )
    yield Figure(f"runs that {CROWD:,} identical GETs start", f"{runs / (ROUNDS + 1):g}", "1", runs == ROUNDS + 1)


def _at_once(server: Server, target: str) -> float:
    """Milliseconds until all are answered."""
    with Crowd(server, CROWD) as crowd:
        seconds, answers = crowd.get([server.request(target)] * CROWD)
    for answer in answers:
        answer.expect(202)
    return seconds * 1000
