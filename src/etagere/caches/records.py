"""The rows of the cache; what takes a connection is an action of the database's writer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from etagere.caches.blobs import blob_name
from etagere.core.media import CODINGS, IDENTITY
from etagere.core.representation import Difference, Failure, Ghost, Kind, Representation, Resource
from etagere.errors import Evicted, InternalError

_SELECT = (
    "SELECT id, format, media_type, size, created, seconds, digest, content, file, mtime_ns, accepted, attempt"
    " FROM representation LEFT JOIN body USING (id) WHERE id"
)
REPRESENTATION = f"{_SELECT} = ?"
BEHIND = f"{_SELECT} > ? ORDER BY id LIMIT 256"
# A variant lies behind its primary: its key is the id, a dot and its name, and "/" is what follows ".".
_FAMILY = "SELECT id, file, size FROM representation WHERE id = :id OR (id > :id || '.' AND id < :id || '/')"
_CODING = {suffix: coding for coding, suffix in CODINGS.items()}
# No join, which SQLite would plan anew each time: it takes three times as long.
GHOST = (
    "SELECT id, uri, digest, seconds, (SELECT first FROM difference WHERE difference.id = ghost.id),"
    " (SELECT later FROM difference WHERE difference.id = ghost.id),"
    " (SELECT seen FROM difference WHERE difference.id = ghost.id) FROM ghost WHERE id = ?"
)
HELD = "SELECT bytes, number, ghosts FROM total, representation_total"
FAILURE = (
    "SELECT id, kind, created, seconds, expires, attempt, accepted, detail, facts"
    " FROM failure WHERE id = ? AND expires > ?"
)


class Kept(NamedTuple):
    """What the cache has now, how what was given differs from what there was, and the ids and files that had to go."""

    finished: Representation | Failure
    difference: Difference | None = None
    evicted: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Records:
    """How rows are kept: blobs lie below `directory`, `size` bytes at most in all, `ghosts` at most.

    A new representation is safe from eviction for `keep` seconds, or as long as it is `awaited`.
    """

    directory: Path
    size: int
    ghosts: int
    keep: float

    def representation(self, row: tuple[Any, ...]) -> Representation | None:
        """The representation of a row, or None where its body is not what was put there."""
        key, form, media_type, size, created, seconds, digest, body, file, mtime_ns, accepted, attempt = row
        if not _is_sound(digest, size, body, file):
            return None
        path = None if file is None else self.directory / file
        id, _, name = key.partition(".")
        coding = _CODING.get(name.partition(".")[2], IDENTITY)
        about = id, form, media_type, digest, size, created, seconds
        return Representation(*about, body, path, mtime_ns, coding, bool(name), accepted, attempt)

    def keep_representation(
        self, connection: apsw.Connection, resource: Resource, given: Representation, file: str | None, now: float
    ) -> Kept:
        """Keep it if it is the first of its id; `file` is the name of its blob, if it has one."""
        there = self._sound(connection, given.id)
        kept = there or given
        before = _keep_ghost(connection, resource, kept.digest, given.seconds, now)
        difference = _keep_difference(connection, resource, there.digest if there else before, given.digest, now)
        if there is not None:
            return Kept(there, difference)
        connection.execute("DELETE FROM failure WHERE id = ?", (given.id,))
        # Variants of a primary that was lost may be those of other bytes.
        stale = _delete(connection, given.id)
        _insert(connection, given, file, now, now + max(self.keep, given.awaited))
        evicted = self._evict(connection, given.id, now)
        self._trim_ghosts(connection)
        return Kept(given, difference, (*stale, *evicted))

    def keep_variant(
        self, connection: apsw.Connection, primary: Representation, given: Representation, file: str | None, now: float
    ) -> Kept:
        """Keep a variant if it is the first of its name; `file` is the name of its blob, if it has one.

        Raises:
            Evicted: the primary is not there, or is another one.
        """
        digests = connection.execute("SELECT digest FROM representation WHERE id = ?", (given.id,)).fetchall()
        if digests != [(primary.digest,)]:
            raise Evicted(f"{given.key} has no primary representation")
        there = self._sound(connection, given.key)
        if there is not None:
            return Kept(there)
        _insert(connection, given, file, now, now + self.keep)
        return Kept(given, evicted=self._evict(connection, given.id, now))

    def keep_failure(self, connection: apsw.Connection, resource: Resource, given: Failure, now: float) -> Kept:
        """Keep it, unless there is a representation."""
        there = self._sound(connection, given.id)
        _keep_ghost(connection, resource, None, given.seconds, now)
        if there is not None:
            return Kept(there)
        connection.execute("DELETE FROM failure WHERE expires <= ?", (now,))
        connection.execute(
            "INSERT OR REPLACE INTO failure (id, kind, created, seconds, expires, attempt, accepted, detail, facts)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*_known(given), given.detail, json.dumps(given.facts)),
        )
        self._trim_ghosts(connection)
        return Kept(given)

    def drop_unsound(self, connection: apsw.Connection, id: str) -> tuple[bytes, bytes | None] | None:
        """Forget the representation if its body is not what was put there, still; its digest, and what is there."""
        rows: Any = connection.execute(REPRESENTATION, (id,)).fetchall()
        if not rows or self.representation(rows[0]) is not None:
            return None
        connection.execute("DELETE FROM representation WHERE id = ?", (id,))
        return rows[0][6], rows[0][7]

    def _sound(self, connection: apsw.Connection, id: str) -> Representation | None:
        rows = connection.execute(REPRESENTATION, (id,)).fetchall()
        found = self.representation(rows[0]) if rows else None
        if rows and found is None:
            connection.execute("DELETE FROM representation WHERE id = ?", (id,))
        return found

    def _evict(self, connection: apsw.Connection, spared: str, now: float) -> tuple[tuple[str, str | None], ...]:
        """Delete what was not used for longest; not the resource `spared`, whose turn it is."""
        excess = total_bytes(connection) - self.size
        if excess <= 0:
            return ()
        kept = {key for key, _, _ in _family(connection, spared)}
        victims: dict[str, str | None] = {}
        oldest: Any = connection.execute("SELECT id FROM representation WHERE kept_until <= ? ORDER BY used", (now,))
        for (victim,) in oldest:
            for key, file, size in () if victim in kept else _family(connection, victim):
                excess -= 0 if key in victims else size
                victims[key] = file
            if excess <= 0:
                break
        oldest.close()
        connection.executemany("DELETE FROM representation WHERE id = ?", [(victim,) for victim in victims])
        return tuple(victims.items())

    def _trim_ghosts(self, connection: apsw.Connection) -> None:
        excess = _total(connection, "SELECT ghosts FROM total") - self.ghosts
        if excess <= 0:
            return
        batch = excess + self.ghosts // 100
        forgotten: list[tuple[str]] = []
        oldest: Any = connection.execute("SELECT id, 1 + length(uri) / 16384 FROM ghost ORDER BY asked")
        for id, weight in oldest:
            forgotten.append((id,))
            batch -= weight
            if batch <= 0:
                break
        oldest.close()
        connection.executemany("DELETE FROM ghost WHERE id = ?", forgotten)
        # Refusals are kept for very long; their ghosts are what bounds them.
        connection.executemany("DELETE FROM failure WHERE id = ?", forgotten)


def _is_sound(digest: bytes, size: int, body: bytes | None, file: str | None) -> bool:
    """Whether a row is what was put there; the content of a file is not looked at."""
    if file is not None:
        return file == blob_name(digest)
    return body is not None and len(body) == size and hashlib.sha256(body).digest() == digest


def failure(row: tuple[Any, ...]) -> Failure:
    """The failure of a row."""
    given, kind, created, seconds, expires, attempt, accepted, detail, facts = row
    return Failure(given, Kind(kind), detail, created, seconds, expires, attempt, accepted, json.loads(facts))


def ghost(row: tuple[Any, ...]) -> Ghost:
    """The ghost of a row."""
    id, uri, digest, seconds, *found = row
    return Ghost(id, uri, digest, seconds, None if found[0] is None else Difference(*found))


def touch(connection: apsw.Connection, used: Iterable[tuple[float, str]]) -> None:
    """Note when ids were asked for; what was delivered need not be kept for those who wait."""
    pairs = list(used)
    connection.executemany("UPDATE representation SET used = ?, kept_until = 0 WHERE id = ?", pairs)
    connection.executemany("UPDATE ghost SET asked = ? WHERE id = ?", pairs)


def drop(connection: apsw.Connection, key: str) -> tuple[tuple[str, str | None], ...]:
    """Forget a representation with its variants, or a failure; the keys of what there was, and their blobs."""
    connection.execute("DELETE FROM failure WHERE id = ?", (key,))
    return _delete(connection, key)


def drop_older(connection: apsw.Connection, id: str, before: float) -> tuple[tuple[str, str | None], ...]:
    """Forget a representation with its variants if it ended before that time; the keys of what there was, and blobs."""
    rows = connection.execute("SELECT 1 FROM representation WHERE id = ? AND created < ?", (id, before)).fetchall()
    return _delete(connection, id) if rows else ()


def drop_older_failure(connection: apsw.Connection, id: str, before: float) -> bool:
    """Forget a failure if it ended before that time; whether there was one."""
    connection.execute("DELETE FROM failure WHERE id = ? AND created < ?", (id, before))
    return connection.changes() > 0


def _delete(connection: apsw.Connection, key: str) -> tuple[tuple[str, str | None], ...]:
    found = _family(connection, key)
    connection.executemany("DELETE FROM representation WHERE id = ?", [(name,) for name, _, _ in found])
    return tuple((name, file) for name, file, _ in found)


def _family(connection: apsw.Connection, key: str) -> list[tuple[str, str | None, int]]:
    """Key, blob and size of a representation and of its variants."""
    rows: Any = connection.execute(_FAMILY, {"id": key}).fetchall()
    return list(rows)


def _insert(connection: apsw.Connection, given: Representation, file: str | None, now: float, until: float) -> None:
    connection.execute(
        "INSERT INTO representation"
        " (id, format, media_type, size, created, seconds, digest, used, kept_until, file, mtime_ns, accepted, attempt)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*_fields(given), now, until, file, given.mtime_ns, given.accepted, given.attempt),
    )
    if file is None:
        connection.execute("INSERT INTO body (id, content) VALUES (?, ?)", (given.key, given.body))


def _fields(given: Representation) -> tuple[str, str, str, int, float, float, bytes]:
    return given.key, given.format, given.media_type, given.size, given.created, given.seconds, given.digest


def _known(given: Failure) -> tuple[str, str, float, float, float, int, float]:
    return given.id, given.kind, given.created, given.seconds, given.expires, given.attempt, given.accepted


def total_bytes(connection: apsw.Connection) -> int:
    """The bytes of all bodies."""
    return _total(connection, "SELECT bytes FROM total")


def _total(connection: apsw.Connection, statement: str) -> int:
    (total,) = connection.execute(statement).fetchall()[0]
    assert isinstance(total, int)
    return total


def keep_ghost(connection: apsw.Connection, found: Ghost, model: str, now: float) -> None:
    """Keep what is known of a resource that has nothing here."""
    _keep_ghost(connection, Resource(found.id, found.uri, model), found.digest, found.seconds or 0.0, now)


def _keep_ghost(
    connection: apsw.Connection, resource: Resource, digest: bytes | None, seconds: float, now: float
) -> bytes | None:
    rows = connection.execute("SELECT uri, digest FROM ghost WHERE id = ?", (resource.id,)).fetchall()
    uri, before = rows[0] if rows else (resource.uri, None)
    if uri != resource.uri:
        raise InternalError(f"Two canonical URIs have the id {resource.id}.")
    connection.execute(
        "INSERT INTO ghost (id, digest, seconds, model, asked, uri) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET"
        " digest = coalesce(excluded.digest, digest), seconds = excluded.seconds, asked = excluded.asked",
        (resource.id, digest, seconds, resource.model, now, resource.uri),
    )
    assert before is None or isinstance(before, bytes)
    return before


def _keep_difference(
    connection: apsw.Connection, resource: Resource, before: bytes | None, given: bytes, now: float
) -> Difference | None:
    if before in (None, given):
        return None
    assert before is not None
    difference = Difference(before, given, now)
    connection.execute(
        "INSERT OR REPLACE INTO difference (id, model, first, later, seen) VALUES (?, ?, ?, ?, ?)",
        (resource.id, resource.model, before, given, now),
    )
    return difference
