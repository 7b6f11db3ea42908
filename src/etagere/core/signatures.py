"""Whether a content can be what its media type says: not a proof that it is, but most mistakes show."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import orjson

from etagere.core import media

_BEGINNINGS: Mapping[str, tuple[bytes, ...]] = MappingProxyType(
    {
        "application/gzip": (b"\x1f\x8b",),
        "application/pdf": (b"%PDF-",),
        media.ARROW: (b"\xff\xff\xff\xff",),
        media.PARQUET: (b"PAR1",),
        "application/x-hdf5": (b"\x89HDF\r\n\x1a\n",),
        "application/x-netcdf": (b"CDF", b"\x89HDF\r\n\x1a\n"),
        "application/zip": (b"PK\x03\x04", b"PK\x05\x06"),
        "image/gif": (b"GIF8",),
        "image/jpeg": (b"\xff\xd8\xff",),
        "image/png": (b"\x89PNG\r\n\x1a\n",),
        "image/tiff": (b"II*\x00", b"MM\x00*"),
        "image/webp": (b"RIFF",),
    }
)


def contradiction(content: bytes, media_type: str, *, json: bool) -> str | None:
    """What speaks against this media type, which is JSON or is not; None where nothing does."""
    essence, _, parameters = media_type.lower().partition(";")
    essence = essence.strip()
    if json:
        return _json(content)
    if essence.startswith("text/") and ("charset" not in parameters or "utf-8" in parameters):
        return _text(content)
    beginnings = _BEGINNINGS.get(essence, ())
    return None if not beginnings or content.startswith(beginnings) else f"it begins with {content[:8]!r}"


def _json(content: bytes) -> str | None:
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return f"it cannot be read as JSON: {error}"
    return None


def _text(content: bytes) -> str | None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8, at byte {error.start}; name the charset in the media type"
    return None
