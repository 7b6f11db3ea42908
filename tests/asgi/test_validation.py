"""Service resources and pages have an entity tag, so that a cache can validate what it has of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Server

MODELS = Path(__file__).parents[1] / "models" / "conversation.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.mark.parametrize("path", ["/", "/-/models/quick", "/-/openapi.json", "/-/static/style.css", "/robots.txt"])
def test_who_has_a_document_is_told_so(server: Server, path: str) -> None:
    full = server.get(path)
    assert (full.status, full["Cache-Control"]) == (200, "no-cache")
    assert full.headers.get_all("ETag") == server.get(path).headers.get_all("ETag")
    for shown in (full.etag, f"W/{full.etag}", f'"other", {full.etag[:-1]}-gzip"', "*"):
        same = server.get(path, shown)
        assert (same.status, same.body, same.headers.get_all("ETag")) == (304, b"", [full.etag])
        assert same.headers["Vary"] == full.headers["Vary"]
    assert server.get(path, '"other"').body == full.body


def test_a_page_has_another_tag_than_the_document(server: Server) -> None:
    document, page = server.get("/"), server.get("/", Accept="text/html")
    assert document.etag != page.etag
    assert server.get("/", document.etag, Accept="text/html").status == 200


@pytest.mark.parametrize("path", ["/-/health/live", "/-/nothing"])
def test_what_nobody_may_keep_has_no_tag(server: Server, path: str) -> None:
    assert "ETag" not in server.get(path).headers
