"""What most modules here talk to: a service with the models of the conversation, and the gates of those that wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Server

MODELS = Path(__file__).parents[1] / "models" / "conversation.py"


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gates: Path) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data"), env={"GATES": str(gates)}) as server:
        yield server
