"""The named points at which a service is killed, and what clients ask for so that it comes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from etagere.core.lifecycle import State

When = Literal["before", "after", "committed"]
Only = Callable[..., bool]


@dataclass(frozen=True)
class Point:
    """Before or after a function of the service, or after the commit of the transaction that it is a part of.

    `where` is `module:name`. `only` is given the function's arguments and says whether this call counts.
    `asks` is the model that brings the service there. `changes` are values of the package's modules that
    differ, `fails` is a function that fails for want of room the first time. Nobody arrives there more
    often than `most` times in one life.
    """

    chapter: str
    what: str
    where: str
    when: When
    only: Only | None = None
    asks: str = "small"
    changes: Mapping[str, Any] = field(default_factory=dict)
    fails: str | None = None
    most: int = 100

    @property
    def name(self) -> str:
        """What it is called in the output."""
        return f"{self.chapter}: {self.what}, {self.when}"


class Chapter:
    """Points that belong together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.points: list[Point] = []

    def at(self, when: When, what: str, where: str, **more: Any) -> None:
        self.points.append(Point(self.name, what, where, when, **more))

    def around(self, what: str, where: str, **more: Any) -> None:
        """Before and after something that is done to files or processes."""
        self.at("before", what, where, **more)
        self.at("after", what, where, **more)

    def transaction(self, what: str, where: str, **more: Any) -> None:
        """After an action of the database's writer: before its commit, and behind it."""
        self.at("after", what, where, **more)
        self.at("committed", what, where, **more)


JOURNALLED = "etagere.runs.journal:save"
RECORDS = "etagere.caches.records:Records"
SLOWLY = {"etagere.runs.outbox:COLLECTED_AT_ONCE_S": 0.0}
"""Outcomes are recorded at once, and not only if the collector takes long."""


def _is_claimed(_: object, run: Any) -> bool:
    return run.state is State.running


def _has_crashed(_: object, run: Any) -> bool:
    return run.crashes > 0 and not run.ended


def _was_lost(_: object, run: Any) -> bool:
    return run.losses > 0 and not run.ended


def _has_ended(_: object, run: Any) -> bool:
    return bool(run.ended)


def _into_blobs(source: Path, target: Path) -> bool:
    return target.parent.parent.name == "blobs"


def _is_file(path: Path) -> bool:
    return path.suffix == ".tmp"


def _is_folder(path: Path) -> bool:
    return path.parent.name == "blobs"


def _is_result(path: Path, **_: object) -> bool:
    return path.name == "result"


def _is_of_a_run(path: Path, **_: object) -> bool:
    return path.parent.name == "runs"


def _are_some(_: object, names: Any) -> bool:
    return bool(names)


def _too_many(records: Any, connection: Any) -> bool:
    return bool(connection.execute("SELECT ghosts > ? FROM total", (records.ghosts,)).fetchone()[0])


def _too_large(records: Any, connection: Any, *_: object) -> bool:
    return bool(connection.execute("SELECT bytes > ? FROM total", (records.size,)).fetchone()[0])


accept = Chapter("accept")
accept.transaction("recording a run", "etagere.runs.journal:insert")
accept.around("waking the engine", "etagere.engines.local:LocalEngine.wake")

claim = Chapter("claim")
claim.transaction("recording a claim", JOURNALLED, only=_is_claimed)
claim.around("making the run's directory", "etagere.supervisor.directory:RunDirectory.create")
claim.around("ordering the run", "etagere.supervisor.process:Warm.run")
claim.transaction("recording a crash", JOURNALLED, only=_has_crashed, asks="dies_once")

finish = Chapter("finish")
finish.around("taking the result", "etagere.supervisor.directory:RunDirectory.take", asks="declared")
finish.transaction("recording the outcome", "etagere.runs.outbox:_insert", changes=SLOWLY)
finish.at("committed", "recording a refusal", "etagere.runs.outbox:_insert", changes=SLOWLY, asks="refuses")
finish.around("ending the process", "etagere.supervisor.process:Process.end")

collect = Chapter("collect")
collect.around("reading the result", "etagere.contents:read")
collect.transaction("keeping a result", f"{RECORDS}.keep_representation")
collect.transaction("keeping a failure", f"{RECORDS}.keep_failure", asks="refuses")
collect.transaction("keeping a variant", f"{RECORDS}.keep_variant", asks="text")
collect.transaction("recording the end", JOURNALLED, only=_has_ended)
collect.transaction("forgetting the outcome", "etagere.runs.outbox:_delete", changes=SLOWLY)
collect.around("removing the run's directory", "shutil:rmtree", only=_is_of_a_run)

blobs = Chapter("collect a file")
blobs.around("placing a file", "etagere.caches.blobs:_place", asks="large")
blobs.at("after", "syncing a file", "etagere.caches.blobs:_sync", only=_is_file, asks="large")
blobs.around("renaming a file", "pathlib:Path.replace", only=_into_blobs, asks="large")
blobs.at("after", "syncing a folder", "etagere.caches.blobs:_sync", only=_is_folder, asks="large")
blobs.at("committed", "keeping a file", f"{RECORDS}.keep_representation", asks="large")
blobs.at("after", "unlinking the result", "pathlib:Path.unlink", only=_is_result, asks="large")
blobs.at(
    "after",
    "putting a result off",
    "etagere.runs.outbox:Outbox.defer",
    asks="large",
    fails="etagere.caches.blobs:Blobs.adopt",
    most=1,
)

evict = Chapter("evict")
evict.transaction("choosing what goes", f"{RECORDS}._evict", only=_too_large, asks="large")
evict.around("removing files", "etagere.caches.blobs:Blobs.remove", only=_are_some, asks="large")
evict.transaction("noting what is used", "etagere.caches.records:touch")
evict.transaction("forgetting ghosts", f"{RECORDS}._trim_ghosts", only=_too_many)

start = Chapter("start")
start.transaction("forgetting what was answered", "etagere.runs.journal:forget_answered", most=1)
start.transaction("recording a loss", JOURNALLED, only=_was_lost, most=1)
start.around("sweeping the runs' directories", "etagere.supervisor.supervisor:sweep", most=1)
start.around("sweeping the files", "etagere.caches.stored:StoredBodies.sweep", most=1)

CHAPTERS = (accept, claim, finish, collect, blobs, evict, start)
POINTS = {point.name: point for chapter in CHAPTERS for point in chapter.points}
