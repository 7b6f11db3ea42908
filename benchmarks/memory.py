"""What ten thousand pending resources cost: memory, and the rate of pings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.client import Crowd, Server
from benchmarks.figures import Figure, at_least
from benchmarks.load import in_turn, rotating_rate
from benchmarks.servers import service

FEW, MANY = 10, 10_000
SHORT, LONG = 200, 5_000
KIB_EACH = 4.0
ROUNDS = 11

Ping = tuple[str, str]


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    settings = {"ETAGERE_MAX_PENDING": str(MANY), "ETAGERE_RUNS": "1"}
    for length in (SHORT, LONG):
        with service(**settings) as server:
            few = _fill(server, range(FEW), length)
            before = private_kib(server.pid)
            many = few + _fill(server, range(FEW, MANY), length)
            each = (private_kib(server.pid) - before) / (MANY - FEW)
            what = f"memory of a pending resource with a URI of {length:,} bytes"
            yield Figure(what, f"{each:.2f} KiB", f"< {KIB_EACH:.0f} KiB", each < KIB_EACH)
            if length == SHORT:
                yield _rates(few, many, server, settings)


def _rates(few: list[Ping], many: list[Ping], server: Server, settings: dict[str, str]) -> Figure:
    with service(**settings) as other:
        assert _fill(other, range(FEW), SHORT) == few
        ratio, found = in_turn(ROUNDS, partial(rotating_rate, server, many), partial(rotating_rate, other, few))
    return at_least(f"rate of pings with {MANY:,} pending", ratio, 0.9, f"that with {FEW} ({found:,.0f}/s)")


def _fill(server: Server, numbers: range, length: int) -> list[Ping]:
    """Make resources pending; their targets and tags."""
    pings: list[Ping] = []
    with Crowd(server, 32) as crowd:
        for first in range(0, len(numbers), 32):
            targets = [_target(n, length) for n in numbers[first : first + 32]]
            _, answers = crowd.get([server.request(target) for target in targets])
            pings += [(target, answer.expect(202).tag) for target, answer in zip(targets, answers, strict=True)]
            crowd.get([server.request(*ping) for ping in pings[-len(targets) :]])
    return pings


def _target(n: int, length: int) -> str:
    target = f"/sleep?seconds=1800&n={n}&text="
    return target.ljust(length, "x")


def private_kib(pid: int) -> int:
    """The private memory of a process in KiB."""
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return sum(int(row[1]) for row in rows if row[0] in ("Private_Clean:", "Private_Dirty:"))
