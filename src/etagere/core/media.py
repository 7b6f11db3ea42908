"""Media types and the names of formats, which are what stands behind the dot in a path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

JSON = "application/json"
BINARY = "application/octet-stream"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
SVG = "image/svg+xml"

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        JSON: "json",
        BINARY: "bin",
        "application/geo+json": "geojson",
        "application/gzip": "gz",
        "application/pdf": "pdf",
        ARROW: "arrow",
        PARQUET: "parquet",
        "application/x-hdf5": "h5",
        "application/x-ndjson": "ndjson",
        "application/x-netcdf": "nc",
        "application/xml": "xml",
        "application/zip": "zip",
        "image/gif": "gif",
        "image/jpeg": "jpg",
        "image/png": "png",
        SVG: "svg",
        "image/tiff": "tiff",
        "image/webp": "webp",
        "text/csv": "csv",
        "text/html": "html",
        "text/markdown": "md",
        "text/plain": "txt",
        "video/mp4": "mp4",
        "video/webm": "webm",
    }
)
"""Media type → name, for the types that have a customary one."""

_COMPRESSIBLE = frozenset({JSON, ARROW, "application/x-ndjson", "application/xml"})
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?: *; *{_TOKEN}=(?:{_TOKEN}|"[ !#-\[\]-~]*"))*')


class Format(NamedTuple):
    """A format that a result can be given in: its name, as it stands in a path and in tags, and its media type."""

    name: str
    media_type: str


CODINGS: Mapping[str, str] = MappingProxyType({"zstd": "zst", "gzip": "gz"})
"""Content coding → what stands behind the format in a tag; the preferred one first."""

IDENTITY = "identity"


def coded_name(format: str, coding: str) -> str:
    """The name of a format's coded variant, as it stands in its tag."""
    return format if coding == IDENTITY else f"{format}.{CODINGS[coding]}"


def compresses(media_type: str) -> bool:
    """Whether a coded variant of this media type is worth making."""
    essence = media_type.partition(";")[0].strip().lower()
    return essence.startswith("text/") or essence.endswith(("+json", "+xml")) or essence in _COMPRESSIBLE


def is_media_type(text: str) -> bool:
    """Whether the text is a media type, parameters included (RFC 9110 §8.3.1)."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def format_name(media_type: str) -> str:
    """The name of a media type's format: the customary one, else made of the letters and digits of its subtype."""
    essence = media_type.partition(";")[0].strip().lower()
    derived = re.sub(r"[^a-z0-9]", "", essence.partition("/")[2].removeprefix("x-"))
    return FORMATS.get(essence) or derived or FORMATS[BINARY]
