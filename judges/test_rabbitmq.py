"""Celery fleets on RabbitMQ: whatever happens to the broker, each run is begun once and its result comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from judges.rabbitmq import RabbitMQ
from tests.cluster.processes import Cluster, cluster, until


@pytest.fixture
def parts(tmp_path: Path, broker: RabbitMQ) -> Iterator[Cluster]:
    with cluster(tmp_path, engine=f"celery+{broker.url}", namespace=f"judge{tmp_path.name[-1:]}") as made:
        yield made


def test_runs_are_hosted_by_a_fleet(parts: Cluster) -> None:
    node, _, _, _ = parts.node(), parts.worker(), parts.worker(), parts.collector()
    for n in range(8):
        assert node.get(f"/nap?name=a{n}&seconds=0.3").status == 202
    assert [node.result(f"/nap?name=a{n}&seconds=0.3").status for n in range(8)] == [200] * 8
    assert [parts.started(f"a{n}") for n in range(8)] == [1] * 8


def test_the_broker_is_restarted_in_the_middle_of_a_run(parts: Cluster, broker: RabbitMQ) -> None:
    node, _, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=3"
    assert node.get(path).status == 202
    until(lambda: parts.started("a") == 1)
    broker.restart()
    assert node.result(path).status == 200
    assert node.result("/nap?name=b").status == 200
    assert (parts.started("a"), parts.started("b")) == (1, 1)


def test_the_broker_is_gone(parts: Cluster, broker: RabbitMQ) -> None:
    """The fleet looks by itself."""
    node, _, _ = parts.node(), parts.worker(), parts.collector()
    broker.kill()
    try:
        assert node.result("/nap?name=c").status == 200
    finally:
        broker.start()
    assert parts.started("c") == 1
