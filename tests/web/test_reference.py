"""The documentation and the pages of the problem types, as a browser and as a program gets them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest
from tests.harness import Answer, Server

from etagere.asgi.problem_types import ProblemType, problem_types
from etagere.web.pages import code_spans

PAGE = "text/html,*/*;q=0.8"
MODELS = '''
from typing import Annotated, Literal
from pydantic import Field
import etagere

app = etagere.Etagere()

@app.model(version="1", examples=[{"word": "it's <b>"}])
def hostile(word: Annotated[str, Field(description="</td><script>alert(1)</script>")] = "<i>",
            level: Annotated[int, Field(ge=1, lt=9, description="How much of `word`.")] = 2,
            sizes: list[float] = [], way: Literal["up", "down"] = "up",
            limit: float | None = None) -> str:
    """Repeats `word` & <img src=x onerror=alert(1)>.

    More of `it`.
    """
    return word

@app.model(version="2")
def bare(count: int, place: dict[str, int]) -> int:
    return count
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("reference")
    (folder / "models.py").write_text(MODELS)
    with Server.serve(folder / "models.py", folder / "data") as server:
        yield server


def assert_harmless(page: Answer) -> None:
    assert (page.status, page["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page["Content-Security-Policy"]
    text = page.body.decode()
    assert re.findall(r"<script(?! src=)", text) == []
    assert re.findall(r"<style|<img src=x|\sstyle=|\son\w+=(?!alert)", text) == []
    assert re.findall(r"(?:href|src)=\"(?:https?:|//|data:)", text) == []


def assert_links_lead_somewhere(server: Server, path: str, page: Answer) -> None:
    links = set(re.findall(r'(?:href|src)="([^"#]+)"', page.body.decode()))
    assert links
    for link in links:
        target = urljoin(path, link)
        answer = server.get(target, Accept="*/*")
        assert answer.status in (200, 202), target


def test_the_documentation_has_every_model_and_parameter(server: Server) -> None:
    page = server.get("/-/docs", Accept=PAGE)
    assert_harmless(page)
    assert_links_lead_somewhere(server, "/-/docs", page)
    text = page.body.decode()
    for shown in ("hostile", "bare", "word", "level", "sizes", "way", "limit", "count", "place"):
        assert f">{shown}<" in text
    assert "whole number from 1 below 9" in text
    assert "list of number" in text
    assert "one of up, down" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "Repeats <code>word</code> &amp; &lt;img" in text
    assert "</span>bare?count=…&amp;place=…&#39;" in text or "</span>bare?count=…&amp;place=…'" in text


def test_the_commands_are_quoted_for_a_shell(server: Server) -> None:
    text = server.get("/-/docs").body.decode()
    assert "</span>hostile?word=it%27s%20%3Cb%3E'" in text
    assert """-d &#39;{&#34;word&#34;: &#34;it&#39;&#34;&#39;&#34;&#39;s &lt;b&gt;&#34;}&#39;""" in text


def test_the_documentation_has_every_answer(server: Server) -> None:
    text = server.get("/-/docs").body.decode()
    document = server.get("/-/openapi.json").json()
    for status in document["paths"]["/r/{id}"]["get"]["responses"]:
        assert f"<td>{status}</td>" in text


def test_the_root_leads_to_the_documentation(server: Server) -> None:
    assert b'href="-/docs"' in server.get("/", Accept=PAGE).body


@pytest.mark.parametrize("kind", problem_types().values(), ids=lambda kind: kind.name)
def test_every_problem_type_has_a_page_and_a_document(server: Server, kind: ProblemType) -> None:
    path = f"/-/problems/{kind.name}"
    answer = server.get(path)
    assert (answer.status, answer["Content-Type"], answer["Vary"]) == (200, "application/json", "Accept")
    assert answer.json() == {
        "type": path, "title": kind.title, "status": kind.status, "meaning": kind.meaning, "advice": kind.advice,
    }  # fmt: skip
    page = server.get(path, Accept=PAGE)
    assert_harmless(page)
    assert str(code_spans(kind.meaning)) in page.body.decode()
    assert str(code_spans(kind.advice)) in page.body.decode()


def test_the_problem_types_are_listed(server: Server) -> None:
    listed = server.get("/-/problems/").json()["problems"]
    assert [kind["type"].rpartition("/")[2] for kind in listed] == [*problem_types()]
    page = server.get("/-/problems/", Accept=PAGE)
    assert_harmless(page)
    assert_links_lead_somewhere(server, "/-/problems/", page)


def test_a_problem_type_that_there_is_not(server: Server) -> None:
    for name in ("nothing", "refused/more", "../docs", "%2e"):
        answer = server.get(f"/-/problems/{name}")
        assert (answer.status, answer["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("path", "meant"),
    [("/-/", "/"), ("/-/models", "/"), ("/-/models/", "/"), ("/-/problems", "/-/problems/")],
)
def test_what_people_type_leads_to_what_they_mean(server: Server, path: str, meant: str) -> None:
    for accept in (PAGE, "application/json"):
        answer = server.get(path, Accept=accept)
        assert (answer.status, answer.body, urljoin(path, answer["Location"])) == (303, b"", meant)
        assert server.get(meant, Accept=accept).status == 200


@pytest.mark.parametrize(
    "path", ["/bare", "/hostile.json", "/bare@2", "/-/docs", "/-/models/bare", "/-/problems/refused"]
)
def test_a_slash_too_many_is_told(server: Server, path: str) -> None:
    for end in ("/", "//"):
        answer = server.get(path + end)
        assert (answer.status, answer.json()["type"]) == (404, "/-/problems/not-found")
        assert answer.json()["detail"] == f"Leave out the slash at the end: {path[1:]}"


def test_behind_a_slash_too_many_the_rest_is_wrong_too(server: Server) -> None:
    assert server.get("/nothing/").json()["models"] == ["hostile", "bare"]
    assert server.get("/bare@1/").json()["versions"] == ["2"]
    assert server.get("/-/nothing/").json()["detail"] == "The models are listed at the root."
    assert server.get("/" * 10_000).status == 404
    assert server.get("/-" + "/" * 10_000).status == 404


def test_the_type_of_a_problem_leads_to_its_page(server: Server) -> None:
    problem = server.get("/hostile?nothing=1")
    explained = server.get(problem.json()["type"])
    assert explained.json()["title"] == problem.json()["title"]


def test_code_spans_escape_and_mark() -> None:
    assert code_spans("a `b<c` & `d") == "a <code>b&lt;c</code> &amp; <code>d</code>"
    assert code_spans("a ``b`` c") == "a <code>b</code> c"


@pytest.mark.parametrize("path", ["/", "/-/models/hostile", "/-/docs"])
def test_what_a_model_says_in_backticks_is_code_on_every_page(server: Server, path: str) -> None:
    text = server.get(path, Accept=PAGE).body.decode()
    assert "Repeats <code>word</code> &amp; &lt;img" in text
    assert "`" not in text
    if path != "/":
        assert "of <code>word</code>" in text
