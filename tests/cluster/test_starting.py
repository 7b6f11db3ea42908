"""What the processes of a cluster say when they start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.processes import Cluster, cluster, until


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        made.settings["ETAGERE_STORE"] = made.store.url.replace("//", "//:secret@")
        made.store.command("CONFIG", "SET", "requirepass", "secret")
        yield made


def test_a_worker_says_what_it_works_off(parts: Cluster) -> None:
    worker = parts.worker()
    models = "nap@1, die@1, zeros@1, refuse@1, words@1"
    assert worker.log == f"Working off the queue default: {models}; 2 runs at once; store {parts.store.url}\n"


def test_a_queue_that_no_model_has_is_warned_of(parts: Cluster) -> None:
    worker = parts.worker("--queue", "nosuch", "--queue", "default")
    assert "no model here has such a queue queue=nosuch there_is=default\n" in worker.log
    assert "Working off the queues default, nosuch: nap@1, " in worker.log


def test_a_node_tells_of_runs_that_nobody_can_run(parts: Cluster) -> None:
    parts.stop()
    node = parts.node()
    tag = node.get("/nap?name=left").etag
    parts.worker("--queue", "other")
    until(lambda: "no worker that was heard of can run" in node.log, what="a warning")
    assert "runs=1 models=nap@1 (queue default)\n" in node.log
    assert node.get("/nap?name=left", tag).status == 304
