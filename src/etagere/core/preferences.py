"""Lists of names with values in a field: `Prefer` (RFC 7240), `Cache-Control` (RFC 9111) and `Priority` (RFC 9218)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from etagere.core.clients import USUAL_URGENCY

LONGEST_SECONDS = 2**31
"""What a greater number of seconds counts as (RFC 9111 §1.2.2)."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_PAIR = rf"({_TOKEN})(?:[ \t]*+=[ \t]*+({_TOKEN}|{_QUOTED}))?+"
# A comma inside a quoted string divides nothing, even where the string has no end.
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.|\\\Z)*+(?:"|\Z))++', re.DOTALL)
_PREFERENCE = re.compile(rf"[ \t]*+{_PAIR}[ \t]*+(?:;[ \t]*+(?:{_PAIR}[ \t]*+)?+)*+")

_URGENCY = re.compile(r"(?<![^,\t ])u(?:=(?:([0-7])(?![0-9.])|[^,]*))?(?=[,;\t ]|\Z)")


def parse(field: str) -> Mapping[str, str]:
    """The values by the names, which are in lower case; the first of a name counts, and parameters do not.

    What is broken is passed over. A name without a value has the empty one, which means the same (RFC 7240 §2).
    """
    found: dict[str, str] = {}
    for element in _ELEMENT.findall(field):
        if match := _PREFERENCE.fullmatch(element):
            found.setdefault(match[1].lower(), _unquoted(match[2] or ""))
    return found


def wait_seconds(field: str) -> int:
    """How many seconds a client would wait (RFC 7240 §4.3); 0 where it does not say so, or not properly."""
    text = parse(field).get("wait", "")
    if not (text.isascii() and text.isdigit()):
        return 0
    digits = text.lstrip("0") or "0"
    return LONGEST_SECONDS if len(digits) > len(str(LONGEST_SECONDS)) else min(int(digits), LONGEST_SECONDS)


def only_if_cached(field: str) -> bool:
    """Whether a request wants a stored answer or none (RFC 9111 §5.2.1.7)."""
    return "only-if-cached" in parse(field)


def urgency(field: str) -> int:
    """From 0, the most urgent, to 7 (RFC 9218 §4.1); the usual one where it does not say so, or not properly."""
    given = [match[1] for match in _URGENCY.finditer(field)]
    # In a dictionary the last member of a name counts (RFC 9651 §4.2.2).
    return int(given[-1]) if given and given[-1] else USUAL_URGENCY


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word
