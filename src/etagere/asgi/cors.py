"""CORS (https://fetch.spec.whatwg.org/#http-cors-protocol): which pages of others may read the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from etagere.asgi.responses import Headers, Receive, Scope, Send

EXPOSED = b"ETag, Retry-After, Link, Run-Status, Preference-Applied, Repr-Digest, RateLimit, RateLimit-Policy"
FIELDS = b"Authorization, Content-Type, If-None-Match, Prefer, Priority, Range"
METHODS = b"GET, HEAD, OPTIONS, QUERY"
PREFLIGHT_SECONDS = 7200
"""How long a browser may keep the answer to a preflight, which is also the longest that any keeps it."""


class Cors:
    """Wraps an ASGI application; `*` among the origins allows every page. Credentials are never allowed."""

    def __init__(self, application: Callable[[Scope, Receive, Send], Awaitable[None]], origins: Iterable[str]) -> None:
        self._application = application
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request through, and say in its answer which pages may read it."""
        requested = dict(scope["headers"])
        granted = self._granted(requested.get(b"origin", b""))
        if granted and scope["method"] == "OPTIONS" and b"access-control-request-method" in requested:
            granted += _preflight()

        async def told(message: Any) -> None:
            if message["type"] == "http.response.start":
                # The list may be one that is sent more than once.
                message["headers"] = [*self._varied(message["headers"]), *granted]
            await send(message)

        await self._application(scope, receive, told)

    def _granted(self, origin: bytes) -> Headers:
        if b"*" in self._origins:
            allowed = b"*"
        elif origin in self._origins:
            allowed = origin
        else:
            return []
        return [(b"access-control-allow-origin", allowed), (b"access-control-expose-headers", EXPOSED)]

    def _varied(self, headers: Headers) -> Headers:
        """The fields with `Vary: Origin` where the answer depends on it; one line, since some caches read only one."""
        if b"*" in self._origins:
            return headers
        named = [value for name, value in headers if name == b"vary"]
        others = [field for field in headers if field[0] != b"vary"]
        return [*others, (b"vary", b", ".join([*named, b"Origin"]))]


def _preflight() -> Headers:
    return [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", FIELDS),
        (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
    ]
