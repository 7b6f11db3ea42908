from __future__ import annotations

import gzip
import io
import zipfile

import matplotlib.figure
import pyarrow as pa
import pytest

from etagere import figures, tabular
from etagere.core.signatures import contradiction


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (gzip.compress(b"x", mtime=0), "application/gzip"),
        (zipped(), "Application/ZIP"),
        (tabular.encode(pa.table({"a": [1]})), "application/vnd.apache.arrow.stream"),
        (figures.encode(matplotlib.figure.Figure())[0], "image/png"),
        ("é".encode(), "text/plain; charset=UTF-8"),
        ("é".encode("latin-1"), "text/plain; charset=latin-1"),
        (b"\xff", "application/octet-stream"),
        (b"", "text/csv"),
    ],
)
def test_what_is_what_it_is_declared_as(content: bytes, media_type: str) -> None:
    assert contradiction(content, media_type, json=False) is None


@pytest.mark.parametrize(
    ("content", "media_type", "said"),
    [
        (b"%PDF-1.7", "image/png", "it begins with b'%PDF-1.7'"),
        (b"", "application/zip", "it begins with b''"),
        ("aé".encode("latin-1"), "text/csv", "it is not UTF-8, at byte 1"),
    ],
)
def test_what_is_not(content: bytes, media_type: str, said: str) -> None:
    found = contradiction(content, media_type, json=False)
    assert found is not None
    assert found.startswith(said)


@pytest.mark.parametrize("content", [b"", b"NaN", b"{'a': 1}", b"\xff", b'{"a":1}}'])
def test_what_is_not_json(content: bytes) -> None:
    assert contradiction(content, "application/json", json=True) is not None
    assert contradiction(b'{"a":1}', "application/json", json=True) is None
