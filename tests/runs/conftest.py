from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etagere.database import Database
from etagere.testing.samples import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path)
    yield database
    await database.close()
