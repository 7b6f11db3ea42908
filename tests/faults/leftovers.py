"""What a service has left in its data directory beyond finished results."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw


def left_behind(data: Path) -> list[str]:
    """Runs and outcomes in the journal, directories of runs, files of the cache without a row, unfinished variants."""
    with closing(_opened(data)) as database:
        pending = [str(row[0]) for row in database.execute("SELECT id FROM run UNION ALL SELECT id FROM outcome")]
        named = {str(row[0]) for row in database.execute("SELECT file FROM representation WHERE file IS NOT NULL")}
    files = {str(path.relative_to(data / "blobs")) for path in (data / "blobs").glob("??/*")}
    made = [path.name for folder in ("runs", "variants") for path in (data / folder).glob("*")]
    return [*pending, *made, *sorted(files ^ named)]


def is_sound(data: Path) -> bool:
    """Whether SQLite finds nothing wrong with the database."""
    with closing(_opened(data)) as database:
        return database.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def _opened(data: Path) -> apsw.Connection:
    # By name, because a test may have put another file layer in the place of the default.
    database = apsw.Connection(str(data / "etagere.sqlite3"), flags=apsw.SQLITE_OPEN_READONLY, vfs="unix")
    database.set_busy_timeout(5000)
    return database
