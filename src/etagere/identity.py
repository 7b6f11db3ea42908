"""Who makes a request: by its key or token, by what the host application says, or else by its address."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import ModuleType
from typing import Any, Protocol

from etagere.core.clients import Client, Role
from etagere.core.credentials import PREFIX
from etagere.errors import StartError, Unauthorized
from etagere.keys import Keyring

Identify = Callable[[Mapping[str, Any]], Client | None]
"""A host application's own word on who asks, given the ASGI scope; None leaves it to keys and addresses."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOWHERE = "-"
_SITE = 64
_REMEMBERED = 10_000
# RFC 6750 §2.1, and of Basic (RFC 7617) the same characters.
_CREDENTIALS = re.compile(r"(bearer|basic) +([A-Za-z0-9\-._~+/]+=*) *", re.IGNORECASE)
_SCHEME = re.compile(r"(bearer|basic)(?![^ ])", re.IGNORECASE)


class Tokens(Protocol):
    """Tokens that others have issued."""

    def client(self, token: str) -> Client:
        """Whom a token is for.

        Raises:
            Unauthorized: it is not valid.
        """
        ...


def with_joserfc(name: str) -> ModuleType:
    """The module of this name, which needs what is not installed everywhere.

    Raises:
        StartError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "joserfc":
            raise
        raise StartError("JSON Web Tokens need joserfc: pip install '.[jwt]' in a checkout of Etagere") from error


class Identity:
    """Tells clients apart.

    Addresses in `proxies` may say for whom they ask, in X-Forwarded-For. Where there are no keys, no `tokens` and no
    `identify`, nobody is known, and what stands in Authorization is for somebody else.
    """

    def __init__(
        self, keyring: Keyring, tokens: Tokens | None, identify: Identify | None, proxies: Iterable[str] = ()
    ) -> None:
        self._keyring = keyring
        self._tokens = tokens
        self._identify = identify
        self._proxies = tuple(ip_network(proxy) for proxy in proxies)
        self._anonymous = lru_cache(maxsize=_REMEMBERED)(self._at)

    @property
    def checks(self) -> bool:
        """Whether anybody can show who it is."""
        return self._tokens is not None or self._identify is not None or len(self._keyring) > 0

    def client(self, scope: Mapping[str, Any], fields: Mapping[bytes, bytes]) -> Client:
        """Who makes the request with this scope and these fields.

        Raises:
            Unauthorized: what it shows is not valid.
        """
        if self._identify is not None and (found := self._identify(scope)) is not None:
            return found
        shown = fields.get(b"authorization")
        if shown is not None and (found := self._shown(shown)) is not None:
            return found
        peer = scope.get("client")
        forwarded = fields.get(b"x-forwarded-for") if self._proxies else None
        return self._anonymous(peer[0] if peer else NOWHERE, forwarded)

    def _shown(self, field: bytes) -> Client | None:
        if (found := self._keyring.recall(field)) is not None:
            return found
        token = _token(field)
        if token is None:
            return None
        if token.startswith(PREFIX) and (found := self._keyring.find(token, field)) is not None:
            return found
        # Only now, since it means a look at the file of keys.
        if not self.checks:
            return None
        if not token:
            raise Unauthorized("Authorization is Bearer and one key, and nothing else.")
        if token.startswith(PREFIX) or self._tokens is None:
            return self._keyring.client(token, field)
        return self._tokens.client(token)

    def _at(self, peer: str, forwarded: bytes | None) -> Client:
        address = _address(peer)
        if forwarded is not None and address is not None and self._is_proxy(address):
            address = self._origin(forwarded.decode("latin-1"), address)
        return Client(NOWHERE if address is None else _site(address), Role.anonymous)

    def _origin(self, forwarded: str, nearest: Address) -> Address:
        """The last address that no proxy of ours is; what stands before it, anybody may have written."""
        for text in reversed(forwarded.split(",")):
            address = _address(text.strip())
            if address is None:
                break
            nearest = address
            if not self._is_proxy(address):
                break
        return nearest

    def _is_proxy(self, address: Address) -> bool:
        return any(address in proxy for proxy in self._proxies)


def _token(field: bytes) -> str | None:
    """The key or token in Authorization; None where that is of another scheme, empty where it cannot be read.

    Of Basic it is the password, in whose place a browser sends a key.
    """
    text = field.decode("latin-1")
    if _SCHEME.match(text) is None:
        return None
    credentials = _CREDENTIALS.fullmatch(text)
    if credentials is None:
        return ""
    if credentials[1].lower() == "bearer":
        return credentials[2]
    try:
        return b64decode(credentials[2], validate=True).decode("utf-8").partition(":")[2]
    except ValueError:
        return ""


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _site(address: Address) -> str:
    """An address; of IPv6 the network of a site, of which anybody has as many addresses as they like."""
    return str(address if address.version == 4 else ip_network((address, _SITE), strict=False))
