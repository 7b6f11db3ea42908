"""Who asks: the values that access, shares and logs go by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

USUAL = 3
"""The urgency of a request that does not say (RFC 9218 §4.1)."""


class Role(StrEnum):
    """What a client may do besides asking for open models."""

    anonymous = "anonymous"
    client = "client"
    operator = "operator"


@dataclass(frozen=True, slots=True)
class Client:
    """A key's name, or the address of a peer without one.

    `tenant` is to whom results of private models belong, `models` the names of those it may see that are
    not open; None for all of them.
    """

    name: str
    role: Role = Role.anonymous
    tenant: str = ""
    models: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a run, and how urgently: from 0, the most, to 7."""

    client: str
    urgency: int = USUAL
