"""Who still asks: noted in memory with each request, told to the run table in batches."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from etagere.core.clients import Asker
from etagere.core.lifecycle import Run
from etagere.errors import Problem, StoreLost
from etagere.logs import get_logger
from etagere.pacer import Pacer
from etagere.ports import Interest, RunTable
from etagere.waiters import Waiters

log = get_logger("etagere.asked")

BATCH_SECONDS = 1.0
"""What a batch costs goes by its ids, so it is better told in small ones."""


class Asked:
    """The pending runs that were asked for since the last batch. Who waits asks all the time."""

    def __init__(self, interest: Interest, runs: RunTable, waiters: Waiters, pacer: Pacer) -> None:
        self._interest = interest
        self._runs = runs
        self._waiters = waiters
        self._pacer = pacer
        self._ids: set[str] = set()

    def note(self, id: str) -> None:
        """Somebody asks for this run."""
        self._ids.add(id)

    def pending(self, id: str) -> Run | None:
        """The pending run that somebody asks for: one look-up in memory, and a note of it."""
        run = self._runs.get(id)
        if run is not None:
            self._ids.add(id)
        return run

    def join(self, run: Run, asker: Asker) -> None:
        """Somebody asks for a pending run, and not just for news of it."""
        if asker.client != run.client or asker.urgency < run.urgency:
            self._interest.join(run.id, asker)

    async def tell(self) -> None:
        """Hand over what was noted, for those that are still pending."""
        ids, self._ids = self._ids, set()
        await self._interest.note({id: self._pacer.told(id) for id in ids if self._runs.get(id) is not None})

    async def tell_before_a_start(self) -> None:
        """Hand it over where a start may drop what nobody asks for. What stands in the way of that, the start says.

        What is not abandoned yet is told of with the next batch, so a full table may refuse a start for a second more.
        """
        if self._interest.droppable:
            with suppress(Problem):
                await self.tell()

    async def keep_telling(self) -> None:
        """Tell it for ever, with those that somebody waits for."""
        while True:
            await asyncio.sleep(BATCH_SECONDS)
            self._ids.update(self._waiters.ids)
            try:
                await self.tell()
            except StoreLost:
                pass  # whoever follows the store says so
            except Exception:
                log.exception("the run table was not told who asks")
