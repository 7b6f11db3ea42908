"""The public contract of `ResultQueue`, for the tests of whoever writes another one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from etagere.ports import ResultQueue
from etagere.testing.samples import Contract, outcome, resource


class ResultQueueContract(Contract):
    """Fixture `results`: an empty result queue."""

    async def test_outcomes_arrive_whole_and_in_order(self, results: ResultQueue) -> None:
        sent = [outcome(resource("a"), path=Path("/some/where")), outcome(resource("b"), attempt=2)]
        for each in sent:
            await results.put(each)
        taken = [await results.take() for _ in sent]
        assert taken == sent
        for each in taken:
            await results.done(each)

    async def test_a_deferred_outcome_comes_after_the_others(self, results: ResultQueue) -> None:
        sent = [outcome(resource(name)) for name in "abc"]
        for each in sent:
            await results.put(each)
        await results.defer(await results.take())
        assert [await results.take() for _ in sent] == [sent[1], sent[2], sent[0]]

    async def test_take_waits_for_an_outcome(self, results: ResultQueue) -> None:
        taking = asyncio.ensure_future(results.take())
        await asyncio.sleep(0)
        assert not taking.done()
        await results.put(outcome(resource("a")))
        assert await taking == outcome(resource("a"))
