"""Large results in an S3-compatible store: through the nodes, or fetched there by clients themselves."""

from __future__ import annotations

import gzip
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.caches import s3
from tests.cluster.processes import Cluster, Part, cluster, until

from etagere.caches.blobstore import BlobStore

pytestmark = pytest.mark.anyio

SIZE = 3_000_000
PATH = f"/zeros?size={SIZE}"


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    with s3.serving() as environment:
        yield environment


@pytest.fixture
def parts(tmp_path: Path, bucket: dict[str, str]) -> Iterator[Cluster]:
    with cluster(tmp_path, blobs=f"s3://{s3.BUCKET}/{tmp_path.name}") as made:
        made.settings |= {**bucket, "AWS_ALLOW_HTTP": "true"}
        yield made


def host(parts: Cluster) -> None:
    parts.worker()
    parts.collector()


async def test_through_the_nodes(parts: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is lost there is computed again."""
    first, second = parts.node(), parts.node()
    host(parts)
    whole = first.result(PATH)
    assert (whole.status, whole.body) == (200, bytes(SIZE))
    part = second.result(PATH, Range="bytes=-10")
    assert (part.status, part.body, part["Content-Range"]) == (206, bytes(10), f"bytes 2999990-2999999/{SIZE}")
    other = f"/zeros?size={SIZE + 1}"
    tag = first.result(other).etag
    for name, value in parts.settings.items():
        monkeypatch.setenv(name, value)
    blobs = BlobStore(parts.settings["ETAGERE_BLOBS"])
    for blob in await blobs.listed("results"):
        await blobs.remove(blob.name)
    assert second.get(other).status == 202
    assert second.result(other).etag == tag


def test_by_themselves(parts: Cluster) -> None:
    """Sent there for the whole and for parts; what is small, and another format, is still the node's to give."""
    parts.settings["ETAGERE_BLOB_REDIRECT"] = "true"
    node = parts.node()
    host(parts)
    sent = node.result(PATH)
    assert (sent.status, sent["Cache-Control"], sent.body) == (307, "no-store", b"")
    with urllib.request.urlopen(sent["Location"]) as found:
        assert found.read() == bytes(SIZE)
    ranged = urllib.request.Request(node.get(PATH, Range="bytes=0-9")["Location"], headers={"Range": "bytes=0-9"})
    with urllib.request.urlopen(ranged) as found:
        assert (found.status, found.read()) == (206, bytes(10))
    assert not _has_body(node)
    assert node.result("/words?size=3000000").status == 307
    coded = node.get("/words?size=3000000", Accept_Encoding="gzip")
    assert (coded.status, coded["Content-Encoding"], len(gzip.decompress(coded.body))) == (200, "gzip", 3_000_002)
    assert node.result("/nap?name=small").status == 200


def test_what_has_no_place_is_a_failure_that_is_told_as_such(tmp_path: Path) -> None:
    with cluster(tmp_path, blobs="") as parts:
        del parts.settings["ETAGERE_BLOBS"]
        node, worker, _ = parts.node(), parts.worker(), parts.collector()
        failed = node.result(PATH)
        assert failed.status == 500
        assert "set blobs" in failed.json()["detail"]
        assert worker.stop() == 0
        [told] = [line for line in worker.log.splitlines() if "run ended" in line]
        assert "outcome=failed" in told
        assert "set blobs" in told


def test_a_node_and_a_collector_that_do_not_look_there_say_so(parts: Cluster) -> None:
    """Nothing is computed again by that."""
    aside = parts.node(ETAGERE_BLOBS="")
    blind = parts.collector(ETAGERE_BLOBS="")
    parts.worker()
    started = aside.get(PATH)
    until(lambda: "set blobs as the workers have it" in blind.log, what="that the collector says what to configure")
    assert aside.get(PATH, started.etag).status == 304
    parts.collector()
    node = parts.node()
    assert node.result(PATH).status == 200
    until(lambda: aside.get(PATH).status == 503, what="that the node knows of the end")
    told = aside.get(PATH)
    assert (told.json()["type"], told.json()["title"]) == (
        "/-/problems/result-out-of-reach", "The result cannot be fetched now",
    )  # fmt: skip
    assert told["Retry-After"] == "5"


def _has_body(node: Part) -> bool:
    """Whether a node has the large result itself, uncoded."""
    data = Path(node.command[node.command.index("--data") + 1])
    return any(path.stat().st_size == SIZE for path in (data / "blobs").rglob("*") if path.is_file())
