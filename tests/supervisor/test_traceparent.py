"""How a run's process is told which trace it belongs to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.supervisor.bench import Bench, supervising

pytestmark = pytest.mark.anyio

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MODELS = ("forked", "renewed", "executed")


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A supervisor in a service that belongs to a trace itself."""
    monkeypatch.setenv("TRACEPARENT", TRACE.replace("b7ad", "aaaa"))
    monkeypatch.setenv("TRACESTATE", "vendor=1")
    async with supervising("traced", tmp_path) as bench:
        yield bench


async def seen(bench: Bench, model: str, **given: Any) -> Any:
    outcome = await bench.run(model, media_type="application/json", **given)
    assert outcome.path is not None, outcome
    return json.loads(outcome.path.read_bytes())


@pytest.mark.parametrize("model", MODELS)
async def test_each_run_is_told_its_own_and_no_other(bench: Bench, model: str) -> None:
    """The first may be forked for it, the next is the process that stands by; what one is told no other is."""
    for id, trace in (("a", TRACE), ("b", TRACE.replace("b7ad", "bbbb")), ("c", "")):
        told = await seen(bench, model, id=id, trace=trace)
        assert (told["TRACEPARENT"] or "") == trace
        assert told.get("TRACESTATE") is None
