"""Celery fleets host the workers; what their broker does or suffers changes nothing but time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.processes import LEASE_S, Cluster, cluster, is_below, until
from tests.cluster.site import site
from tests.valkey import Store

from etagere.engines import broker as brokers
from etagere.engines import celery


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "broker").start()
    yield store
    store.stop()


@pytest.fixture
def parts(tmp_path: Path, broker: Store) -> Iterator[Cluster]:
    with cluster(tmp_path, engine=f"celery+{broker.url}") as made:
        yield made


def test_runs_are_hosted_by_a_fleet(parts: Cluster, broker: Store) -> None:
    node, first, second, _ = parts.node(), parts.worker(), parts.worker(), parts.collector()
    for n in range(8):
        assert node.get(f"/nap?name=a{n}&seconds=0.3").status == 202
    assert [node.result(f"/nap?name=a{n}&seconds=0.3").status for n in range(8)] == [200] * 8
    assert [parts.started(f"a{n}") for n in range(8)] == [1] * 8
    assert b"cmdstat_lpush" in broker.command("INFO", "commandstats"), "it was woken by messages"
    assert (first.stop(), second.stop()) == (0, 0)


@pytest.mark.parametrize("fault", ["kill", "restart"])
def test_a_broker_that_fails_in_the_middle_of_a_run(parts: Cluster, broker: Store, fault: str) -> None:
    """One start, and the result comes."""
    node, worker, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=2"
    assert node.get(path).status == 202
    until(lambda: parts.started("a") == 1)
    {"kill": broker.kill, "restart": broker.restart}[fault]()
    assert node.result(path).status == 200
    assert node.result("/nap?name=b").status == 200, "the fleet looks by itself"
    assert parts.started("a") == 1
    assert worker.stop() == 0


def test_messages_that_are_repeated_or_late(parts: Cluster, broker: Store) -> None:
    """Each message by itself asks to look, whichever of two workers gets it, however often, and however late."""
    node, _, _, _ = parts.node(), parts.worker(), parts.worker(), parts.collector()
    sender = brokers.application(broker.url)

    def wake(times: int) -> None:
        for _ in range(times):
            sender.send_task(brokers.TASK, args=["default"], queue="etagere.default", ignore_result=True)

    paths = [f"/nap?name=a{n}&seconds=0.5" for n in range(6)]
    for path in paths:
        assert node.get(path).status == 202
        wake(5)
    assert [node.result(path).status for path in paths] == [200] * 6
    # As such that were an hour under way: what they tell of is over, or is not known at all.
    wake(20)
    sender.send_task(brokers.TASK, args=["nowhere"], queue="etagere.default", ignore_result=True)
    until(lambda: broker.command("LLEN", "etagere.default") == b":0\r\n", what="that all were taken")
    assert node.result("/nap?name=after").status == 200
    assert [parts.started(f"a{n}") for n in range(6)] == [1] * 6
    assert parts.started("after") == 1


def test_messages_that_are_lost(parts: Cluster, broker: Store) -> None:
    node, _, _ = parts.node(), parts.worker(), parts.collector()
    for n in range(4):
        node.get(f"/nap?name=a{n}&seconds=0.5")
        broker.wipe()
    assert [node.result(f"/nap?name=a{n}&seconds=0.5").status for n in range(4)] == [200] * 4
    assert [parts.started(f"a{n}") for n in range(4)] == [1] * 4


def test_a_killed_worker_of_a_fleet(parts: Cluster) -> None:
    node, first, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=3"
    parts.worker()
    assert node.get(path).status == 202
    until(lambda: parts.started("a") == 1)
    pid = parts.pids("a")[0]
    (first if is_below(pid, first.pid) else parts.parts[-1]).kill()
    until(lambda: parts.started("a") == 2, LEASE_S + 5)
    assert node.result(path).status == 200


def test_an_application_whose_store_is_away_hosts_runs_when_it_is_back(parts: Cluster, broker: Store) -> None:
    parts.store.kill()
    with site(parts, broker.url) as host:
        until(lambda: "no runs are taken" in host.log.read_text(), what="that it says so")
        host.send_own()
        until(lambda: parts.ended("own") == 1, what="its own task")
        parts.store.start()
        node, _ = parts.node(), parts.collector()
        assert node.result("/nap?name=a").status == 200
        assert host.stop() == 0
        assert "Traceback" not in host.log.read_text()


def test_an_application_whose_settings_are_wrong_does_not_start(parts: Cluster, broker: Store) -> None:
    with site(parts, broker.url, more=", rnus=1") as host:
        assert host.worker.wait(30) != 0
        assert "there is no setting rnus" in host.log.read_text()


def test_a_broker_that_is_not_there_at_the_start_is_told_of_once(parts: Cluster, broker: Store) -> None:
    broker.stop()
    node, worker, _ = parts.node(), parts.worker(), parts.collector()
    until(lambda: "the broker cannot be reached" in worker.log, what="a warning, before there is work")
    assert node.result("/nap?name=a").status == 200
    broker.start()
    until(lambda: node.result(f"/nap?name={time.time()}").status == 200 and "is reached again" in worker.log)
    assert worker.log.count("the broker cannot be reached") == 1


def test_a_message_that_comes_when_all_is_over_holds_up_nobody() -> None:
    """Celery waits for the thread that it gave the message to, and the event loop does not run any more."""
    loop = asyncio.new_event_loop()

    async def engine() -> celery.CeleryEngine:
        never: Any = None  # nothing comes as far as that
        application = brokers.application("memory://")
        return celery.CeleryEngine(
            application, never, ["default"], 1, prefix="etagere", once=never, waiting=lambda _: {}, hosts=False
        )

    made = loop.run_until_complete(engine())
    loop.run_until_complete(made.start())
    loop.run_until_complete(made.stop())
    thread = threading.Thread(target=made.received, args=("default",), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
