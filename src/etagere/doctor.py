"""`etagere doctor`: whether a service will be well on this machine, with this data directory and these settings."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import apsw

from etagere import inspection, keys
from etagere.config import Jwt, Settings, unknown_variables
from etagere.core.clients import Role
from etagere.errors import BrokenDatabase, StartError
from etagere.identity import with_joserfc
from etagere.lock import holder
from etagere.logs import without_password

# What a service has open beside its clients, roughly.
_OWN_FILES = 256
_OWN_PROCESSES = 64
_CLOCK_TOLERANCE_S = 60.0
_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"}
)
_MEMORY = frozenset({"tmpfs", "ramfs"})
_GIB = 1024**3


class Level(StrEnum):
    """How bad it is; a problem makes the exit status 1."""

    ok = "ok"
    warning = "warning"
    problem = "problem"


class Remark(NamedTuple):
    """What was looked at, and what was found; where it is not well, what to do follows."""

    level: Level
    subject: str
    said: str

    def __str__(self) -> str:
        return f"{self.level:8} {self.subject}: {self.said}"


def examine(settings: Settings, origins: Mapping[str, str]) -> Iterator[Remark]:
    """Look at everything; the remarks as they come. `origins` tells where settings come from that are no defaults."""
    yield versions()
    yield sqlite(apsw.sqlite_lib_version())
    yield _settings(settings, origins)
    if unknown := unknown_variables():
        said = f"{', '.join(unknown)}: no such settings, so they count for nothing"
        yield Remark(Level.warning, "environment", said)
    yield from _at_odds(settings)
    yield from _directory(settings.data)
    yield file_system(settings.data, _mounts())
    yield _space(settings)
    yield from _limits(settings)
    yield _clock(settings.data)
    yield from _keys(settings.key_file)
    if settings.jwt is not None:
        yield from _key_set(settings.jwt)
    yield from _stored(settings.data)


def versions() -> Remark:
    """What is installed."""
    names = ("etagere", "apsw", "granian", "pydantic")
    installed = ", ".join(f"{name} {version(name)}" for name in names)
    said = f"Python {platform.python_version()}, {installed}, {platform.system()} {platform.release()}"
    return Remark(Level.ok, "versions", said)


def sqlite(installed: str) -> Remark:
    """Whether this version of SQLite has the WAL-reset bug (sqlite.org/wal.html), which can corrupt a database."""
    number = tuple(int(part) for part in installed.split(".")[:3])
    mended = (3, 44, 6) <= number < (3, 45) or (3, 50, 7) <= number < (3, 51) or number >= (3, 51, 3)
    if mended and number != (3, 52, 0):
        return Remark(Level.ok, "SQLite", f"{installed}, without the WAL-reset bug")
    said = (
        f"{installed} has a bug that can corrupt a database (WAL reset): install apsw 3.51.3 or newer, and not 3.52.0"
    )
    return Remark(Level.problem, "SQLite", said)


def _settings(settings: Settings, origins: Mapping[str, str]) -> Remark:
    given = [f"{name}={_shown(getattr(settings, name))} from {place}" for name, place in sorted(origins.items())]
    said = "; ".join([*given, "the others have their defaults" if given else "all have their defaults"])
    return Remark(Level.ok, "settings", said)


def _shown(value: object) -> object:
    """A setting without the password that a URL may have, or what was given for one."""
    return without_password(value) if isinstance(value, str) and ("://" in value or "@" in value) else value


def _at_odds(settings: Settings) -> Iterator[Remark]:
    for fault in settings.contradictions:
        yield Remark(Level.problem, "settings together", fault)
    if settings.idle:
        said = f"{', '.join(settings.idle)}: they mean nothing without a store"
        yield Remark(Level.warning, "settings together", said)


def _directory(data: Path) -> Iterator[Remark]:
    subject = f"data directory {data}"
    if not data.exists():
        parent = _existing(data)
        if os.access(parent, os.W_OK | os.X_OK):
            yield Remark(Level.ok, subject, "is not there yet; the first start makes it")
        else:
            yield Remark(Level.problem, subject, f"cannot be made: {parent} may not be written by this user")
        return
    found = data.stat()
    mode = stat.S_IMODE(found.st_mode)
    if not data.is_dir():
        yield Remark(Level.problem, subject, "is a file: name another with --data")
    elif found.st_uid != os.geteuid():
        said = f"belongs to user {found.st_uid}, and this is user {os.geteuid()}: run as its owner, or name another"
        yield Remark(Level.problem, subject, said)
    elif mode != 0o700:
        yield Remark(
            Level.warning, subject, f"has mode {mode:04o}, and others may read it: the next start makes it 0700"
        )
    else:
        yield Remark(Level.ok, subject, "is this user's own, with mode 0700")


def file_system(data: Path, mounts: Mapping[Path, str]) -> Remark:
    """Whether the data directory lies where SQLite's log works; `mounts` tells the type at each mount point."""
    place = _existing(data).resolve()
    kind = next((mounts[path] for path in (place, *place.parents) if path in mounts), None)
    if kind is None:
        return Remark(Level.ok, "file system", "its type is not known here; it must be a local one")
    if kind in _REMOTE:
        said = (
            f"{kind} is shared between machines, where SQLite's log does not work: name a local directory with --data"
        )
        return Remark(Level.problem, "file system", said)
    if kind.startswith("fuse.") or kind == "fuse":
        return Remark(Level.warning, "file system", f"{kind} may be a remote one: see to it that it is local")
    if kind in _MEMORY:
        said = f"{kind} is memory: after a restart of the machine everything is computed again"
        return Remark(Level.warning, "file system", said)
    return Remark(Level.ok, "file system", f"{kind} is local")


def _space(settings: Settings) -> Remark:
    free = shutil.disk_usage(_existing(settings.data)).free
    used = sum(
        found.st_size for path in settings.data.rglob("*") if (found := _stat(path)) and stat.S_ISREG(found.st_mode)
    )
    more = max(0, settings.cache_size - used)
    told = f"{free / _GIB:.1f} GiB are free"
    if free < settings.max_result:
        said = f"{told}, and one result may have {settings.max_result / _GIB:.1f} GiB: make room, or lower max_result"
        return Remark(Level.problem, "space", said)
    if free < more:
        said = f"{told}, and the cache may grow by {more / _GIB:.1f} GiB: make room, or lower cache_size"
        return Remark(Level.warning, "space", said)
    return Remark(Level.ok, "space", f"{told}; the cache may grow by {more / _GIB:.1f} GiB")


def _limits(settings: Settings) -> Iterator[Remark]:
    wanted = settings.max_waiting + _OWN_FILES
    yield _limit("open files", resource.RLIMIT_NOFILE, wanted, "ulimit -n", "lower max_waiting")
    wanted = _OWN_PROCESSES + 8 * settings.runs
    yield _limit("processes", resource.RLIMIT_NPROC, wanted, "ulimit -u", "lower runs")


def _limit(subject: str, kind: int, wanted: int, command: str, otherwise: str) -> Remark:
    allowed = resource.getrlimit(kind)[0]
    if allowed == resource.RLIM_INFINITY:
        return Remark(Level.ok, subject, "no limit")
    if allowed < wanted:
        said = (
            f"{allowed} are allowed, and {wanted} may be needed: raise the limit ({command} {wanted}), or {otherwise}"
        )
        return Remark(Level.warning, subject, said)
    return Remark(Level.ok, subject, f"{allowed} are allowed, {wanted} may be needed")


def _clock(data: Path) -> Remark:
    first = time.monotonic()
    if time.monotonic() < first or not time.get_clock_info("monotonic").monotonic:
        return Remark(Level.problem, "clock", "the monotonic clock runs backwards: delays and limits cannot be kept")
    newest = max(_dated(data), default=None)
    ahead = newest[0] - time.time() if newest else 0.0
    if newest is not None and ahead > _CLOCK_TOLERANCE_S:
        said = (
            f"{newest[1]} was written {ahead:.0f} s in the future: the clock is late, or was wrong then; set it right"
        )
        return Remark(Level.warning, "clock", said)
    return Remark(Level.ok, "clock", "no file is from the future")


def _dated(data: Path) -> Iterator[tuple[float, str]]:
    """Times and names of files that were written by us, the program itself included."""
    for path in (Path(__file__), *data.glob("*")):
        if found := _stat(path):
            yield found.st_mtime, str(path)


def _keys(path: Path) -> Iterator[Remark]:
    subject = f"keys {path}"
    try:
        found = keys.read(path)
    except StartError as error:
        yield Remark(Level.problem, subject, str(error))
        return
    if not path.exists():
        yield Remark(Level.ok, subject, "there are none; etagere keys add makes one")
        return
    yield from _written_by_others(path, "make keys for themselves", 0o600)
    expired = sum(key.expires is not None and key.expires <= time.time() for key in found)
    operators = sum(key.role is Role.operator for key in found)
    said = f"{len(found)} in all, {operators} for operators, {expired} expired"
    if found and expired == len(found):
        yield Remark(Level.warning, subject, f"{said}: nobody can show a key; etagere keys add makes new ones")
    else:
        yield Remark(Level.ok, subject, said)


def _key_set(jwt: Jwt) -> Iterator[Remark]:
    subject = f"key set {jwt.keys}"
    try:
        jwks = with_joserfc("etagere.jwks")
        found = jwks.read(jwt.keys, [jwks.algorithm(name) for name in jwt.algorithms])
    except StartError as error:
        yield Remark(Level.problem, subject, str(error))
        return
    yield from _written_by_others(jwt.keys, "make tokens for themselves", 0o644)
    if found:
        yield Remark(Level.ok, subject, f"{len(found)} keys can check tokens of {jwt.issuer}")
    else:
        names = ", ".join(jwt.algorithms)
        said = f"no key is for a signature by {names}: fetch the issuer's set again, or name other algorithms"
        yield Remark(Level.problem, subject, said)


def _written_by_others(path: Path, can: str, most: int) -> Iterator[Remark]:
    """What is said of a file that others may open further than `most`; whoever writes there `can` do that."""
    mode = stat.S_IMODE(path.stat().st_mode)
    subject, more = f"mode of {path}", mode & 0o077 & ~most
    if more & 0o022:
        yield Remark(Level.problem, subject, f"{mode:04o}: others may write, and {can}; chmod {most:o} it")
    elif more & 0o044:
        yield Remark(Level.warning, subject, f"{mode:04o}: others may read whose keys there are; chmod {most:o} it")


def _stored(data: Path) -> Iterator[Remark]:
    try:
        held = holder(data)
    except OSError as error:
        yield Remark(Level.problem, "lock", f"it cannot be looked at: {error.strerror}")
        return
    said = f"in use by {held}: what is stored is read only" if held else "no service runs on the data directory"
    yield Remark(Level.ok, "lock", said)
    try:
        yield from _inspected(inspection.inspect(data, in_use=held is not None))
    except BrokenDatabase as broken:
        said = f"the database cannot be used ({broken}): the next start sets it aside, unless a newer version wrote it"
        yield Remark(Level.problem, "stored results", said)
    aside = sorted(path.name for path in (data / "quarantine").glob("*"))
    if aside:
        said = f"{len(aside)} files; the disk or memory of this machine may fail. Look at the log, then remove them"
        yield Remark(Level.warning, "quarantine", said)


def _inspected(found: inspection.Inspected | None) -> Iterator[Remark]:
    if found is None:
        yield Remark(Level.ok, "stored results", "none yet")
    elif found.damaged:
        said = (
            f"{len(found.damaged)} of {found.bodies} are damaged: a running service computes them again, within a day"
        )
        yield Remark(Level.problem, "stored results", said)
    else:
        yield Remark(Level.ok, "stored results", f"{found.bodies}, of {found.size} bytes in all, are what was put")
    if found is not None and found.orphans:
        yield Remark(Level.warning, "blobs", f"{len(found.orphans)} files belong to no result: a service removes them")


def _stat(path: Path) -> os.stat_result | None:
    """None where a running service has just removed it."""
    try:
        return path.lstat()
    except OSError:
        return None


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _mounts() -> dict[Path, str]:
    """The type of the file system at each mount point; empty where that is not known (proc_pid_mountinfo(5))."""
    if sys.platform != "linux":
        return {}
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace(r"\040", " ")
        mounts[Path(point)] = after.split()[0]
    return mounts
