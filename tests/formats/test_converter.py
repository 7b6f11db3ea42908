"""Conversions in a process of their own, and what is said of those that fail."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from etagere.errors import InternalError, Stopping
from etagere.formats import converter as converter_module
from etagere.formats.columns import NotTabular
from etagere.formats.converter import Converter, can_convert

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_file_is_converted(tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"a": [1, 2]}')
    await Converter().convert("json", tmp_path / "in", "csv", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"a\r\n1\r\n2\r\n"


async def test_what_is_no_table_is_told_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"é": 1}')
    with pytest.raises(NotTabular, match="'é' of the result is not an array"):
        await Converter().convert("json", tmp_path / "in", "csv", tmp_path / "out")


async def test_a_conversion_that_breaks_is_a_fault_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in").write_bytes(b"not arrow")
    with pytest.raises(InternalError, match="could not be written as csv"):
        await Converter().convert("arrow", tmp_path / "in", "csv", tmp_path / "out")
    assert "ArrowInvalid" in caplog.text


async def test_closing_ends_what_is_under_way(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in")
    converter = Converter()
    task = asyncio.create_task(converter.convert("json", tmp_path / "in", "csv", tmp_path / "out"))
    # It opens the pipe to read it, and then waits for what nobody writes.
    pipe = await asyncio.to_thread(os.open, tmp_path / "in", os.O_WRONLY)
    converter.close()
    with pytest.raises(Stopping):
        await task
    os.close(pipe)
    with pytest.raises(Stopping):
        await converter.convert("json", tmp_path / "in", "csv", tmp_path / "other")
    assert not (tmp_path / "other").exists()


async def test_a_conversion_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converter_module, "TIME_LIMIT_S", 0.5)
    os.mkfifo(tmp_path / "in")
    with pytest.raises(InternalError, match="took too long"):
        await Converter().convert("json", tmp_path / "in", "csv", tmp_path / "out")


@pytest.mark.parametrize(("source", "target"), [("json", "csv"), ("json", "parquet"), ("arrow", "json")])
async def test_a_table_that_takes_more_memory_than_it_may(source: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "json").write_text(f'{{"a": {list(range(3_000_000))}}}')
    if source == "arrow":
        await Converter().convert("json", tmp_path / "json", "arrow", tmp_path / "arrow")
    # Some of what is given no memory says so, and some ends the process.
    with pytest.raises((NotTabular, InternalError), match=r"more memory|could not be written"):
        await Converter(memory=100 << 20).convert(source, tmp_path / source, target, tmp_path / "out")


def test_only_tables_are_converted() -> None:
    assert can_convert("json", "parquet")
    assert can_convert("arrow", "json")
    assert not can_convert("png", "svg")
    assert not can_convert("csv", "json")
