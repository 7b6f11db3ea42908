"""The conversation with many nodes is that with one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.cluster.processes import Cluster, Part, cluster, until

from etagere import control


class Pair:
    """Two nodes, a worker and a collector."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.first, self.second = cluster.node(), cluster.node()
        self.worker, self.collector = cluster.worker(), cluster.collector()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield Pair(made)


def operate(node: Part, operation: str, **arguments: object) -> dict[str, object]:
    """Through the socket in the data directory, as the commands do."""
    data = Path(node.command[node.command.index("--data") + 1])
    return control.ask(data, operation, **arguments)


def told(node: Part, *command: str) -> str:
    """What a command for a running service prints of this node."""
    data = node.command[node.command.index("--data") + 1]
    done = subprocess.run(
        [sys.executable, "-m", "etagere", *command, "--data", data], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_all_nodes_know_a_run_and_have_its_result(pair: Pair) -> None:
    path = "/nap?name=known&seconds=1"
    started = pair.first.get(path)
    assert started.status == 202
    until(lambda: pair.second.get(path, started.etag).status == 304, what="that the other node knows")
    waited = pair.second.get(path, Prefer="wait=10")
    assert (waited.status, waited.json()) == (200, {"name": "known"})
    assert pair.first.result(path).etag == waited.etag
    assert pair.first.get(path, waited.etag).status == 304
    assert pair.cluster.started("known") == 1


def test_five_hundred_at_each_of_two_nodes_are_one_run(pair: Pair) -> None:
    path = "/nap?name=crowd&seconds=1"
    gate = threading.Barrier(2)

    def crowd(node: Part) -> set[int]:
        with ThreadPoolExecutor(25) as pool:
            gate.wait()
            return {answer.status for answer in pool.map(lambda _: node.get(path), range(500))}

    with ThreadPoolExecutor(2) as pool:
        statuses = set().union(*pool.map(crowd, (pair.first, pair.second)))
    assert statuses <= {200, 202}
    assert pair.first.result(path).status == 200
    assert pair.cluster.started("crowd") == 1


def test_what_is_large_is_had_from_any_node_in_parts_too(pair: Pair) -> None:
    path = "/zeros?size=3000000"
    whole = pair.first.result(path)
    assert (whole.status, len(whole.body)) == (200, 3_000_000)
    part = pair.second.result(path, Range="bytes=2999990-")
    assert (part.status, part.body) == (206, bytes(10))
    assert pair.second.get(path).etag == whole.etag


def test_failures_and_refusals_are_had_from_any_node(pair: Pair) -> None:
    path = "/refuse?name=refused"
    assert pair.first.result(path).status == 422
    again = pair.second.result(path)
    assert (again.status, again.json()["detail"]) == (422, "it is refused")
    assert pair.cluster.started("refused") == 1


def test_what_others_have_is_found_by_who_may_not_start_it(pair: Pair) -> None:
    path = "/nap?name=found"
    assert pair.first.result(path).status == 200
    # It may hear of the end a moment later.
    until(lambda: pair.second.get(path, Sec_Purpose="prefetch").status == 200)
    path = "/nap?name=cached"
    assert pair.second.get(path, Cache_Control="only-if-cached").status == 504
    assert pair.first.result(path).status == 200
    until(lambda: pair.second.get(path, Cache_Control="only-if-cached").status == 200)


def test_many_who_ask_a_node_for_what_others_have_start_nothing(pair: Pair) -> None:
    path = "/nap?name=shared"
    ready = pair.first.result(path)
    until(lambda: pair.second.get(path, Sec_Purpose="prefetch").status == 200)
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: pair.second.get(path), range(100)))
    assert {(answer.status, answer.etag) for answer in answers} == {(200, ready.etag)}
    assert pair.cluster.started("shared") == 1


def test_the_same_inputs_by_query_are_the_same_resource_on_all_nodes(pair: Pair) -> None:
    begun = pair.first.query("/nap", {"name": "queried"})
    assert begun.status == 303
    ready = pair.second.result("/nap?name=queried")
    assert pair.first.query("/nap", {"name": "queried"})["Location"] == begun["Location"]
    assert pair.first.get(f"/{begun['Location']}").etag == ready.etag
    assert pair.cluster.started("queried") == 1


def test_an_alias_works_on_a_node_that_has_never_seen_the_resource(pair: Pair) -> None:
    ready = pair.first.result("/nap?name=alias")
    id = ready.etag.strip('"').partition(".")[0]
    assert pair.second.result(f"/r/{id}").etag == ready.etag
    assert pair.second.get(f"/r/{id}/status").json()["state"] == "succeeded"
    assert pair.second.get("/r/aaaaaaaabbbbbbbbccccccccdddddddd").status == 404


def test_a_purge_and_a_cancellation_reach_all_nodes(pair: Pair) -> None:
    path = "/nap?name=purged"
    for node in (pair.first, pair.second):
        assert node.result(path).status == 200
    assert operate(pair.first, "purge", model="nap")["results"] != 0
    # Whoever starts it anew may have it so soon that nobody sees that it was gone.
    cached = {"Cache_Control": "only-if-cached"}
    assert pair.first.get(path, **cached).status == 504
    until(lambda: pair.second.get(path, **cached).status == 504, what="that the other node forgets")
    assert pair.second.result(path).status == 200
    assert pair.cluster.started("purged") == 2
    slow = pair.first.get("/nap?name=cancelled&seconds=60")
    until(lambda: pair.cluster.started("cancelled") == 1)
    id = json.loads(slow.body)["id"]
    assert operate(pair.second, "cancel", id=id)["became"] == "cancelled"
    until(
        lambda: (
            pair.first.get(f"/r/{id}/status").status == 404
            or pair.first.get(f"/r/{id}/status").json()["state"] == "absent"
        )
    )
    assert pair.cluster.ended("cancelled") == 0


def test_operators_see_all_nodes_and_drain_them(pair: Pair) -> None:
    status = operate(pair.second, "status")
    kinds = sorted(node["kind"] for node in status["nodes"].values())  # type: ignore[attr-defined]
    assert kinds == ["collector", "node", "node", "worker"]
    said = told(pair.first, "drain")
    assert said.startswith("Draining, all nodes and workers: 0 runs under way, 0 runs kept in the queue.")
    assert "no restart does" in said
    until(lambda: pair.second.get("/-/health/ready").status == 503, what="that the other node drains")
    assert pair.second.get("/nap?name=drained").status == 503
    assert pair.second.stop() == 0
    pair.second.start()
    until(lambda: pair.second.get("/-/health/ready").status == 503, what="that a node that begins anew drains, too")
    assert told(pair.second, "drain", "--off").startswith("Serving, all nodes and workers: ")
    until(lambda: pair.first.get("/-/health/ready").status == 200, what="that it starts again")
    assert pair.first.result("/nap?name=drained").status == 200


def test_commands_tell_of_nodes_and_of_who_has_a_run(pair: Pair) -> None:
    pair.first.get("/nap?name=held&seconds=30")
    until(lambda: pair.cluster.started("held") == 1)
    said = {command: told(pair.second, command) for command in ("status", "runs")}
    assert re.search(r"^processes +1 collector, 2 nodes, 1 worker$", said["status"], re.MULTILINE)
    models = "die@1 nap@1 refuse@1 words@1 zeros@1"
    worker = rf"worker-\S+ +process \d+ on .+, 2 runs at once, queues default, models {models}$"
    assert re.search(worker, said["status"], re.MULTILINE)
    assert re.search(r"nap@1 .* running .* worker-\S+", said["runs"])
    operate(pair.first, "cancel", id=pair.first.get("/nap?name=held&seconds=30").json()["id"])
