"""Which names in `Host` are ours: a defence against DNS rebinding."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from etagere.errors import Misdirected


class HostCheck:
    """Lets through the bound address, loopback names and what the settings allow; `*` allows all."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(name.lower() for name in allowed)
        self._any = "*" in self._allowed
        self._known = lru_cache(maxsize=256)(self._is_known)

    def check(self, host: bytes | None, server: tuple[str, int | None] | None) -> None:
        """Accept a Host field, or its absence, which no browser sends and some servers pass on as an empty field.

        Raises:
            Misdirected: the name is not one of ours.
        """
        if host and not self._any and not self._known(host, server[0] if server else None):
            raise Misdirected("Add this host name to allowed_hosts if it is meant to lead here.")

    def _is_known(self, host: bytes, bound: str | None) -> bool:
        name = host_name(host)
        return name in self._allowed or name == "localhost" or name == bound or _is_loopback(name)


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
