"""What the operators' commands do: ask the running service and show its answer; `cli.py` says how they are called."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from etagere import control, remote
from etagere.config import OPERATOR_KEY, Settings
from etagere.errors import EtagereError, Refusal
from etagere.logs import printable, say

NOT_FOUND = 404
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", re.ASCII)

Document = dict[str, Any]


class Asked(NamedTuple):
    """Which service is asked, by its data directory or the settings that name it, and whether JSON is wanted.

    One with a `url` is asked there, with the key in the environment.
    """

    data: Path | None
    config: Path | None
    json: bool
    url: str | None = None

    def settings(self) -> Settings:
        """The settings that count here.

        Raises:
            StartError: they are not valid.
        """
        return Settings.layered({}, {} if self.data is None else {"data": self.data}, self.config)


async def status(asked: Asked) -> int:
    """How the service is; 0."""
    return _perform(asked, "status", _status)


async def runs(asked: Asked, state: str | None) -> int:
    """A line for each pending run; 0."""
    return _perform(asked, "runs", _runs, state=state)


async def logs(asked: Asked, id: str) -> int:
    """What a run has printed; 0, or 1 where nothing is kept."""
    return _perform(asked, "logs", _logs, id=id)


async def cancel(asked: Asked, id: str) -> int:
    """Cancel a run; 0, or 1 where it is not pending."""
    return _perform(asked, "cancel", _cancelled, id=id)


async def purge(asked: Asked, model: str | None, older_than: str | None) -> int:
    """Forget results; 0, or 1 where there is no such model.

    Raises:
        EtagereError: it is not said which.
    """
    if model is None and older_than is None:
        raise EtagereError("say which results: those of a MODEL, or --older-than 7d; --older-than 0s forgets all")
    seconds = 0.0 if older_than is None else seconds_of(older_than)
    # Many thousands take as long as they take.
    return _perform(asked, "purge", _purged, patience=None, model=model, older_than=seconds)


async def drain(asked: Asked, off: bool) -> int:
    """Let the service start nothing new, or again; 0."""
    return _perform(asked, "drain", _drained, on=not off)


def _perform(
    asked: Asked, operation: str, show: Callable[[Document], str], patience: float | None = 60.0, **arguments: Any
) -> int:
    try:
        done = _asked(asked, operation, patience, arguments)
    except Refusal as refused:
        say(f"etagere: {printable(str(refused))}\n")
        return 1 if refused.status == NOT_FOUND else 2
    sys.stdout.write(json.dumps(done) + "\n" if asked.json else show(done))
    return 0


def _asked(asked: Asked, operation: str, patience: float | None, arguments: Document) -> Document:
    if asked.url is None:
        return control.ask(asked.settings().data, operation, seconds=patience, **arguments)
    return remote.ask(asked.url, os.environ.get(OPERATOR_KEY, ""), operation, seconds=patience, **arguments)


def _status(done: Document) -> str:
    queued, running, oldest = done["queued"], done["running"], done["oldest"]
    waits = f"; the oldest queued one is {_span(oldest)} old" if oldest is not None else ""
    differing = ", ".join(f"{model}: {count}" for model, count in done["nondeterministic"].items())
    scrubber = done["scrubber"]
    rows = {
        "service": f"etagere {done['version']}, process {done['pid']}, since {done['since']} ({_span(done['uptime'])})",
        "state": "draining: starts nothing new" if done["draining"] else "serving",
        "models": ", ".join(done["models"]) or "none",
        "runs": f"{queued} queued, {running} running{waits}",
        "waiting": f"{_some(done['waiting'], 'client')}",
        "cache": f"{_some(done['results'], 'result')}, {_size(done['bytes'])}",
        "nondeterministic": differing or "no results since the start",
        "scrubber": f"{_some(scrubber['rounds'], 'round')} since the start, {scrubber['damaged']} damaged",
    }
    if nodes := done.get("nodes"):
        rows |= _nodes(nodes)
    return table(rows.items())


def _nodes(nodes: Mapping[str, Document]) -> dict[str, str]:
    """The processes that share a store, a row for each."""
    kinds = Counter(told["kind"] for told in nodes.values())
    rows = {"processes": ", ".join(_some(number, kind) for kind, number in sorted(kinds.items()))}
    for name, told in sorted(nodes.items()):
        parts = [f"process {told['pid']} on {told['host']}"]
        if "runs" in told:
            parts.append(f"{_some(told['runs'], 'run')} at once")
        # One that is not ours may tell less.
        parts += [f"{what} {' '.join(map(str, told[what]))}" for what in ("queues", "models") if told.get(what)]
        rows[f"  {name}"] = ", ".join(parts)
    return rows


def _runs(done: Document) -> str:
    if not done["runs"]:
        return "No runs are pending.\n"
    worker = ("WORKER",) if "worker" in done["runs"][0] else ()
    head = ("ID", "MODEL", "CLIENT", "STATE", "ATTEMPT", "PROGRESS", "AGE", "POSITION", *worker, "MESSAGE")
    left_out = f"{done['left_out']} older ones are left out.\n" if done["left_out"] else ""
    return left_out + table([head, *(_run(run) for run in done["runs"])])


def _run(run: Document) -> Sequence[str]:
    progress = "-" if run["progress"] is None else f"{run['progress']:.0%}"
    position = "-" if run["position"] is None else str(run["position"])
    described = (
        run["id"],
        run["model"],
        run["client"] or "-",
        run["state"],
        str(run["attempt"]),
        progress,
        _span(run["age"]),
        position,
    )
    worker = (run["worker"] or "-",) if "worker" in run else ()
    return *described, *worker, run["message"]


def _logs(done: Document) -> str:
    head = f"Attempt {done['attempt']} of {done['id']}: {done['outcome']}, {done['finished']}\n"
    texts = [text for text in (done["output"], done["traceback"]) if text]
    return head + "".join(f"\n{printable(text, lines=True).rstrip()}\n" for text in texts)


def _cancelled(done: Document) -> str:
    became = {
        "cancelled": "is cancelled. Who still asks for it starts it anew.",
        "ended": "had come to its end just before: its result or failure is there.",
        "stopping": "is being stopped.",
    }
    return f"The run of {done['model']}, which was {done['state']}, {became[done['became']]}\n"


def _purged(done: Document) -> str:
    results, failures = _some(done["results"], "result"), _some(done["failures"], "failure")
    return f"{results} and {failures} are forgotten, {_size(done['bytes'])} in all.\n"


def _drained(done: Document) -> str:
    running, queued = _some(done["running"], "run"), _some(done["queued"], "run")
    everywhere = ", all nodes and workers" if done["cluster"] else ""
    if not done["draining"]:
        return f"Serving{everywhere}: {queued} in the queue, {running} under way.\n"
    ends = "etagere drain --off ends it, and no restart does" if everywhere else "etagere drain --off ends it"
    return (
        f"Draining{everywhere}: {running} under way, {queued} kept in the queue. "
        "New ones are refused; results are served.\n"
        f"etagere status tells when none is under way; {ends}.\n"
    )


def seconds_of(age: str) -> float:
    """A time such as 12h, in seconds.

    Raises:
        EtagereError: it is none.
    """
    found = _AGE.fullmatch(age)
    if found is None:
        raise EtagereError(f"an age is a number and its unit, s, m, h, d or w, such as 12h or 7d; not {age}")
    return float(found[1]) * _UNITS[found[2]]


def _span(seconds: float) -> str:
    """A time in its largest unit that there is more than one of."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(size: float) -> str:
    """Bytes, in the largest unit that there is one of."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size >= 1024**power:
            return f"{size / 1024**power:.1f} {unit}"
    return f"{size:.0f} bytes"


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they have to be; the last is not filled up."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown)
    return "".join(f"{line}\n" for line in lines)
