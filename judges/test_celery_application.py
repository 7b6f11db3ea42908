"""A Celery application that there is already, on RabbitMQ, hosts the runs beside its own tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from judges.rabbitmq import RabbitMQ
from tests.cluster.processes import LEASE_S, cluster, until

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
def test_an_application_that_is_there_already(tmp_path: Path, broker: RabbitMQ, pool: str) -> None:
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
