from __future__ import annotations

import asyncio

import pytest

from etagere import tasks

pytestmark = pytest.mark.anyio


async def test_who_swallows_a_cancellation_is_cancelled_again() -> None:
    swallowed = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            swallowed.append(1)
        await asyncio.sleep(3600)

    begun = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(3600))]
    await asyncio.sleep(0)
    await tasks.cancel(begun, again=0.01)
    assert swallowed
    assert all(task.cancelled() for task in begun)


async def test_what_becomes_of_a_task_is_nobodys_concern() -> None:
    async def fails() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError("in the end")

    begun = [asyncio.create_task(fails())]
    await asyncio.sleep(0)
    await tasks.cancel(begun)
    assert begun[0].done()
    await tasks.cancel([])
