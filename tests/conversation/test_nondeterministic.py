"""A model that is not deterministic: its results are compared after eviction, and that is told."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from tests.harness import Answer, Server

MODELS = Path(__file__).parents[1] / "models" / "wavering.py"
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def digest(answer: Answer) -> str:
    return answer.etag.split(".")[1]


def test_a_result_that_was_computed_again_with_other_bytes(tmp_path: Path) -> None:
    env = {"ETAGERE_CACHE_SIZE": str(5 << 20), "GATES": str(tmp_path)}
    with Server.serve(MODELS, tmp_path / "data", env=env) as server:
        first = server.result("/noise?n=1")
        status = f"/r/{first.etag[1:33]}/status"
        assert "nondeterministic" not in server.get(status).json()
        for n in (2, 3):
            assert server.result(f"/noise?n={n}").status == 200
        assert server.get(status).json()["state"] == "absent"
        assert server.get("/noise?n=1", first.etag).status == 304, "who has it need not know that it is gone"

        second = server.result("/noise?n=1")
        assert second.status == 200
        assert (second.etag, second.body) != (first.etag, first.body)
        assert second["Repr-Digest"] != first["Repr-Digest"]
        found = server.get(status).json()["nondeterministic"]
        assert (found["first"], found["later"]) == (digest(first), digest(second))
        assert abs((datetime.now(UTC) - datetime.fromisoformat(found["seen"])).total_seconds()) < 60
        assert b"Not deterministic" in server.get(status, Accept=CHROME).body

        full = server.get("/noise?n=1", first.etag)
        assert (full.status, full.etag, full.body) == (200, second.etag, second.body)
        assert server.get("/noise?n=1", second.etag).status == 304
    assert server.printed.count(b"computed again with another result") == 1
    assert server.printed.count(b"a client has another result than ours") == 1

    with Server.serve(MODELS, tmp_path / "data", env=env) as server:
        assert server.get(status).json()["nondeterministic"] == found
        for n in (2, 3):
            assert server.result(f"/noise?n={n}").status == 200
        os.mkfifo(tmp_path / "gate")
        accepted = server.get("/noise?n=1", first.etag)
        assert accepted.status == 202, "its digest speaks against the tag that is shown"
        told = server.get(status).json()
        assert (told["state"] in ("queued", "running"), told["nondeterministic"]) == (True, found)
        (tmp_path / "gate").write_bytes(b"")
        (tmp_path / "gate").unlink()
        assert server.result("/noise?n=1").etag not in (first.etag, second.etag)
