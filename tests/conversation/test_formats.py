"""One run, and its result in the format that the path or `Accept` names."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.harness import Answer, Server

from etagere.core.canonical import resource_id

MODELS = Path(__file__).parents[1] / "models" / "tables.py"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
COLUMNS = {
    "n": [0, 1, 2], "x": [0.0, 0.5, 1.0], "label": [f'row {n}, "quoted"' for n in range(3)], "even": [True, None, True],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data")) as server:
        yield server


def is_whole(answer: Answer, format: str) -> bool:
    """Whether tag, digest and length are those of these bytes."""
    digest = hashlib.sha256(answer.body).digest()
    short = base64.b32encode(digest).decode()[:10].lower()
    assert answer.status == 200, answer.body
    assert answer.etag.split(".", 1)[1] == f'{short}.{format}"'
    assert answer["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    assert answer["Content-Length"] == str(len(answer.body))
    return True


def is_problem(answer: Answer, status: int, name: str) -> bool:
    return (answer.status, answer.json()["type"]) == (status, f"/-/problems/{name}")


def table_of(answer: Answer) -> pa.Table:
    if answer["Content-Type"] == PARQUET:
        return pyarrow.parquet.read_table(io.BytesIO(answer.body))
    return pa.ipc.open_stream(answer.body).read_all()


@pytest.mark.parametrize("path", ["/columns", "/columns@1"])
def test_a_mapping_of_columns_by_path(server: Server, path: str) -> None:
    json = server.result(f"{path}.json")
    assert is_whole(json, "json")
    assert json.json() == COLUMNS
    csv_answer = server.result(f"{path}.csv")
    assert is_whole(csv_answer, "csv")
    assert csv_answer["Content-Type"] == "text/csv; charset=utf-8"
    assert csv_answer.body.splitlines(keepends=True)[:3] == [
        b"n,x,label,even\r\n", b'0,0.0,"row 0, ""quoted""",true\r\n', b'1,0.5,"row 1, ""quoted""",\r\n',
    ]  # fmt: skip
    for format in ("arrow", "parquet"):
        answer = server.result(f"{path}.{format}")
        assert is_whole(answer, format)
        assert table_of(answer).to_pydict() == COLUMNS
    assert len({a.etag.split(".")[0] for a in (json, csv_answer, answer)}) == 1, "one resource, one run"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/csv", "text/csv; charset=utf-8"),
        (ARROW, ARROW),
        (PARQUET, PARQUET),
        (f"{PARQUET};q=0.5, text/csv;q=0.4", PARQUET),
        ("text/*", "text/csv; charset=utf-8"),
        ("*/*", "application/json"),
        ("text/csv, */*", "application/json"),
        ("text/csv, */*;q=0.1", "text/csv; charset=utf-8"),
        ("application/json;q=0, */*", "text/csv; charset=utf-8"),
        ("text/html;q=0.9, text/csv;q=0.9", "text/csv; charset=utf-8"),
    ],
)
def test_accept_chooses(server: Server, accept: str, media_type: str) -> None:
    answer = server.result("/columns?rows=2", Accept=accept)
    assert (answer.status, answer["Content-Type"], answer["Vary"]) == (200, media_type, "Accept")
    alias = server.get(f"/r/{answer.etag[1:33]}", Accept=accept)
    assert (alias.body, alias["Content-Type"]) == (answer.body, media_type)


def test_a_path_that_names_the_format_does_not_negotiate(server: Server) -> None:
    answer = server.result("/columns.csv?rows=2", Accept="application/json")
    assert (answer["Content-Type"], answer.headers["Vary"]) == ("text/csv; charset=utf-8", None)


@pytest.mark.parametrize("format", ["json", "csv"])
def test_a_format_that_a_query_names_is_that_of_the_alias(server: Server, format: str) -> None:
    asked = server.query(f"/columns.{format}", {"rows": 3})
    assert asked["Location"].endswith(f".{format}")
    result = server.result(f"/{asked['Location']}", Accept="image/png")
    assert result.etag == server.result(f"/columns.{format}?rows=3").etag


def test_an_alias_in_a_format_that_there_is_not(server: Server) -> None:
    alias = server.query("/columns", {"rows": 4})["Location"]
    assert is_problem(server.get(f"/{alias}.png"), 404, "unknown-format")
    assert is_problem(server.get(f"/{alias}."), 404, "unknown-format")
    assert is_problem(server.get(f"/{alias}.csv/status"), 404, "unknown-id")


def test_what_no_format_satisfies_is_refused_before_any_run(server: Server) -> None:
    answer = server.get("/columns?rows=406", Accept="image/png")
    assert (answer.status, answer["Cache-Control"]) == (406, "no-store")
    assert [given["name"] for given in answer.json()["formats"]] == ["json", "csv", "arrow", "parquet"]
    assert server.get(f"/r/{resource_id('/columns@1?factor=0.5&rows=406')}").status == 404
    unknown = server.get("/columns.png")
    assert (unknown.status, unknown.json()["formats"]) == (404, ["json", "csv", "arrow", "parquet"])
    assert server.get("/number.csv").status == 404


@pytest.mark.parametrize(("path", "told"), [("/uneven", "differ in length"), ("/mixed", "no single type")])
def test_what_is_no_table_is_told(server: Server, path: str, told: str) -> None:
    assert server.result(path).status == 200
    for _ in range(2):
        answer = server.result(f"{path}.parquet")
        assert (answer.status, answer["Content-Type"]) == (406, "application/problem+json")
        assert told in answer.json()["detail"]
        assert answer.json()["formats"] == [{"name": "json", "media_type": "application/json"}]
    assert server.result("/mixed.csv").body == b"a\r\n0\r\ntext\r\n"


def test_a_ready_tag_is_that_of_one_format(server: Server) -> None:
    json, csv_answer = server.result("/columns?rows=7"), server.result("/columns.csv?rows=7")
    for path, tag, status in (
        ("/columns?rows=7", json.etag, 304),
        ("/columns?rows=7", csv_answer.etag, 200),
        ("/columns.csv?rows=7", csv_answer.etag, 304),
        ("/columns.csv?rows=7", json.etag, 200),
    ):
        assert server.get(path, tag).status == status
    assert server.get("/columns?rows=7", csv_answer.etag, Accept="text/csv").status == 304
    assert server.get("/columns.csv?rows=7", f'"{csv_answer.etag[1:33]}.aaaaaaaaaa.csv"').status == 200


def test_a_ready_tag_of_any_format_needs_no_run(server: Server) -> None:
    id = resource_id("/columns@1?factor=0.5&rows=77")
    for format in ("json", "csv", "parquet"):
        shown = server.get(f"/columns.{format}?rows=77", f'"{id}.aaaaaaaaaa.{format}"')
        assert (shown.status, shown.etag) == (304, f'"{id}.aaaaaaaaaa.{format}"')
    assert server.get("/columns.csv?rows=77", f'"{id}.aaaaaaaaaa.json"').status == 202


def test_many_who_ask_for_one_format_get_the_same_bytes(server: Server) -> None:
    server.result("/columns?rows=500")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.get("/columns.parquet?rows=500"), range(16)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1


def test_a_large_table_comes_from_a_file(server: Server) -> None:
    answer = server.result("/columns.csv?rows=60000")
    assert is_whole(answer, "csv")
    assert len(answer.body) > 1 << 20
    rows = list(csv.reader(io.StringIO(answer.body.decode(), newline="")))
    assert (len(rows), rows[60000]) == (60001, ["59999", "29999.5", 'row 59999, "quoted"', "false"])
    head = server.request("HEAD", "/columns.csv?rows=60000")
    assert (head.etag, head["Content-Length"], head.body) == (answer.etag, answer["Content-Length"], b"")
    arrow = server.get("/columns.arrow?rows=60000")
    assert table_of(arrow).num_rows == 60000


def test_variants_outlive_a_restart(tmp_path: Path) -> None:
    with Server.serve(MODELS, tmp_path) as server:
        before = server.result("/columns.csv?rows=9")
    with Server.serve(MODELS, tmp_path) as server:
        again = server.get("/columns.csv?rows=9")
        assert (again.status, again.etag, again.body) == (200, before.etag, before.body)
    assert list((tmp_path / "variants").iterdir()) == []


def test_the_formats_of_a_model_are_told(server: Server) -> None:
    told = server.get("/-/models/columns").json()["formats"]
    assert [given["name"] for given in told] == ["json", "csv", "arrow", "parquet"]
    assert told[0]["media_type"] == "application/json"
