from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etagere.formats import codings

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECODE = {"gzip": gzip.decompress, "zstd": zstd.decompress}


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=2000))
def test_what_is_coded_is_decoded_and_a_file_is_coded_like_its_bytes(
    tmp_path: Path, coding: str, content: bytes
) -> None:
    source, first, second = tmp_path / "source", tmp_path / "first", tmp_path / "second"
    first.unlink(missing_ok=True)
    second.unlink(missing_ok=True)
    source.write_bytes(content)
    codings.write(coding, content, first)
    codings.write(coding, source, second)
    assert DECODE[coding](first.read_bytes()) == content
    assert first.read_bytes() == second.read_bytes()


def test_gzip_tells_neither_time_nor_name(tmp_path: Path) -> None:
    codings.write("gzip", b"x", tmp_path / "a")
    header = (tmp_path / "a").read_bytes()[:10]
    assert (header[3], header[4:8]) == (0, bytes(4))
