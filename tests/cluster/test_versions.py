"""A version of a model that a node does not serve is known to it all the same, if any node has served it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.processes import Cluster, cluster, until
from tests.harness import Answer

MODEL = """
import os
import etagere

app = etagere.Etagere()


@app.model(version="1", media_type="text/csv")
def area(radius: float) -> bytes:
    return f"area\\n{3 * radius**2}\\n".encode()
"""
NEWER = MODEL.replace('version="1"', 'version="2"')
ANOTHER_PI = MODEL.replace("{3 *", "{4 *")
OTHER_PARAMETERS = MODEL.replace("radius: float", "radius: float, height: float = 1.0")
WARNING = "the model's source changed and its version did not"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        made.target = tmp_path / "models.py"
        made.target.write_text(MODEL)
        yield made


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json()["type"].rpartition("/")[2]


def test_a_retired_version_is_served_by_nodes_that_never_did(parts: Cluster) -> None:
    node, worker = parts.node(), parts.worker()
    parts.collector()
    tag = node.result("/area@1?radius=1").etag
    worker.stop()
    assert node.get("/area@1?radius=2").status == 202
    older = parts.target
    parts.target = older.with_name("newer.py")
    parts.target.write_text(NEWER)
    fresh = parts.node()
    kept = fresh.get("/area@1?radius=1")
    assert (kept.status, kept.etag, kept.body) == (200, tag, b"area\n3.0\n")
    assert kept["Content-Type"].startswith("text/csv")
    assert problem(fresh.get("/area@1?radius=3")) == (410, "retired-version")
    assert problem(fresh.get("/area@3?radius=3")) == (404, "unknown-version")
    # Its run was accepted, and ends.
    pending = fresh.get("/area@1?radius=2")
    assert (pending.status, fresh.get("/area@1?radius=2", pending.etag).status) == (202, 304)
    parts.target = older
    parts.worker()
    assert fresh.result("/area@1?radius=2").body == b"area\n12.0\n"
    # A node that is behind does as much for what is ahead of it.
    behind = parts.node()
    assert fresh.get("/area@2?radius=1").status == 202
    until(lambda: behind.get("/area@2?radius=1").status == 202)


def test_who_has_another_source_of_the_same_version_says_so(parts: Cluster) -> None:
    same = [parts.node(), parts.node()]
    parts.target.write_text(ANOTHER_PI)
    others = [parts.node(), parts.worker()]
    assert [part.stop() for part in same + others] == [0] * 4
    assert [WARNING in part.log for part in same + others] == [False, False, True, True]


def test_a_worker_that_has_other_parameters_leaves_the_runs_to_those_that_have_not(parts: Cluster) -> None:
    node, _ = parts.node(), parts.collector()
    paths = [f"/area?radius={radius}" for radius in range(3)]
    right = parts.target
    parts.target = right.with_name("other.py")
    parts.target.write_text(OTHER_PARAMETERS)
    wrong = parts.worker()

    def left() -> bool:
        assert {node.get(path).status for path in paths} == {202}
        return "its runs are left to others" in wrong.log

    until(left)
    parts.target = right
    parts.worker()
    assert [node.result(path).status for path in paths] == [200] * 3
    # It may have had as many as it runs at once.
    assert wrong.log.count("its runs are left to others") <= 2
