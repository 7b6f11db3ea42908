"""Whether somebody asks on purpose: only such a request starts a run."""

from __future__ import annotations

from collections.abc import Iterable

from etagere.asgi.fields import Fields, text
from etagere.core.preferences import only_if_cached
from etagere.errors import NotCached

_ELSEWHERE = (b"cross-site", b"same-site")


class Intent:
    """Judges requests by what browsers say of them (https://www.w3.org/TR/fetch-metadata/).

    `origins` are those whose pages may ask as they like; `*` means all.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def may_start(self, fields: Fields) -> bool:
        """Whether the request may start a run: no browser looks ahead, and no page of others asks behind its reader.

        Raises:
            NotCached: it wants what is stored, or nothing.
        """
        refuse_if_only_cached(fields)
        if b"prefetch" in fields.get(b"sec-purpose", b""):
            return False
        match fields.get(b"sec-fetch-mode"):
            case b"no-cors":
                return False
            case b"cors" if fields.get(b"sec-fetch-site") in _ELSEWHERE:
                return b"*" in self._origins or fields.get(b"origin") in self._origins
            case _:
                return True


def refuse_if_only_cached(fields: Fields) -> None:
    """Let through what does not ask for a stored answer alone (RFC 9111 §5.2.1.7).

    Raises:
        NotCached: it does.
    """
    if b"cache-control" in fields and only_if_cached(text(fields, b"cache-control")):
        raise NotCached("Without only-if-cached this request waits for a run.")
