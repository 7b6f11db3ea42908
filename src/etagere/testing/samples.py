"""What the contracts are tried with: a clock that is set, and values with a bit of everything."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from etagere.core.representation import Failure, Kind, Outcome, Representation, Resource

EPOCH = 1_700_000_000.5


class ManualClock:
    """A `Clock` that stands still until told otherwise."""

    def __init__(self, now: float = EPOCH) -> None:
        self._now = now
        self._monotonic = 100.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP does."""
        self._now += seconds


def resource(name: str, model: str = "heat@1", queue: str = "default") -> Resource:
    """A resource whose id is the name."""
    return Resource(name, f"/{model}?name={name}", model, queue)


def representation(id: str, body: bytes, created: float = EPOCH) -> Representation:
    """A representation with its body in memory."""
    digest = hashlib.sha256(body).digest()
    return Representation(id, "bin", "application/octet-stream", digest, len(body), created, 1.5, body=body)


def failure(id: str, expires: float, kind: Kind = Kind.failed) -> Failure:
    """A failure that is remembered until `expires`."""
    return Failure(id, kind, "it did not work", EPOCH, 0.5, expires, attempt=2)


def outcome(of: Resource, attempt: int = 1, path: Path | None = None) -> Outcome:
    """An outcome with every field set."""
    return Outcome(of, attempt, Kind.succeeded, EPOCH, EPOCH + 2, path, "text/plain", "detail", "trace\udc80", "\x00é")


class Contract:
    """What the contracts have in common: the event loop and the clock."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The service runs on asyncio."""
        return "asyncio"

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The adapter under test must be given this clock."""
        return ManualClock()
