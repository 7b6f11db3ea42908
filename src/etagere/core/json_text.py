"""JSON as strict text: reading keeps what Python's own objects lose, writing follows RFC 8785.

Numbers keep their spelling, so that they go through the same grammar as a query string's;
members keep their repetitions, so that whoever knows the place can report them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import TypeAlias

MAX_DEPTH = 32
"""How deep arrays and objects may nest."""

MAX_VALUES = 1_000_000
"""How many values one JSON text may have; what is counted are its commas and opening brackets."""

# An unterminated string swallows the rest, which keeps the search linear.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_OTHER_BYTES = bytes(set(range(256)) - set(_STEPS) - {ord(",")})


class Number(str):
    """A JSON number as it was spelt."""

    __slots__ = ()


class Members(tuple[tuple[str, "Json"], ...]):
    """The members of a JSON object in order, repetitions included."""

    __slots__ = ()


Json: TypeAlias = "bool | str | Number | list[Json] | Members | None"


def load(text: str) -> Json:
    """Read one JSON text.

    Raises:
        ValueError: it is not JSON (RFC 8259), has NaN or Infinity, more than `MAX_VALUES` values, or nests deeper
            than `MAX_DEPTH`.
    """
    outline = _outline(text)
    if sum(map(outline.count, b",[{")) > MAX_VALUES:
        raise ValueError(f"has more than {MAX_VALUES} values")
    if _depth(outline) > MAX_DEPTH:
        raise ValueError(f"nests deeper than {MAX_DEPTH} levels")
    try:
        node: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    return node


def depth(text: str) -> int:
    """How deep the brackets of a JSON text nest, those inside strings not counted."""
    return _depth(_outline(text))


def quote(text: str) -> str:
    """A JSON string in the spelling of RFC 8785 §3.2.2.2."""
    return _ENCODER.encode(text)


def write_object(members: Mapping[str, str]) -> str:
    """A JSON object of members that are JSON already, ordered by UTF-16 code units (RFC 8785 §3.2.3)."""
    names = sorted(members, key=lambda name: name.encode("utf-16-be"))
    return "{" + ",".join(f"{quote(name)}:{members[name]}" for name in names) + "}"


def write_array(items: Iterable[str]) -> str:
    """A JSON array of items that are JSON already."""
    return "[" + ",".join(items) + "]"


def _outline(text: str) -> bytes:
    """The brackets and commas of a JSON text, those inside strings left out."""
    return _STRING.sub(_nothing, text).encode("utf-8", "replace").translate(None, _OTHER_BYTES)


def _depth(outline: bytes) -> int:
    return max(accumulate(map(_STEPS.__getitem__, outline.translate(None, b","))), default=0)


# These are Python functions, and not what they call, because other threads get their turn when one is called:
# a text of some megabytes would hold up everybody else until it has been read.
def _nothing(string: re.Match[str]) -> str:
    return ""


def _number(spelling: str) -> Number:
    return Number(spelling)


def _members(pairs: list[tuple[str, Json]]) -> Members:
    return Members(pairs)


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"not JSON: {name} is no number")


_ENCODER = json.JSONEncoder(ensure_ascii=False)
_DECODER = json.JSONDecoder(
    parse_int=_number, parse_float=_number, parse_constant=_refuse_constant, object_pairs_hook=_members
)
