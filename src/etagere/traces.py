"""What attempts are to traces: the port, and what stands there when nothing is traced."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from etagere.core.lifecycle import Run


class Attempted(Protocol):
    """The span of one attempt."""

    @property
    def traceparent(self) -> str:
        """Its context as W3C Trace Context writes it, for what the attempt calls in turn; empty where there is none."""
        ...

    def tell(self, outcome: str, *, failed: bool) -> None:
        """What came of it. The first word counts: an outcome that is handed over stays one, whatever ends the rest."""
        ...


class Traces(Protocol):
    """Makes the spans of attempts; nothing of that waits or fails."""

    def attempt(self, run: Run) -> AbstractContextManager[Attempted]:
        """The span of the current attempt of a run, a child of the request that started the run; ends on leaving."""
        ...


class Untraced:
    """No spans: one object that is all of them."""

    traceparent = ""

    def attempt(self, run: Run) -> Untraced:
        """See `Traces`."""
        return self

    def tell(self, outcome: str, *, failed: bool) -> None:
        """See `Attempted`."""

    def __enter__(self) -> Untraced:
        return self

    def __exit__(self, *_: object) -> None:
        return


UNTRACED = Untraced()
