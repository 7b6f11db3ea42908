"""Coded variants: negotiated, made once, each a representation with a tag of its own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.harness import Answer, Server

from etagere.core.canonical import resource_id

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MODELS = Path(__file__).parents[1] / "models" / "tables.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data")) as server:
        yield server


def coded(server: Server, path: str, accepted: str, tag: str | None = None) -> Answer:
    return server.get(path, tag, Accept_Encoding=accepted)


def decoded(answer: Answer) -> bytes:
    coding = answer.headers["Content-Encoding"]
    return gzip.decompress(answer.body) if coding == "gzip" else zstd.decompress(answer.body) if coding else answer.body


@pytest.mark.parametrize("path", ["/columns", "/columns.csv", "/columns.arrow"])
@pytest.mark.parametrize(("coding", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_a_coded_variant_is_a_representation_of_its_own(server: Server, path: str, coding: str, suffix: str) -> None:
    plain = server.result(f"{path}?rows=400")
    answer = coded(server, f"{path}?rows=400", coding)
    assert (answer.status, answer["Content-Encoding"]) == (200, coding)
    assert decoded(answer) == plain.body
    assert len(answer.body) < len(plain.body)
    digest = hashlib.sha256(answer.body).digest()
    assert answer["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    short = base64.b32encode(digest).decode()[:10].lower()
    format = plain.etag.split(".")[-1][:-1]
    assert answer.etag == f'"{plain.etag[1:33]}.{short}.{format}{suffix}"'
    assert answer["Content-Length"] == str(len(answer.body))
    assert answer["Content-Type"] == plain["Content-Type"]
    assert answer["Vary"] == plain["Vary"] == ("Accept, Accept-Encoding" if path == "/columns" else "Accept-Encoding")
    head = server.request("HEAD", f"{path}?rows=400", {"Accept-Encoding": coding})
    assert (head.etag, head["Content-Length"], head.body) == (answer.etag, answer["Content-Length"], b"")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("identity;q=0, *", "zstd"),
        ("gzip;q=0", None),
        ("br", None),
        ("", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("gzip, identity", "gzip"),
    ],
)
def test_accept_encoding_chooses(server: Server, accepted: str, coding: str | None) -> None:
    server.result("/columns?rows=401")
    answer = coded(server, "/columns?rows=401", accepted)
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, coding)
    assert decoded(answer) == server.get("/columns?rows=401").body


def test_no_coding_of_ours_is_refused_before_any_run(server: Server) -> None:
    answer = coded(server, "/columns?rows=4060", "br, *;q=0")
    assert (answer.status, answer["Content-Type"]) == (406, "application/problem+json")
    assert server.get(f"/r/{resource_id('/columns@1?factor=0.5&rows=4060')}").status == 404
    assert coded(server, "/columns.parquet?rows=4060", "identity;q=0, gzip").status == 406


def test_what_is_small_or_compressed_already_is_sent_as_it_is(server: Server) -> None:
    small = server.result("/columns?rows=2")
    assert coded(server, "/columns?rows=2", "gzip").etag == small.etag
    assert small["Vary"] == "Accept"
    forced = coded(server, "/columns?rows=2", "gzip, identity;q=0")
    assert (forced["Content-Encoding"], decoded(forced)) == ("gzip", small.body)
    parquet = server.result("/columns.parquet?rows=400")
    assert coded(server, "/columns.parquet?rows=400", "gzip").headers["Content-Encoding"] is None
    assert parquet.headers["Vary"] is None


def test_what_a_coding_makes_no_smaller_is_sent_as_it_is(server: Server) -> None:
    plain = server.result("/noise?n=2000")
    for _ in range(2):
        answer = coded(server, "/noise?n=2000", "gzip")
        assert (answer.etag, answer.headers["Content-Encoding"]) == (plain.etag, None)
        assert answer["Vary"] == "Accept, Accept-Encoding"


def test_a_ready_tag_is_that_of_one_coding(server: Server) -> None:
    path = "/columns?rows=402"
    plain, packed = server.result(path), coded(server, path, "gzip")
    for accepted, tag, status in (
        ("gzip", packed.etag, 304), ("gzip", plain.etag, 200), ("identity", plain.etag, 304),
        ("identity", packed.etag, 200), ("zstd", packed.etag, 200),
    ):  # fmt: skip
        answer = coded(server, path, accepted, tag)
        assert answer.status == status, (accepted, tag)
    shown = coded(server, path, "gzip", packed.etag)
    assert (shown.etag, shown["Vary"]) == (packed.etag, packed["Vary"])
    assert shown.headers["Content-Encoding"] is None
    assert coded(server, path, "gzip", packed.etag[:-1] + '-gzip"').status == 304, "what a proxy did to it"


def test_a_ready_tag_of_a_coding_needs_no_run(server: Server) -> None:
    id = resource_id("/columns@1?factor=0.5&rows=4040")
    for accepted, suffix, status in (("gzip", ".gz", 304), ("zstd, gzip", "", 304), ("zstd", ".gz", 202)):
        answer = coded(server, "/columns?rows=4040", accepted, f'"{id}.aaaaaaaaaa.json{suffix}"')
        assert answer.status == status, (accepted, suffix)


def test_a_variant_is_made_once_for_all_who_ask(server: Server) -> None:
    server.result("/columns?rows=403")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: coded(server, "/columns?rows=403", "gzip"), range(16)))
    assert len({answer.body for answer in answers}) == 1


def test_a_large_variant_comes_from_a_file(server: Server) -> None:
    plain = server.result("/noise?n=3000000")
    for coding in ("gzip", "zstd"):
        answer = coded(server, "/noise?n=3000000", f"{coding}, identity;q=0")
        assert len(answer.body) > 1 << 20
        assert decoded(answer) == plain.body


def test_the_bytes_of_a_variant_are_the_same_in_another_service(server: Server, tmp_path: Path) -> None:
    server.result("/columns.csv?rows=30000")
    first = [coded(server, "/columns.csv?rows=30000", coding).etag for coding in ("gzip", "zstd")]
    with Server.serve(MODELS, tmp_path / "data") as another:
        another.result("/columns.csv?rows=30000")
        assert [coded(another, "/columns.csv?rows=30000", coding).etag for coding in ("gzip", "zstd")] == first
    with Server.serve(MODELS, tmp_path / "data") as again:
        assert [coded(again, "/columns.csv?rows=30000", coding).etag for coding in ("gzip", "zstd")] == first
