"""Tables of pandas, polars and pyarrow, and matplotlib's figures, over a real server."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.harness import Server

from etagere.core.canonical import resource_id

MODELS = Path(__file__).parents[1] / "models" / "frames.py"
CSV = "n,x,label,at\r\n0,0.0,é0,2026-01-01T00:00:00{0}Z\r\n1,,é1,2026-01-01T01:00:00{0}Z\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_a_table_is_arrow_and_can_be_had_otherwise(server: Server, library: str) -> None:
    arrow = server.result(f"/{library}?rows=2")
    assert (arrow.status, arrow["Content-Type"]) == (200, "application/vnd.apache.arrow.stream"), arrow.body
    table = pa.ipc.open_stream(arrow.body).read_all()
    assert table.column_names == ["n", "x", "label", "at"]
    assert table.schema.metadata is None
    assert table["x"].to_pylist() == [0.0, None]
    parquet = server.get(f"/{library}.parquet?rows=2")
    assert pyarrow.parquet.read_table(io.BytesIO(parquet.body))["label"].to_pylist() == ["é0", "é1"]
    csv = server.get(f"/{library}?rows=2", Accept="text/csv")
    fraction = csv.body.decode().partition("T00:00:00")[2].partition("Z")[0]
    assert csv.body.decode() == CSV.format(fraction)
    assert set(fraction) <= set(".0")
    json = server.get(f"/{library}?rows=2", Accept="application/json").json()
    assert {name: json[name] for name in ("n", "x", "label")} == {"n": [0, 1], "x": [0.0, None], "label": ["é0", "é1"]}
    assert json["at"] == [f"2026-01-01T0{n}:00:00{fraction}Z" for n in range(2)]


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_a_table_without_rows_has_its_columns(server: Server, library: str) -> None:
    assert server.result(f"/{library}.csv?rows=0").body == b"n,x,label,at\r\n"
    assert server.get(f"/{library}.json?rows=0").json() == {"n": [], "x": [], "label": [], "at": []}


def test_what_is_returned_must_be_what_is_said(server: Server) -> None:
    wrong = server.result("/wrong")
    assert (wrong.status, "returned a dict" in wrong.json()["detail"]) == (500, True)
    silent = server.result("/silent")
    assert (silent.status, "annotation that it returns a DataFrame" in silent.json()["detail"]) == (500, True)


def test_a_figure_is_png_and_svg_of_one_run(server: Server) -> None:
    png, svg = server.result("/curve"), server.get("/curve.svg")
    assert (png["Content-Type"], png.body[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
    assert (svg.status, svg["Content-Type"]) == (200, "image/svg+xml")
    assert svg.body.lstrip().startswith(b"<?xml")
    assert b"dc:date" not in svg.body
    assert server.get("/curve", Accept="image/svg+xml").body == svg.body
    assert server.get("/curve", Accept="image/*")["Content-Type"] == "image/png"
    assert server.get("/curve.csv").status == 404


def test_a_figure_has_the_same_bytes_in_every_run(server: Server, tmp_path: Path) -> None:
    first = [server.result(f"/curve.{format}?points=7") for format in ("png", "svg")]
    with Server.serve(MODELS, tmp_path / "data") as another:
        again = [another.result(f"/curve.{format}?points=7") for format in ("png", "svg")]
    assert [answer.etag for answer in first] == [answer.etag for answer in again]


def test_a_large_svg_comes_from_a_file(server: Server) -> None:
    svg = server.result("/curve.svg?points=20000&dots=true", seconds=100)
    assert len(svg.body) > 1 << 20
    assert svg.body.rstrip().endswith(b"</svg>")


def test_a_figure_that_was_lost_is_drawn_again(tmp_path: Path) -> None:
    with Server.serve(MODELS, tmp_path / "data") as server:
        first = server.result("/curve.svg?points=20000&dots=true", seconds=100)
        blobs = [path for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file()]
        for blob in blobs:
            blob.unlink()
        assert server.get("/curve.svg?points=20000&dots=true").status == 202
        again = server.result("/curve.svg?points=20000&dots=true", seconds=100)
        assert (again.etag, again.body) == (first.etag, first.body)


def test_the_second_format_of_what_was_not_run_is_known_by_its_tag(server: Server) -> None:
    id = resource_id("/curve@1?dots=false&points=99")
    assert server.get("/curve.svg?points=99", f'"{id}.aaaaaaaaaa.svg"').status == 304
