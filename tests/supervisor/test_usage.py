from __future__ import annotations

import os
from pathlib import Path

import pytest

from etagere.supervisor import usage
from etagere.supervisor.usage import Usage

MIB = 1024 * 1024


def whole(root: Path) -> int:
    """The bytes of a whole round."""
    counting, found = Usage(root), [0]
    while len(found) < 2 or found[-1] > found[-2]:
        found.append(counting.count())
    return max(found)


def test_files_count_by_their_blocks_and_several_names_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    empty = whole(tmp_path)
    (tmp_path / "a" / "b" / "file").write_bytes(os.urandom(MIB))
    one = whole(tmp_path)
    assert MIB <= one - empty < 1.1 * MIB
    for n in range(10):
        os.link(tmp_path / "a" / "b" / "file", tmp_path / f"link{n}")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1024 * MIB)
    (tmp_path / "outside").symlink_to("/")
    assert whole(tmp_path) - one < 0.1 * MIB


def test_many_files_are_counted_in_several_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "ENTRIES_AT_ONCE", 10)
    for n in range(25):
        (tmp_path / str(n)).touch()
    counting = Usage(tmp_path)
    assert [counting.count() // 512 for _ in range(6)] == [10, 20, 25, 10, 20, 25]


def test_what_vanishes_or_is_locked_is_not_counted(tmp_path: Path) -> None:
    assert Usage(tmp_path / "nowhere").count() == 0
    (tmp_path / "folder").mkdir()
    counting = Usage(tmp_path)
    assert counting.count() > 0
    (tmp_path / "folder").rmdir()
    assert counting.count() == 0
