from __future__ import annotations

import os
from pathlib import Path

import pytest

from etagere.quarantine import MOST, MOST_BYTES, Quarantine


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine")


def names(quarantine: Quarantine) -> set[str]:
    return {path.name for path in quarantine.directory.iterdir()}


def file(path: Path, size: int = 3) -> Path:
    path.touch()
    os.truncate(path, size)
    return path


def test_a_file_is_moved(quarantine: Quarantine, tmp_path: Path) -> None:
    quarantine.take(file(tmp_path / "damaged"))
    assert names(quarantine) == {"damaged"}
    assert not (tmp_path / "damaged").exists()
    assert quarantine.directory.stat().st_mode & 0o777 == 0o700


def test_the_newest_few_are_kept_whatever_time_their_content_has(quarantine: Quarantine, tmp_path: Path) -> None:
    for n in range(MOST + 3):
        os.utime(file(tmp_path / str(n)), (1000 - n, 1000 - n))
        quarantine.take(tmp_path / str(n))
    assert names(quarantine) == {str(n) for n in range(3, MOST + 3)}


def test_the_newest_is_kept_however_large(quarantine: Quarantine, tmp_path: Path) -> None:
    quarantine.keep("small", b"body")
    quarantine.take(file(tmp_path / "large", MOST_BYTES - 10))
    assert names(quarantine) == {"small", "large"}
    quarantine.take(file(tmp_path / "larger", MOST_BYTES + 1))
    assert names(quarantine) == {"larger"}


def test_a_database_leaves_with_its_log(quarantine: Quarantine, tmp_path: Path) -> None:
    for n in range(3):
        for part in ("", "-wal", "-shm")[: 3 - n]:
            file(tmp_path / f"db{part}")
        assert (
            quarantine.set_aside(tmp_path / "db", "now") == quarantine.directory / ("db-now", "db-now.2", "db-now.3")[n]
        )
    assert names(quarantine) == {"db-now", "db-now-wal", "db-now-shm", "db-now.2", "db-now.2-wal", "db-now.3"}
    for n in range(MOST - 2):
        quarantine.keep(str(n), b"")
    assert names(quarantine) == {"db-now.2", "db-now.2-wal", "db-now.3", *map(str, range(MOST - 2))}


def test_what_cannot_be_moved_is_told_and_stays(
    quarantine: Quarantine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quarantine.directory.write_bytes(b"no directory")
    quarantine.take(file(tmp_path / "damaged"))
    quarantine.keep("body", b"body")
    assert (tmp_path / "damaged").exists()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    with pytest.raises(OSError, match="exists"):
        quarantine.set_aside(tmp_path / "damaged", "now")
