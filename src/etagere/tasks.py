"""How tasks of asyncio are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_S = 15.0
"""Longer than what is done with care in the end: a process is killed, its directory removed, and its run given back."""


async def cancel(tasks: Collection[asyncio.Task[Any]], again: float = AGAIN_S) -> None:
    """End tasks, whatever becomes of them; who goes on is told so again after so many seconds.

    Before Python 3.12 `asyncio.wait_for`, which libraries use, may swallow a cancellation
    (https://github.com/python/cpython/issues/86296).
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=again)
    await asyncio.gather(*tasks, return_exceptions=True)
