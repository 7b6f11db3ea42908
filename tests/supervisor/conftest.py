from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.supervisor.bench import Bench, supervising


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with supervising("assorted", tmp_path_factory.mktemp("the runs")) as bench:
        yield bench


@pytest.fixture
def bench(shared: Bench, tmp_path: Path) -> Bench:
    """A supervisor that other tests of the module use too, with ids that no other uses."""
    return Bench(shared.supervisor, shared.directory, prefix=tmp_path.name)
