"""Whether the time of a 404 tells that there is something which this client may not see."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.client import Server, Session
from benchmarks.figures import Figure, about
from benchmarks.load import in_turn
from benchmarks.servers import service
from etagere import keys
from etagere.core.clients import Role

ROUNDS = 4000
PENDING, READY = "/sleep?seconds=1800&n=1&text=some+words&values=0.5", "/noop?n=1"
LONG = "/sleep?text=" + "a" * 59_000
# As long as what there is.
NO_MODEL, NO_ID = PENDING.replace("sleep", "sleeq"), "/r/" + "a" * 32


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "keys.json")
        owner = keys.add(file, "owner", Role.client, None, None, time.time())
        other = keys.add(file, "other", Role.client, ("counted",), None, time.time())
        with service(ETAGERE_KEYS=str(file), ETAGERE_ACCESS="keyed") as server:
            yield _compared("a 404 for a model that is hidden", server, PENDING, NO_MODEL, other)
            for what, target in (("pending", PENDING), ("ready", READY), ("ready, of 60 kB", LONG)):
                hidden = _alias(server, target, owner)
                yield _compared(f"a 404 for a hidden id, {what}", server, hidden, NO_ID, other)
            yield _compared("a 404", server, NO_ID, NO_ID.replace("a", "b"), other)


def _compared(what: str, server: Server, hidden: str, nowhere: str, key: str) -> Figure:
    with server.session(key) as session:
        ratio, found = in_turn(ROUNDS, partial(_seconds, session, hidden), partial(_seconds, session, nowhere))
    return about(f"time of {what}", ratio, 0.1, f"where there is none ({found * 1e6:,.0f} µs)")


def _seconds(session: Session, target: str) -> float:
    began = time.perf_counter()
    session.get(target).expect(404)
    return time.perf_counter() - began


def _alias(server: Server, target: str, key: str) -> str:
    """The alias of a resource, which is pending or ready from now on."""
    with server.session(key) as session:
        answer = session.get(target) if target is PENDING else session.result(target)
    return "/r/" + answer.tag.removeprefix("W/").strip('"').partition(".")[0]
