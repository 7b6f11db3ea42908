"""Who is told to stop does so in time, whatever it would like to tell others first."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cluster.processes import Cluster, Part, cluster, until
from tests.otlp import Collector
from tests.valkey import Store

from etagere.config import Settings
from etagere.errors import InternalError
from etagere.factory import start
from etagere.model import Registry

AWAY = ["gone", "silent"]
# Kubernetes and Compose kill what has not ended then; see deploy/.
ALLOWED_S = 30


@contextmanager
def away(store: Store, how: str) -> Iterator[None]:
    """A store, or a broker, that is not there, or says nothing any more."""
    assert store.process is not None
    if how == "gone":
        store.kill()
        yield
        return
    os.kill(store.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(store.process.pid, signal.SIGCONT)


def stopped(parts: Cluster) -> list[int]:
    """The exit statuses of all, which are told at once."""
    began = time.monotonic()
    for part in parts.parts:
        os.kill(part.pid, signal.SIGTERM)
    return [ended(part, began + ALLOWED_S - time.monotonic()) for part in parts.parts]


def ended(part: Part, seconds: float) -> int:
    assert part.process is not None
    return part.process.wait(seconds)


@pytest.mark.parametrize("how", AWAY)
def test_without_the_store(tmp_path: Path, how: str) -> None:
    with cluster(tmp_path) as parts:
        node, _, _ = parts.node(), parts.worker(), parts.collector()
        assert node.get("/nap?name=a&seconds=600").status == 202
        until(lambda: parts.started("a") == 1)
        [pid] = parts.pids("a")
        with away(parts.store, how):
            assert stopped(parts) == [0, 0, 0]
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("how", AWAY)
def test_without_the_broker(tmp_path: Path, how: str) -> None:
    broker = Store(tmp_path / "broker").start()
    try:
        with cluster(tmp_path, engine=f"celery+{broker.url}") as parts:
            node, _ = parts.node(), parts.worker()
            assert node.get("/nap?name=a&seconds=600").status == 202
            until(lambda: parts.started("a") == 1)
            with away(broker, how):
                # It has something to say to a broker.
                node.get("/nap?name=b&seconds=600")
                assert stopped(parts) == [0, 0]
    finally:
        broker.stop()


def test_a_worker_sends_its_last_traces(tmp_path: Path) -> None:
    with cluster(tmp_path) as parts, Collector() as traces:
        node, worker = parts.node(), parts.worker(**traces.env | {"OTEL_BSP_SCHEDULE_DELAY": "60000"})
        assert node.get("/nap?name=a&seconds=600").status == 202
        until(lambda: parts.started("a") == 1)
        assert worker.stop() == 0
        span = traces.one(lambda span: span.name == "run nap@1")
        assert span.attributes["etagere.outcome"] == "released"


def test_a_worker_without_models_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("import etagere\n\napp = etagere.Etagere()\n")
    command = [sys.executable, "-m", "etagere", "worker", str(tmp_path / "empty.py"), "--store", "redis://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "There are no models here" in done.stderr


@pytest.mark.anyio
async def test_a_node_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    """A host application may go on, and try it again with each request."""
    store = Store(tmp_path / "store").start()
    try:
        store.command("SET", "{etagere}:history", "no hash")
        settings = Settings(store=store.url, data=tmp_path / "data")
        before = asyncio.all_tasks()
        with pytest.raises(InternalError):
            await start(Registry(), settings)
        assert asyncio.all_tasks() == before
        assert store.command("ZCARD", "{etagere}:seen") == b":0\r\n", "it has said that it is gone"
        store.command("DEL", "{etagere}:history")
        await (await start(Registry(), settings)).stop()
        assert asyncio.all_tasks() == before
    finally:
        store.stop()


SETUP = """
import pathlib
import time
import etagere

app = etagere.Etagere()


@app.model(version="1")
def f(x: int) -> int:
    return x


@app.setup
def load() -> None:
    pathlib.Path({begun!r}).touch()
    time.sleep(600)
"""


def test_a_worker_stops_while_its_models_are_set_up(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "slow.py").write_text(SETUP.format(begun=str(begun)))
    command = [sys.executable, "-m", "etagere", "worker", str(tmp_path / "slow.py"), "--store", "redis://127.0.0.1:1"]
    with subprocess.Popen(command) as worker:
        until(begun.exists)
        worker.terminate()
        assert worker.wait(ALLOWED_S) == 0
