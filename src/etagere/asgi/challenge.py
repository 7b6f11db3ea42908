"""The WWW-Authenticate field of a 401 (RFC 9110 §11.6.1)."""

from __future__ import annotations

from etagere.asgi.responses import Headers

_REALM = b'realm="etagere"'


def challenged(*, shown: bool, in_browser: bool) -> Headers:
    """How to show who asks: a Bearer token (RFC 6750 §3), which is a key.

    A browser asks its reader for Basic credentials only (RFC 7617); the key is the password there. `shown` says that
    there were credentials.
    """
    bearer = b"Bearer " + _REALM + (b', error="invalid_token"' if shown else b"")
    # One field: some clients read no second one.
    return [(b"www-authenticate", bearer + (b", Basic " + _REALM + b', charset="UTF-8"' if in_browser else b""))]
