"""The pages of results that have several formats, over a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Server
from tests.web.html import Page

MODELS = Path(__file__).parents[1] / "models" / "frames.py"
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
IMAGE = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data")) as server:
        yield server


def ready_page(server: Server, path: str) -> Page:
    server.result(path)
    answer = server.get(path, Accept=CHROME)
    assert (answer.status, answer["Content-Type"]) == (200, "text/html; charset=utf-8"), answer.body
    assert answer.headers["ETag"] is None
    return Page(answer.body).check()


@pytest.mark.parametrize("model", ["pandas", "polars", "arrow"])
def test_a_table_of_a_library_is_a_table_with_a_chart(server: Server, model: str) -> None:
    page = ready_page(server, f"/{model}?rows=40")
    assert {"n", "x", "label", "at"} <= {th.text for th in page.all("th", scope="col")}
    assert page.all("svg", role="img")
    assert [a.text for a in page.all("a", class_="button")] == ["arrow", "json", "csv", "parquet"]
    assert server.result(f"/{model}?rows=40").etag in page.one("main").text


def test_a_large_table_shows_its_beginning(server: Server) -> None:
    page = ready_page(server, "/arrow?rows=100000")
    assert "The first 100 rows of many." in page.one("main").text


def test_every_button_leads_to_its_format(server: Server) -> None:
    page = ready_page(server, "/pandas?rows=40")
    for link in page.all("a", class_="button"):
        answer = server.get(f"/{link.attributes['href']}", Accept=CHROME)
        assert (answer.status, answer["Content-Type"]) == (200, link.attributes["type"])


def test_a_figure_is_shown_as_the_picture_that_browsers_get(server: Server) -> None:
    page = ready_page(server, "/curve")
    assert [a.text for a in page.all("a", class_="button")] == ["png", "svg"]
    source = page.one("img", class_="result").attributes["src"]
    assert server.get(f"/{source}", Accept=IMAGE, Sec_Fetch_Mode="no-cors")["Content-Type"] == "image/png"
