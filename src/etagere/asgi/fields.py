"""The header fields of a request, by name."""

from __future__ import annotations

from collections.abc import Mapping

from etagere.asgi.responses import Headers
from etagere.errors import FieldsTooLarge

LONGEST_FIELD = 8192

Fields = Mapping[bytes, bytes]


def combined(headers: Headers) -> Fields:
    """The values by name; several fields of a name are one list (RFC 9110 §5.3)."""
    fields = dict(headers)
    if len(fields) != len(headers):
        for name in fields:
            fields[name] = b", ".join(value for other, value in headers if other == name)
    return fields


def limited(fields: Fields, name: bytes) -> bytes | None:
    """A field that has to be parsed, and may be kept.

    Raises:
        FieldsTooLarge: it is longer than `LONGEST_FIELD` bytes.
    """
    value = fields.get(name)
    if value is not None and len(value) > LONGEST_FIELD:
        raise FieldsTooLarge(f"{name.decode()} has {len(value)} bytes; the limit is {LONGEST_FIELD}.")
    return value


def text(fields: Fields, name: bytes) -> str:
    """The same as text, empty where it is not there."""
    return (limited(fields, name) or b"").decode("latin-1")
