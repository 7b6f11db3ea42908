"""The scrubber: reads all stored bodies again, slowly, so that what a disk has damaged is found before it is wanted."""

from __future__ import annotations

import asyncio

from etagere.errors import StorageFull
from etagere.logs import get_logger
from etagere.ports import Clock, Stored

RATE = 10 * 1024 * 1024
"""Bytes per second, at most."""

EVERY_S = 86400.0
"""From the beginning of one round to that of the next, at least."""

RETRY_S = 60.0

log = get_logger("etagere.scrubber")


class Scrubber:
    """Goes round the stored bodies for ever, a round a day.

    `rounds` that it has finished, and the `damaged` bodies that it has found, are counted.
    """

    def __init__(self, stored: Stored, clock: Clock, rate: float = RATE, every: float = EVERY_S) -> None:
        self.rounds = 0
        self.damaged = 0
        self._stored = stored
        self._clock = clock
        self._rate = rate
        self._every = every

    async def scrub(self) -> None:
        """Begin a round now, and then each day, until cancelled."""
        while True:
            began = self._clock.monotonic()
            pause = self._every
            try:
                await self.go_round()
            except StorageFull as full:
                pause = RETRY_S
                log.warning("checking what is stored was interrupted", reason=full.detail)
            except Exception:
                log.exception("checking what is stored was interrupted")
            await asyncio.sleep(max(RETRY_S, began + pause - self._clock.monotonic()))

    async def go_round(self) -> None:
        """One round.

        Raises:
            StorageFull: what is damaged could not be forgotten.
        """
        began = self._clock.monotonic()
        removed = await self._stored.sweep()
        bodies = size = damaged = 0
        last = ""
        while checked := await self._stored.check(last, self._pace):
            last = checked.last
            bodies, size, damaged = bodies + checked.bodies, size + checked.size, damaged + checked.damaged
            self.damaged += checked.damaged
        self.rounds += 1
        if bodies or removed:
            seconds = f"{self._clock.monotonic() - began:.1f}"
            tell = log.warning if damaged or removed else log.info
            tell("checked what is stored", bodies=bodies, bytes=size, damaged=damaged, swept=removed, seconds=seconds)

    async def _pace(self, read: int) -> None:
        await asyncio.sleep(read / self._rate)
