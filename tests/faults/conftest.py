from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.faults.gates import Gates


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[Gates]:
    with closing(Gates(tmp_path)) as opened:
        yield opened
