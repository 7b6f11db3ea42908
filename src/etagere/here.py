"""The presence of a service that is alone."""

from __future__ import annotations

from etagere.core.clients import Asker
from etagere.core.lifecycle import Run
from etagere.core.representation import Resource


class _Here:
    """The `Presence` of a single service: what it has not is nowhere."""

    def knows(self, id: str) -> bool:
        return True

    async def load(self, id: str) -> None:
        pass

    async def submit(self, resource: Resource, asker: Asker) -> Run | None:
        return None


HERE = _Here()
