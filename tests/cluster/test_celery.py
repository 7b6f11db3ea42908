"""Celery fleets host the workers; what their broker does or suffers changes nothing but time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.processes import LEASE_S, Cluster, cluster, until
from tests.valkey import Store


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


@pytest.mark.parametrize("fault", ["kill", "flush", "restart"])
def test_a_broker_that_fails_in_the_middle_of_a_run(parts: Cluster, broker: Store, fault: str) -> None:
    """One start, and the result comes."""
    node, worker, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=2"
    assert node.get(path).status == 202
    until(lambda: parts.started("a") == 1)
    {"kill": broker.kill, "flush": broker.wipe, "restart": broker.restart}[fault]()
    assert node.result(path).status == 200
    assert node.result("/nap?name=b").status == 200, "the fleet looks by itself"
    assert parts.started("a") == 1
    assert worker.stop() == 0


def test_messages_that_are_lost_repeated_or_late(parts: Cluster, broker: Store) -> None:
    """Each message by itself asks to look, whoever gets it and however often."""
    node, _, _ = parts.node(), parts.worker(), parts.collector()
    for n in range(4):
        node.get(f"/nap?name=a{n}&seconds=0.5")
        broker.wipe()
    assert [node.result(f"/nap?name=a{n}&seconds=0.5").status for n in range(4)] == [200] * 4
    assert [parts.started(f"a{n}") for n in range(4)] == [1] * 4


def test_a_killed_worker_of_a_fleet(parts: Cluster) -> None:
    node, first, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=4"
    assert node.get(path).status == 202
    until(lambda: parts.started("a") == 1)
    parts.worker()
    first.kill()
    began = time.monotonic()
    until(lambda: parts.started("a") == 2, LEASE_S + 5)
    assert time.monotonic() - began < LEASE_S + 5
    assert node.result(path).status == 200


HOST = """
from celery import Celery
from etagere.engines.celery import install
from models import app as models

app = Celery("host", broker={broker!r})


@app.task
def its_own(name):
    models.models["nap@1"].function(name=name)


install(app, models, store={store!r}, lease={lease}, runs=2)
"""


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_an_application_that_is_there_already(tmp_path: Path, broker: Store, pool: str) -> None:
    """It hosts the runs beside its own tasks."""
    with cluster(tmp_path) as parts:
        code = HOST.format(broker=broker.url, store=parts.store.url, lease=LEASE_S)
        Path(tmp_path, "host.py").write_text(code)
        Path(tmp_path, "models.py").write_text(parts.target.read_text())
        parts.target = tmp_path / "models.py"
        command = [sys.executable, "-m", "celery", "-A", "host", "worker", "-Q", "celery,etagere.default"]
        options = ["--pool", pool, "--concurrency", "2", "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
        environment = {**os.environ, **parts.settings, "STARTS": str(parts.starts)}
        log = (tmp_path / "celery.log").open("wb")
        host = subprocess.Popen([*command, *options], cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            node, _ = parts.node(), parts.collector()
            for n in range(4):
                assert node.get(f"/nap?name=a{n}&seconds=0.5").status == 202
            assert [node.result(f"/nap?name=a{n}&seconds=0.5").status for n in range(4)] == [200] * 4
            assert [parts.started(f"a{n}") for n in range(4)] == [1] * 4
            node.get("/nap?name=long&seconds=60")
            until(lambda: parts.started("long") == 1)
            send = "from host import its_own; its_own.delay('own')"
            subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=environment, check=True, timeout=30)
            until(lambda: parts.ended("own") == 1, what="its own task")
            host.terminate()
            assert host.wait(30) == 0
            pid = parts.pids("long")[0]
            until(lambda: not Path(f"/proc/{pid}").exists(), 5, "the end of what it hosted")
        finally:
            host.kill()
            host.wait()
            log.close()
