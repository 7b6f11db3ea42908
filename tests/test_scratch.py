from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from etagere.lock import Lock
from etagere.scratch import Scratch


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_nobody_elses_and_gone_in_the_end(place: Path) -> None:
    first, second = Scratch(), Scratch()
    assert first.path != second.path
    assert os.stat(first.path).st_mode & 0o777 == 0o700
    (first.path / "runs").mkdir()
    first.remove()
    assert list(place.iterdir()) == [second.path]
    second.remove()


def test_what_somebody_else_has_removed_is_nobodys_concern(place: Path) -> None:
    scratch = Scratch()
    shutil.rmtree(scratch.path)
    scratch.remove()
    assert list(place.iterdir()) == []


def test_who_took_its_own_rights_away_is_removed_too(place: Path) -> None:
    scratch = Scratch()
    (scratch.path / "runs" / "shut").mkdir(parents=True)
    (scratch.path / "runs" / "shut" / "file").touch()
    (scratch.path / "file").touch()
    (scratch.path / "runs" / "shut").chmod(0)
    scratch.remove()
    assert list(place.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed_by_the_next(place: Path) -> None:
    left = place / "etagere-host-left"
    Lock(left).release(clean=False)
    (left / "runs").mkdir()
    others = [place / "etagere-host-being-made", place / "etagere-demo-1"]
    for other in others:
        other.mkdir()
    lent = place / "lent"
    Lock(lent).release(clean=False)
    (place / "etagere-host-link").symlink_to(lent)
    old = [place / "etagere-new-left", place / "etagere-host-lockless"]
    for each in old:
        each.mkdir()
        os.utime(each, (0, 0))
    held = Scratch()
    scratch = Scratch()
    assert not any(each.exists() for each in (left, *old))
    assert (lent / "lock").exists()
    assert held.path.exists()
    assert all(other.exists() for other in others)
    for each in (scratch, held):
        each.remove()
