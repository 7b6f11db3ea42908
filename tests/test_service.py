"""The driver over the real parts: what is parsed when, and what is started when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from etagere.config import Settings
from etagere.core.clients import Access, Client, Role
from etagere.core.conditions import UNCONDITIONAL, Conditions, Decision
from etagere.core.etag import pending_tag
from etagere.errors import OverCapacity, Stopping, UnknownId
from etagere.factory import start
from etagere.factory.running import Running
from etagere.locator import SHORT_TARGET, Address, Locator, Start
from etagere.model import Registry
from etagere.reach import Reach, Reaches
from etagere.runs.memory import MemoryRunTable
from etagere.service import Answer, Service

pytestmark = pytest.mark.anyio
validations: list[int] = []


def noted(value: int) -> int:
    validations.append(value)
    return value


def doubled(x: Annotated[int, AfterValidator(noted)]) -> int:
    """Twice x."""
    return 2 * x


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    registry = Registry()
    registry.model(version="1")(doubled)
    running = await start(registry, Settings(data=tmp_path / "data", runs=1, max_pending=1))
    yield running
    await running.stop()


@pytest.fixture
def service(running: Running) -> Service:
    return running.service


async def located(service: Service, query: bytes) -> tuple[Address, Start]:
    """As the application does it."""
    target = b"/doubled?" + query
    reach = reach_of(service)
    if address := service.locator.recall(target, reach):
        return address, lambda: service.locator.bind("doubled", query, reach)
    return await service.locator.locate(target, "doubled", query, reach)


def reach_of(service: Service) -> Reach:
    return Reaches(service.registry, Access.open, {}).of(Client("192.0.2.1", Role.anonymous))


def asked() -> bool:
    return True


async def test_a_target_is_parsed_once(service: Service) -> None:
    await located(service, b"x=1")
    parsed = len(validations)
    assert parsed > 0
    for _ in range(10):
        address, _ = await located(service, b"x=1")
    assert len(validations) == parsed
    respelled, _ = await located(service, b"x=01")
    assert respelled == address
    assert len(validations) > parsed


async def answered(service: Service, address: Address, start: Start, conditions: Conditions = UNCONDITIONAL) -> Answer:
    return await service.answer(address, await service.look(address.id), conditions, start, asked)


async def test_a_long_target_costs_the_memo_no_more_than_a_short_one(service: Service) -> None:
    await located(service, b"x=" + b"0" * 50_000 + b"1")
    assert all(len(key) <= SHORT_TARGET for key in service.locator._memo)


async def test_the_memo_is_bounded_and_forgets_the_oldest(running: Running, service: Service) -> None:
    small = service
    small.locator = Locator(service.registry, service.runs, service.cache, memo_size=2)
    for n in range(3):
        await located(small, b"x=%d" % n)
    parsed = len(validations)
    await located(small, b"x=2")
    assert len(validations) == parsed
    await located(small, b"x=0")
    assert len(validations) > parsed


async def test_while_stopping_nothing_is_started_and_pings_go_on(service: Service) -> None:
    address, begin = await located(service, b"x=1")
    assert (await answered(service, address, begin)).decision is Decision.accepted
    service.stopping = True
    ping = await answered(service, address, begin, Conditions(None, (pending_tag(address.id),)))
    assert ping.decision in (Decision.still_pending, Decision.send)
    other, begin = await located(service, b"x=2")
    with pytest.raises(Stopping):
        await answered(service, other, begin)


async def test_while_stopping_it_is_alive_and_not_ready(running: Running) -> None:
    assert [await status(running, path) for path in ("live", "ready")] == [200, 200]
    running.service.wind_down()
    assert [await status(running, path) for path in ("live", "ready")] == [200, 503]


async def status(running: Running, name: str) -> int:
    """The status of a resource below `/-/health/`."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    path, headers = f"/-/health/{name}", [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    await running.application(scope, receive, send)
    return statuses[0]


async def test_over_capacity_names_when_to_ask_again(running: Running, service: Service) -> None:
    await running.service._engine.stop()  # nothing is worked off
    address, begin = await located(service, b"x=1")
    assert (await answered(service, address, begin)).decision is Decision.accepted
    other, begin_other = await located(service, b"x=2")
    with pytest.raises(OverCapacity) as full:
        await answered(service, other, begin_other)
    assert full.value.retry_after is not None
    assert (await answered(service, address, begin)).decision is Decision.accepted


async def test_what_was_told_of_a_run_is_forgotten_with_it(service: Service) -> None:
    address, begin = await located(service, b"x=1")
    run = (await answered(service, address, begin)).run
    assert run is not None
    place = service.waiters.enter(run.id)
    service.pacer.tell(replace(run, created=run.created - 100), 1, run.created)
    assert place is not None
    assert service.pacer.told(run.id) == 10
    await asyncio.wait_for(place, 30)
    service.waiters.leave(run.id, place)
    assert service.pacer.told(run.id) == 1
    assert service.pacer.pace(run, None, run.created).eta is not None


async def test_what_was_told_of_a_run_is_forgotten_when_it_is_dropped(running: Running, service: Service) -> None:
    await running.service._engine.stop()  # nothing is worked off
    address, begin = await located(service, b"x=1")
    run = (await answered(service, address, begin)).run
    assert run is not None
    service.pacer.tell(run, 1, run.created + 100)
    assert service.pacer.told(run.id) == 10
    # Nobody's patience is as short as a test.
    assert isinstance(service.runs, MemoryRunTable)
    service.runs._drop(service.runs._entries[run.id])
    assert service.pacer.told(run.id) == 1


async def test_an_unknown_id_is_told_to_repeat_the_request(service: Service) -> None:
    with pytest.raises(UnknownId):
        service.locator.locate_id("a" * 32, reach_of(service))
