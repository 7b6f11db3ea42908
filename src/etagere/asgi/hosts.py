"""Whom a request is for: which names in `Host`, or in the target, are ours. A defence against DNS rebinding."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from etagere.asgi.responses import Scope
from etagere.errors import MalformedRequest, Misdirected

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


class HostCheck:
    """Lets through the bound address, loopback names and what the settings allow; `*` allows all."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(name.lower() for name in allowed)
        self._any = "*" in self._allowed
        self._known = lru_cache(maxsize=256)(self._is_known)

    def check(self, scope: Scope, host: bytes | None) -> None:
        """Accept the Host field of a request, several being one list; HTTP/1.0 may do without (RFC 9112 §3.2).

        A whole URI as the target counts instead of it (§3.2.2), where the server passes that on.

        Raises:
            MalformedRequest: there is not one field, or it is empty, as some servers pass on that there is none.
            Misdirected: the name is not one of ours.
        """
        target: bytes = scope.get("raw_path") or b"/"
        server = scope.get("server")
        bound = server[0] if server else None
        named = host if target.startswith(b"/") else _authority(target) or host
        if named is host and host and self._known(host, bound):
            return
        if (not host and scope["http_version"] == "1.1") or (host and b"," in host):
            raise MalformedRequest("A request needs one Host field, with a name in it.")
        if named and not self._known(named, bound):
            raise Misdirected("Add this host name to allowed_hosts if it is meant to lead here.")

    def _is_known(self, host: bytes, bound: str | None) -> bool:
        name = host_name(host)
        ours = self._any or name in self._allowed or name == "localhost" or name == bound or _is_loopback(name)
        return ours and b"," not in host


def _authority(target: bytes) -> bytes | None:
    absolute = _ABSOLUTE.match(target)
    return absolute[1] if absolute else None


def origin_form(target: bytes) -> bytes:
    """The path of a request target that is a whole URI (RFC 9112 §3.2.2); any other as it is."""
    absolute = _ABSOLUTE.match(target)
    return target[absolute.end() :] or b"/" if absolute else target


def host_name(host: bytes) -> str:
    """The name in a Host field, without port and brackets, in lower case."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
