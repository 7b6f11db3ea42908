"""Query string ↔ fields, and canonical text → canonical URI → resource id."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote, unquote_to_bytes

from etagere.errors import MalformedRequest

MAX_FIELDS = 5_000
"""How many fields a query string, a form or a JSON object may have."""

_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")
_FIELD = re.compile(rb"[^&]+")
_BROKEN_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def encode(text: str) -> str:
    """Percent-encode everything but RFC 3986's unreserved characters; upper-case hex, a space is `%20`."""
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")


def decode(raw: bytes) -> str:
    """Undo percent-encoding, strictly.

    Raises:
        ValueError: a percent sign without two hex digits, or bytes that are not UTF-8.
    """
    if b"%" not in raw:
        return _utf8(raw)
    broken = _BROKEN_PERCENT.search(raw)
    if broken:
        raise ValueError(f"a percent sign needs two hex digits, at byte {broken.start() + 1}")
    return _utf8(unquote_to_bytes(raw))


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not valid UTF-8: byte 0x{error.object[error.start]:02X}") from None


def split(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The fields of a query string or form, name and value, still encoded but for `+`, which is a space.

    Raises:
        MalformedRequest: there are more than `MAX_FIELDS`.
    """
    for count, match in enumerate(_FIELD.finditer(raw)):
        if count == MAX_FIELDS:
            raise MalformedRequest(f"There are more than {MAX_FIELDS} fields.")
        name, _, value = match[0].replace(b"+", b" ").partition(b"=")
        yield name, value


def query_string(texts: Mapping[str, str]) -> str:
    """The canonical query string of canonical texts: sorted by name, percent-encoded."""
    return "&".join(f"{encode(name)}={encode(texts[name])}" for name in sorted(texts))


def resource_uri(name: str, version: str, query: str, tenant: str = "") -> str:
    """The canonical URI of a model's canonical query string, with the encoded `tenant` of a private model before it."""
    path = f"{encode(tenant)}/{name}@{version}"
    return f"{path}?{query}" if query else path


def resource_id(uri: str) -> str:
    """The id: base32 (RFC 4648 §6, lower case) of the SHA-256 of the canonical URI, its first 32 characters."""
    return base64.b32encode(hashlib.sha256(uri.encode()).digest())[:32].decode().lower()


def tenant_of(uri: str) -> str:
    """The tenant before a canonical URI, empty where there is none."""
    return unquote(uri[: max(uri.find("/"), 0)])


def model_key(uri: str) -> str:
    """`name@version` of a canonical URI."""
    # Without a copy of what may be long.
    end = uri.find("?")
    return (uri if end < 0 else uri[:end]).partition("/")[2]
