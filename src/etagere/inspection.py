"""What is stored in a data directory, looked at from outside: nothing is changed."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from etagere import connections
from etagere.errors import BrokenDatabase

_STORED = "SELECT id, digest, size, file, mtime_ns FROM representation ORDER BY id"
_BODY = "SELECT content FROM body WHERE id = ?"


@dataclass(slots=True)
class Inspected:
    """How much was looked at; the keys of damaged bodies, and files that nothing refers to."""

    bodies: int
    size: int
    damaged: list[str]
    orphans: list[str]


def inspect(directory: Path, *, in_use: bool) -> Inspected | None:
    """Check the database's structure, and compare every body with its SHA-256; None where there is no database.

    In a directory that is `in_use`, what leaves or arrives meanwhile is no damage.

    Raises:
        BrokenDatabase: it cannot be used, or is of another format; the message says which.
    """
    path = directory / "etagere.sqlite3"
    if not path.exists():
        return None
    try:
        with closing(_open(path, in_use=in_use)) as connection:
            _check_format(connection)
            connections.quick_check(connection, lambda: False)
            return _compared(connection, directory / "blobs", in_use=in_use)
    except apsw.Error as error:
        raise BrokenDatabase(str(error)) from error


def _open(path: Path, *, in_use: bool) -> apsw.Connection:
    # Without a log nobody need be told of readers, and no file is made for that.
    alone = not in_use and not path.with_name(f"{path.name}-wal").exists()
    uri = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if alone else ''}"
    connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    connection.set_busy_timeout(connections.BUSY_TIMEOUT_MS)
    return connection


def _check_format(connection: apsw.Connection) -> None:
    version = connection.pragma("user_version")
    if version != connections.SCHEMA_VERSION:
        raise BrokenDatabase(f"it has the format {version}, and this version's is {connections.SCHEMA_VERSION}")


def _compared(connection: apsw.Connection, blobs: Path, *, in_use: bool) -> Inspected:
    found = Inspected(0, 0, [], [])
    named: set[str] = set()
    # All rows at once, and then body for body: a statement that is open for long has a service's log grow.
    rows: Any = connection.execute(_STORED).fetchall()
    for key, digest, size, file, mtime_ns in rows:
        found.bodies, found.size = found.bodies + 1, found.size + size
        if file is None:
            sound = _is_sound_row(connection, key, digest, size, or_gone=in_use)
        else:
            named.add(file)
            sound = _is_sound(blobs / file, digest, size, mtime_ns, or_gone=in_use)
        if not sound:
            found.damaged.append(key)
    if not in_use:
        found.orphans = sorted({f"{path.parent.name}/{path.name}" for path in blobs.glob("??/*")} - named)
    return found


def _is_sound_row(connection: apsw.Connection, key: str, digest: bytes, size: int, *, or_gone: bool) -> bool:
    rows: Any = connection.execute(_BODY, (key,)).fetchall()
    if not rows:
        return or_gone
    return len(rows[0][0]) == size and hashlib.sha256(rows[0][0]).digest() == digest


def _is_sound(path: Path, digest: bytes, size: int, mtime_ns: int, *, or_gone: bool) -> bool:
    try:
        kept = path.stat()
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").digest() == digest
    except FileNotFoundError:
        return or_gone
    except OSError:
        return False
    return same and (kept.st_size, kept.st_mtime_ns) == (size, mtime_ns)
