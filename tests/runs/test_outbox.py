from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from etagere.database import Database
from etagere.runs.outbox import Outbox
from etagere.testing import ResultQueueContract
from etagere.testing.samples import outcome, resource

pytestmark = pytest.mark.anyio


class TestOutbox(ResultQueueContract):
    @pytest.fixture
    def results(self, database: Database) -> Outbox:
        return Outbox(database)


async def reopened(database: Database) -> Database:
    await database.close()
    return Database(database.directory)


async def left_over(outbox: Outbox) -> list[str]:
    found = []
    await outbox.put(outcome(resource("end")))
    while (each := await outbox.take()).resource.id != "end":
        found.append(each.resource.id)
    return found


async def test_what_was_not_done_is_taken_again_first_and_in_order(database: Database) -> None:
    outbox = Outbox(database)
    sent = [outcome(resource(name), path=Path("/some/where")) for name in "abcd"]
    for each in sent:
        await outbox.put(each)
    assert await outbox.take() == sent[0]
    await outbox.done(await outbox.take())
    again = await reopened(database)
    outbox = Outbox(again)
    await outbox.put(outcome(resource("new")))
    assert [await outbox.take() for _ in range(3)] == [sent[0], sent[2], sent[3]]
    assert (await outbox.take()).resource.id == "new"
    await again.close()


async def test_two_attempts_of_a_run_are_two_outcomes(database: Database) -> None:
    outbox = Outbox(database)
    await outbox.put(outcome(resource("a"), attempt=1))
    await outbox.put(outcome(resource("a"), attempt=2))
    await outbox.done(await outbox.take())
    again = await reopened(database)
    assert (await Outbox(again).take()).attempt == 2
    await again.close()


async def test_an_outcome_is_handed_over_even_if_the_disk_is_full(database: Database) -> None:
    outbox = Outbox(database)
    await database.write(lambda connection: connection.pragma("max_page_count", 1))
    large = outcome(resource("x" * 1_000_000))
    await outbox.put(large)
    assert await outbox.take() == large
    await outbox.done(large)
    assert database.rows("SELECT id FROM outcome") == []


async def test_an_outcome_that_cannot_be_read_is_dropped(database: Database) -> None:
    contents = ["not JSON", "{}", "[]"]
    await database.write(
        lambda connection: connection.executemany(
            "INSERT INTO outcome (id, attempt, content) VALUES ('a', ?, ?)", list(enumerate(contents))
        )
    )
    assert await left_over(Outbox(database)) == []
    again = await reopened(database)
    assert again.rows("SELECT id FROM outcome") == [("end",)]
    await again.close()


async def test_a_put_that_is_cancelled_is_handed_over_all_the_same(database: Database) -> None:
    outbox = Outbox(database)
    putting = asyncio.ensure_future(outbox.put(outcome(resource("a"))))
    await asyncio.sleep(0)
    putting.cancel()
    assert (await asyncio.wait_for(outbox.take(), 10)).resource.id == "a"
    await asyncio.wait([putting], timeout=10)
    assert putting.cancelled()


async def test_what_is_collected_at_once_is_not_journalled(database: Database) -> None:
    outbox = Outbox(database)
    written: list[object] = []
    await database.write(lambda connection: connection.set_update_hook(lambda *row: written.append(row)))
    putting = asyncio.ensure_future(outbox.put(outcome(resource("a"))))
    await outbox.done(await outbox.take())
    await asyncio.wait_for(putting, 10)
    await database.write(lambda _: None)
    assert written == []


async def test_what_is_not_collected_is_journalled_even_if_nobody_waits_for_it(database: Database) -> None:
    outbox = Outbox(database)
    putting = asyncio.ensure_future(outbox.put(outcome(resource("a"))))
    await outbox.take()
    putting.cancel()
    await asyncio.wait([putting], timeout=10)
    await database.write(lambda _: None)
    assert database.rows("SELECT id FROM outcome") == [("a",)]
