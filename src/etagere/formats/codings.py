"""Content codings (RFC 9110 §8.4.1, RFC 8878): the same bytes for the same content, whenever it is coded."""

from __future__ import annotations

import gzip
import io
import shutil
import sys
from pathlib import Path
from typing import BinaryIO

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CHUNK = 1024 * 1024
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3


def write(coding: str, source: bytes | Path, target: Path) -> None:
    """Write the content coded to the file `target`; blocks.

    Raises:
        FileNotFoundError: the source is gone.
    """
    with target.open("xb") as file, io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as content:
        {"gzip": _gzip, "zstd": _zstd}[coding](content, file)


def _gzip(source: BinaryIO, target: BinaryIO) -> None:
    # Without a name and a time: both would be in the bytes.
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, target, mtime=0) as coded:
        shutil.copyfileobj(source, coded, _CHUNK)


def _zstd(source: BinaryIO, target: BinaryIO) -> None:
    # The library's own file writes nothing at all for no content, not even an empty frame.
    compressor = zstd.ZstdCompressor(_ZSTD_LEVEL)
    while chunk := source.read(_CHUNK):
        target.write(compressor.compress(chunk))
    target.write(compressor.flush())
