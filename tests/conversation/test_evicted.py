"""An evicted result: its ready tag still holds, its digest is remembered, the next GET computes it again."""

from __future__ import annotations

from pathlib import Path

from tests.harness import Server

MODELS = Path(__file__).parents[1] / "models" / "conversation.py"


def test_an_evicted_result(tmp_path: Path) -> None:
    env = {"GATES": str(tmp_path), "ETAGERE_CACHE_SIZE": str(5 << 20)}
    with Server.serve(MODELS, tmp_path / "data", env=env) as server:
        first = server.result("/large?n=2&fill=1")
        id = first.etag[1:33]
        for fill in (2, 3):
            assert server.result(f"/large?n=2&fill={fill}").status == 200
        status = f"/r/{id}/status"
        assert server.get(status).json()["state"] == "absent"

        shown = server.get("/large?n=2&fill=1", first.etag)
        assert (shown.status, shown.etag, shown["Cache-Control"]) == (304, first.etag, "max-age=3600")
        assert server.get(f"/r/{id}", first.etag).status == 304
        assert server.get(status).json()["state"] == "absent", "a ready tag starts no run"

        wrong = f'"{id}.aaaaaaaaaa.bin"'
        assert server.get("/large?n=2&fill=1", wrong).status == 202
        again = server.result("/large?n=2&fill=1")
        assert (again.status, again.etag, again.body) == (200, first.etag, first.body)


def test_the_alias_of_an_evicted_result_starts_it_again(tmp_path: Path) -> None:
    env = {"GATES": str(tmp_path), "ETAGERE_CACHE_SIZE": str(5 << 20)}
    with Server.serve(MODELS, tmp_path / "data", env=env) as server:
        first = server.result("/large?n=2&fill=1")
        alias = f"/r/{first.etag[1:33]}"
        for fill in (2, 3):
            assert server.result(f"/large?n=2&fill={fill}").status == 200
        assert server.get(alias).status == 202
        assert server.result(alias).body == first.body
    with Server.serve(MODELS, tmp_path / "data", env=env) as server:
        assert server.result(alias).etag == first.etag


def test_a_result_whose_file_was_changed_is_computed_again(tmp_path: Path) -> None:
    env = {"GATES": str(tmp_path)}
    with Server.serve(MODELS, tmp_path / "data", env=env) as server:
        first = server.result("/large?n=2&fill=9")
        (file,) = [path for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file()]
        file.chmod(0o600)
        file.write_bytes(b"x" * first.headers["Content-Length"].__len__())
        again = server.get("/large?n=2&fill=9")
        assert again.status == 202
        assert server.result("/large?n=2&fill=9").body == first.body
