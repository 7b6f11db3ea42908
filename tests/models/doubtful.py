"""Models that `etagere check` has something to say of, each with one fault, and one without."""

from __future__ import annotations

import gzip
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

import etagere

if TYPE_CHECKING:
    import pyarrow as pa

app = etagere.Etagere()

ONCE = [{"x": 1.0}]
NAMES = frozenset("alpha beta gamma delta epsilon zeta eta theta".split())  # noqa: SIM905
Length = Annotated[float, Field(description="A length (m).")]


def second() -> bool:
    """Whether this is the run with more threads."""
    return os.environ["OMP_NUM_THREADS"] != "1"


@app.model(version="1", examples=[{"x": 1.0}, {"x": 2.0}, {"x": 1.0}])
def steady(x: Length) -> dict[str, float]:
    """The same each time."""
    return {"twice": 2 * x}


@app.model(version="1", examples=ONCE)
def by_seed(x: Length) -> dict[str, Any]:
    """The order of a set."""
    return {"x": x, "names": list(NAMES)}


@app.model(version="1", examples=ONCE)
def by_order(x: Length) -> dict[str, Any]:
    """A mapping made of a set."""
    return {"inner": dict.fromkeys(NAMES, x)}


@app.model(version="1", examples=ONCE)
def by_threads(x: Length) -> dict[str, Any]:
    """What a parallel sum would do."""
    return {"x": x, "sums": [0.1, {"total": int(os.environ["OMP_NUM_THREADS"])}]}


@app.model(version="1", examples=ONCE, fresh=True)
def by_threads_of_its_own(x: Length) -> dict[str, Any]:
    """In a new interpreter."""
    return {"threads": int(os.environ["OPENBLAS_NUM_THREADS"])}


@app.model(version="1", examples=ONCE, threads=3)
def declared_threads(x: Length) -> dict[str, Any]:
    """As many threads as it says itself."""
    return {"threads": int(os.environ["OPENBLAS_NUM_THREADS"])}


@app.model(version="1", examples=ONCE, media_type="application/gzip")
def by_time(x: Length) -> bytes:
    """A format that holds the time."""
    return gzip.compress(b"x" * int(x))


@app.model(version="1", examples=ONCE)
def by_clock(x: Length) -> float:
    """The seconds since the epoch."""
    return time.time()


@app.model(version="1", examples=ONCE, media_type="text/csv")
def by_pid(x: Length) -> str | bytes:
    """A table with a cell that nobody can compute again."""
    return f'"a","b,c"\r\n1,2\r\n3,{os.getpid()}\r\n'.encode()


@app.model(version="1", examples=ONCE, media_type="text/plain")
def by_directory(x: Length) -> bytes:
    """Where it runs."""
    return f"in {Path.cwd().parents[1].name}/".encode()


@app.model(version="1", examples=ONCE)
def table(x: Length) -> pa.Table:
    """A table with a value that differs."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.table({"n": [1, 2, 3], "size (m)": [x, x, x + second()]})


@app.model(version="1", examples=ONCE)
def types(x: Length) -> pa.Table:
    """A table whose values are the same, and of another type."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.table({"n": pa.array([1, 2], pa.int32() if second() else pa.int64())})


@app.model(version="1", examples=ONCE)
def nameless(x: Length) -> dict[str, Any]:
    """What has no form in JSON."""
    return {"inner": {"thing": object()}}


@app.model(version="1", examples=ONCE)
def endless(x: Length) -> dict[str, Any]:
    """A number that is none."""
    return {"values": [x, float("nan")]}


@app.model(version="1", examples=ONCE, media_type="image/png")
def no_picture(x: Length) -> bytes:
    """Not what it is declared as."""
    return b"<svg/>"


@app.model(version="1", examples=ONCE, media_type="application/geo+json")
def no_json(x: Length) -> bytes:
    """Not what it is declared as, either."""
    return b"{'x': 1}"


@app.model(version="1", examples=ONCE, time_limit=0.3)
def slow(x: Length) -> None:
    """Takes its time."""
    time.sleep(60)


@app.model(version="1", examples=ONCE)
def crashing(x: Length) -> None:
    """Dies."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.model(version="1", examples=ONCE)
def failing_later(x: Length) -> float:
    """Fails the second time."""
    if second():
        raise ValueError("too many threads")
    return x


@app.model(version="1", examples=ONCE)
def refusing(x: Length) -> None:
    """Refuses."""
    raise etagere.Refused("not\ntoday")


@app.model(version="1", examples=ONCE)
def refusing_later(x: Length) -> float:
    """Refuses the second time."""
    if second():
        raise etagere.Refused("not twice")
    return x


class Silent(BaseModel):
    width: float
    depth: Annotated[float, Field(description="How deep it is")]
    height_m: Annotated[float | None, Field(description="How high it is")] = None


app.command("silent", ["true"], version="1", parameters=Silent)
