"""Who asks, what it may see, and how it stands in the queue."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

LONGEST_NAME = 128
MOST_URGENT, USUAL_URGENCY, LEAST_URGENT = 0, 3, 7
"""The urgencies of RFC 9218 §4.1."""


class Role(StrEnum):
    """What a client is to the service."""

    anonymous = "anonymous"
    client = "client"
    operator = "operator"


class Access(StrEnum):
    """Who may ask for a model: everybody, whoever has shown who it is, or those for themselves alone."""

    open = "open"
    keyed = "keyed"
    private = "private"


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks. Log lines and lists of runs go by `name`.

    `tenant` is to whom results of private models belong; without a word, the client itself. `models` are the
    names of those that it may ask for, None for all. One that is anonymous has shown nothing, and is named by its
    address.

    Raises:
        ValueError: the name or the tenant is empty, too long, or cannot be printed.
    """

    name: str
    role: Role = Role.client
    tenant: str = ""
    models: Collection[str] | None = None

    def __post_init__(self) -> None:
        if self.role is not Role.anonymous and not self.tenant:
            object.__setattr__(self, "tenant", self.name)
        if self.models is not None:
            object.__setattr__(self, "models", frozenset(self.models))
        for text in {self.name, self.tenant or self.name}:
            if not 0 < len(text) <= LONGEST_NAME or not text.isprintable():
                raise ValueError(f"a client is named by 1 to {LONGEST_NAME} characters that can be printed")

    @property
    def known(self) -> bool:
        """Whether it has shown who it is."""
        return self.role is not Role.anonymous


class Asker(NamedTuple):
    """How a request for a run stands in the queue.

    `client` is the name of who asks, `urgency` is from 0, the most urgent, to 7 (RFC 9218 §4.1), and `trace` the
    traceparent (W3C Trace Context) of the request, empty where there is none.
    """

    client: str = ""
    urgency: int = USUAL_URGENCY
    trace: str = ""


NOBODY = Asker()
