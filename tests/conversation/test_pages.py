"""The pages of the browser's side, over a real server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.harness import Answer, Server
from tests.web.html import Page

MODELS = Path(__file__).parents[1] / "models"
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Path) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("data")
    with Server.serve(MODELS / "pages.py", data, env={"GATES": str(gates)}) as server:
        yield server


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.serve(MODELS / "hostile.py", tmp_path_factory.mktemp("hostile")) as server:
        yield server


def page_of(answer: Answer, status: int = 200) -> Page:
    assert (answer.status, answer["Content-Type"]) == (status, "text/html; charset=utf-8"), answer.body
    assert answer["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "Accept" in answer["Vary"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    return Page(answer.body).check()


def ready_page(server: Server, path: str) -> Page:
    """The page of a result, which is there before it is asked for."""
    server.result(path)
    return page_of(server.get(path, Accept=CHROME))


def test_a_form_has_a_field_for_each_parameter_and_leads_to_the_model(server: Server) -> None:
    page = page_of(server.get("/-/models/rod", Accept=CHROME))
    form = page.one("form")
    assert (form.attributes["method"], form.attributes["action"]) == ("get", "../../rod")
    controls = page.all("input") + page.all("select") + page.all("textarea")
    assert {control.attributes["name"] for control in controls} == set(
        server.get("/-/models/rod").json()["parameters"]["properties"]
    )
    assert page.one("input", name="points").attributes["max"] == "99999"
    assert page.one("textarea", name="probes").text == "[0.25, 0.5]"
    assert [option.text for option in page.one("select", name="level").children] == ["none", "1", "2"]


def test_an_example_is_a_link_to_its_result(server: Server) -> None:
    page = page_of(server.get("/-/models/rod", Accept=CHROME))
    (link,) = [a for a in page.all("a") if "alpha=0.25" in (a.attributes["href"] or "")]
    target = (link.attributes["href"] or "").removeprefix("../..")
    assert server.result(target).json()["label"] == "a b+c"


def test_the_form_sent_without_script_is_the_resource_of_the_defaults(server: Server) -> None:
    page = page_of(server.get("/-/models/rod", Accept=CHROME))
    sent = {control.attributes["name"]: control.attributes["value"] for control in page.all("input")}
    sent |= {control.attributes["name"]: control.text for control in page.all("textarea")}
    for select in page.all("select"):
        chosen = [option for option in select.children if "selected" in option.attributes] or select.children
        sent[select.attributes["name"]] = chosen[0].attributes["value"]
    sent["alpha"] = "0.125"
    result = server.result(f"/rod?{urlencode(sent)}").json()
    assert result == {**server.result("/rod?alpha=0.125").json(), "label": ""}


def test_the_document_of_a_model_and_its_form_vary_on_accept(server: Server) -> None:
    document, page = server.get("/-/models/rod"), server.get("/-/models/rod", Accept=CHROME)
    assert document["Vary"] == page["Vary"] == "Accept"
    assert document["Content-Type"] == "application/json"


def test_a_result_is_a_page_without_a_tag_that_is_asked_for_each_time(server: Server) -> None:
    page = ready_page(server, "/rod?alpha=0.25")
    answer = server.get("/rod?alpha=0.25", Accept=CHROME)
    assert answer["Cache-Control"] == "no-cache"
    assert answer["Vary"] == "Accept"
    assert answer.headers["ETag"] is None
    assert server.result("/rod?alpha=0.25").etag in page.one("main").text
    assert "alpha" in page.one("dl", class_="inputs").text


def test_a_tag_of_the_result_is_no_tag_of_its_page(server: Server) -> None:
    ready = server.result("/rod?alpha=0.3")
    assert server.get("/rod?alpha=0.3", ready.etag).status == 304
    page_of(server.get("/rod?alpha=0.3", ready.etag, Accept=CHROME))
    refused = server.get("/rod?alpha=0.3", Accept=CHROME, If_Match=ready.etag)
    page_of(refused, 412)
    page_of(server.get("/rod?alpha=0.3", Accept=CHROME, If_Match="*"))


@pytest.mark.parametrize(
    "accept", ["*/*", "text/html;q=0.5,*/*", "application/json,text/html", "application/json;q=0.9,text/html;q=0.9"]
)
def test_whoever_does_not_prefer_html_gets_the_result(server: Server, accept: str) -> None:
    server.result("/rod?alpha=0.25")
    assert server.get("/rod?alpha=0.25", Accept=accept)["Content-Type"] == "application/json"


def test_whoever_takes_html_alone_gets_the_page(server: Server) -> None:
    server.result("/rod?alpha=0.25")
    page_of(server.get("/rod?alpha=0.25", Accept="text/html"))


def test_a_path_with_a_format_gives_the_bytes_to_a_browser(server: Server) -> None:
    page = ready_page(server, "/rod?alpha=0.25")
    link = next(a for a in page.all("a") if a.attributes.get("type") == "application/json")
    answer = server.get(f"/{link.attributes['href']}", Accept=CHROME)
    assert answer["Content-Type"] == "application/json"
    assert answer.json() == server.result("/rod?alpha=0.25").json()


def test_formats_for_tables_are_offered_where_the_result_is_one(server: Server) -> None:
    def offered(page: Page) -> list[str]:
        return [a.text for a in page.all("a", class_="button")]

    assert offered(ready_page(server, "/columns?rows=3"))[:2] == ["json", "csv"]
    assert offered(ready_page(server, "/rod?alpha=0.25")) == ["json"]
    assert "csv" in offered(ready_page(server, "/columns?rows=200000"))


def test_a_result_has_its_chart_its_table_and_what_stands_beside(server: Server) -> None:
    page = ready_page(server, "/rod?alpha=0.25&points=200")
    assert [svg.attributes["aria-label"] for svg in page.all("svg", role="img")] == [
        "Line chart. temperature against x: 200 points",
        "Line chart. gradient against x: 200 points",
    ]
    headers = [th.text for th in page.all("th", scope="col")]
    assert headers[:4] == ["#", "x", "temperature", "gradient"]
    assert "The first 100 rows of 200." in page.one("main").text
    assert "12.5" in page.one("main").text


def test_the_page_of_an_alias_links_from_there(server: Server) -> None:
    id = server.result("/rod?alpha=0.25").etag[1:33]
    page = page_of(server.get(f"/r/{id}", Accept=CHROME))
    links = [a.attributes["href"] or "" for a in page.all("a")]
    assert any(link.startswith("../rod@2.json?alpha=0.25&") for link in links)
    assert any(link.startswith("../-/models/rod?alpha=0.25&") for link in links)


def test_csv_is_a_table_with_a_chart(server: Server) -> None:
    page = ready_page(server, "/table?rows=50")
    assert [th.text for th in page.all("th", scope="col")] == ["#", "time", "height"]
    assert page.all("svg", role="img")


def test_of_a_large_result_the_beginning_is_shown(server: Server) -> None:
    size = len(server.result("/numbers?count=300000").body)
    answer = server.get("/numbers?count=300000", Accept=CHROME)
    page = page_of(answer)
    assert size > 1 << 20
    assert len(answer.body) < 50_000
    assert page.all("pre", tabindex="0")[0].text.startswith("[0,1,2,")
    assert "too large for a page" in page.one("main").text
    rows = ready_page(server, "/table?rows=200000")
    assert "The first 100 rows of many." in rows.one("main").text


def test_a_result_that_lost_its_file_is_computed_again(server: Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server.serve(MODELS / "pages.py", data, env={"GATES": str(tmp_path)}) as own:
        own.result("/numbers?count=300000")
        for blob in (data / "blobs").glob("??/*"):
            blob.unlink()
        page_of(own.get("/numbers?count=300000", Accept=CHROME), 202)
        ready_page(own, "/numbers?count=300000")


def test_what_a_page_cannot_show_it_links_to(server: Server) -> None:
    page = ready_page(server, "/binary")
    assert "nothing that a page could show" in page.one("main").text
    assert [a for a in page.all("a") if a.attributes["href"] == "binary@1.h5"]


def test_head_of_a_page_is_its_head(server: Server) -> None:
    server.result("/rod?alpha=0.25")
    head = server.request("HEAD", "/rod?alpha=0.25", {"Accept": CHROME})
    page = server.get("/rod?alpha=0.25", Accept=CHROME)
    assert (head.status, head.body, head["Content-Length"]) == (200, b"", str(len(page.body)))


def test_a_problem_is_a_page_with_every_fault_and_the_way_back(server: Server) -> None:
    answer = server.get("/rod?alpha=x&stpes=1", Accept=CHROME)
    page = page_of(answer, 400)
    assert answer["Cache-Control"] == "no-store"
    assert {dt.text.split()[0] for dt in page.all("dt")} >= {"alpha", "stpes"}
    assert [a for a in page.all("a") if a.attributes["href"] == "-/models/rod?alpha=x"]
    assert server.get("/rod?alpha=x", Accept="application/json, text/html;q=0.9").json()["status"] == 400
    assert server.get("/rod?alpha=x")["Vary"] == "Accept"


def test_a_refusal_and_a_failure_say_what_and_what_to_do(server: Server) -> None:
    server.result("/rod?alpha=0.75")
    refused = server.get("/rod?alpha=0.75", Accept=CHROME)
    page = page_of(refused, 422)
    assert refused["Cache-Control"] == "max-age=300"
    assert "alpha must be at most 0.5" in page.one("main").text
    server.result("/broken")
    failed = page_of(server.get("/broken", Accept=CHROME), 500)
    assert failed.one("h1").text == "The run failed"
    id = server.result("/rod?alpha=0.75").json()["id"]
    by_alias = page_of(server.get(f"/r/{id}", Accept=CHROME), 422)
    assert [a for a in by_alias.all("a") if (a.attributes["href"] or "").startswith("../-/models/rod?alpha=0.75&")]
    status = page_of(server.get(f"/r/{id}/status", Accept=CHROME))
    assert "alpha must be at most 0.5" in status.one("main").text


@pytest.mark.parametrize("path", ["/nothing", "/-/nothing", "/r/nothing", "/rod/more/still", "/rod@9", "/%ff"])
def test_pages_of_problems_find_the_root_from_everywhere(server: Server, path: str) -> None:
    answer = server.get(path, Accept=CHROME)
    page = page_of(answer, 404 if path != "/%ff" else 400)
    sheet = page.one("link", rel="stylesheet").attributes["href"] or ""
    assert sheet == "../" * (path.count("/") - 1) + "-/static/style.css"
    kind = server.get(path).json()["type"].rpartition("/")[2]
    links = [a.attributes["href"] for a in page.all("a") if a.text == kind]
    assert links == ["../" * (path.count("/") - 1) + f"-/problems/{kind}"]


def test_a_field_beyond_the_limit_is_no_page(server: Server) -> None:
    assert server.get("/rod?alpha=x", Accept="text/html," + "a" * 9000)["Content-Type"] == "application/problem+json"


def test_the_waiting_page_follows_the_alias_and_stays_at_its_address(server: Server, gates: Path) -> None:
    os.mkfifo(gates / "page")
    answer = server.get("/slow?gate=page&steps=1", Accept=CHROME)
    page = page_of(answer, 202)
    body = page.one("body").attributes
    assert body["data-result"] == ""
    assert body["data-alias"] == f"r/{answer.etag[3:-1]}"
    assert page.one("progress").attributes["aria-label"]
    with open(gates / "page", "w"):
        pass
    page = ready_page(server, "/slow?gate=page&steps=1")
    assert not page.all("progress")
    done = page_of(server.get(f"/r/{answer.etag[3:-1]}/status", Accept=CHROME))
    assert done.one("body").attributes["data-state"] == "succeeded"


def test_the_catalogue_names_every_model(server: Server) -> None:
    page = page_of(server.get("/", Accept=CHROME))
    assert {a.text for a in page.all("a")} >= {"rod", "slow", "table", "numbers", "broken"}


def test_nothing_that_a_model_says_becomes_markup(hostile: Server) -> None:
    hostile.result("/hostile")
    refused = hostile.result("/hostile?refuse=true")
    pages = [
        page_of(hostile.get("/", Accept=CHROME)),
        page_of(hostile.get("/-/models/hostile", Accept=CHROME)),
        page_of(hostile.get("/-/docs", Accept=CHROME)),
        page_of(hostile.get("/hostile", Accept=CHROME)),
        page_of(hostile.get("/hostile?refuse=true", Accept=CHROME), 422),
        page_of(hostile.get(f"/r/{refused.json()['id']}/status", Accept=CHROME)),
        page_of(hostile.get("/hostile?steps=%3Cscript%3E&%22onload=1", Accept=CHROME), 400),
        ready_page(hostile, "/words"),
    ]
    for page in pages:
        assert len(page.all("script")) <= 1
        assert not page.all("img", src="x")
        assert not [a for a in page.all("a") if (a.attributes["href"] or "").startswith("javascript")]
    picture = ready_page(hostile, "/picture")
    image = picture.one("img", class_="result").attributes
    assert (image["src"] or "").startswith("r/")
    shown = hostile.get(f"/{image['src']}", Accept="image/avif,image/webp,image/*,*/*;q=0.8", Sec_Fetch_Mode="no-cors")
    assert (shown["Content-Type"], shown["Content-Security-Policy"]) == ("image/svg+xml", "sandbox")
