"""A Celery application that there is already, on RabbitMQ, hosts the runs beside its own tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
from judges.rabbitmq import RabbitMQ
from tests.cluster.processes import cluster, until
from tests.cluster.site import site


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_an_application_that_is_there_already(tmp_path: Path, broker: RabbitMQ, pool: str) -> None:
    """It hosts the runs beside its own tasks."""
    with cluster(tmp_path) as parts, site(parts, broker.url, pool) as host:
        node, _ = parts.node(), parts.collector()
        for n in range(4):
            assert node.get(f"/nap?name=a{n}&seconds=0.5").status == 202
        assert [node.result(f"/nap?name=a{n}&seconds=0.5").status for n in range(4)] == [200] * 4
        assert [parts.started(f"a{n}") for n in range(4)] == [1] * 4
        node.get("/nap?name=long&seconds=60")
        until(lambda: parts.started("long") == 1)
        host.send_own()
        until(lambda: parts.ended("own") == 1, what="its own task")
        assert host.stop() == 0
        pid = parts.pids("long")[0]
        until(lambda: not Path(f"/proc/{pid}").exists(), 5, "the end of what it hosted")
