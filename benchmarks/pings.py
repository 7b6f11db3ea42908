"""Pings of a pending run and results that are ready: the service against the bare application."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.client import Answer, Server
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.load import in_turn, rate
from benchmarks.servers import bare, service

ROUNDS = 11
# With seconds, n, text and values these are 20 parameters.
SIXTEEN = "&".join(f"p{n:02}={n / 7:.6f}" for n in range(1, 17))
LONGEST = 60_000


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    with service() as server:
        yield _pending(server, f"/sleep?seconds=1800&n=1&text=some+words&values=0.5&{SIXTEEN}")
        yield _ready(server, f"/sleep?seconds=0&n=1&text=some+words&values=0.5&{SIXTEEN}")
        yield _long(server, _long_target())


def _pending(server: Server, target: str) -> Figure:
    tag = server.get(target).expect(202).tag
    ratio, found = _against_bare(server, target, tag, server.get(target, tag).expect(304))
    return at_least("rate of pings of a pending run, 20 parameters", ratio, 0.7, f"bare ({found:,.0f}/s)")


def _ready(server: Server, target: str) -> Figure:
    tag = server.get(target).expect(202).tag
    with server.session() as session:
        answer = session.result(target)
    ratio, found = _against_bare(server, target, tag, answer)
    return at_least("rate of small results that are ready, 20 parameters", ratio, 0.7, f"bare ({found:,.0f}/s)")


def _long(server: Server, target: str) -> Figure:
    tag = server.get(target).expect(202).tag
    with bare(server.get(target, tag).expect(304)) as other:
        ratio, found = in_turn(ROUNDS, partial(_seconds, server, target, tag), partial(_seconds, other, target, tag))
    return at_most("time of a ping with a query of 60 kB", ratio, 1.5, f"bare ({found * 1e6:,.0f} µs)")


def _against_bare(server: Server, target: str, tag: str, answer: Answer) -> tuple[float, float]:
    with bare(answer) as other:
        return in_turn(ROUNDS, partial(rate, server, target, tag), partial(rate, other, target, tag))


def _seconds(server: Server, target: str, tag: str) -> float:
    return 1 / rate(server, target, tag, connections=1)


def _long_target() -> str:
    values = "".join(f"&values={n / 7:.6f}" for n in range(LONGEST // 16))
    target = f"/sleep?seconds=1800{values}"
    return target[: target.rindex("&", 0, LONGEST)]
