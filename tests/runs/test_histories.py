"""Run times over restarts and versions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etagere.core.history import INHERITED, History
from etagere.database import Database
from etagere.runs.histories import Histories

pytestmark = pytest.mark.anyio
LONG = [float(n) for n in range(40)]


class Restarts:
    """One data directory and the services that use it, one after another."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.database = Database(directory)

    async def served(self, *models: str) -> dict[str, tuple[float, ...]]:
        """What the next service knows of the models that it serves."""
        await self.database.close()
        self.database = Database(self.directory)
        return {model: history.seconds for model, history in (await Histories(self.database).load(models)).items()}

    def save(self, model: str, seconds: list[float]) -> None:
        Histories(self.database).save(model, History(seconds))


@pytest.fixture
async def restarts(tmp_path: Path) -> AsyncIterator[Restarts]:
    restarts = Restarts(tmp_path)
    yield restarts
    await restarts.database.close()


async def test_what_was_saved_last_is_there_after_a_restart(restarts: Restarts) -> None:
    assert await restarts.served("heat@1", "wave@1") == {}
    restarts.save("heat@1", [1.0])
    restarts.save("heat@1", LONG)
    restarts.save("wave@1", [2.0])
    for _ in range(2):
        assert await restarts.served("heat@1", "wave@1") == {"heat@1": tuple(LONG), "wave@1": (2.0,)}


async def test_a_new_version_begins_with_a_part_of_the_latest_one_that_ran(restarts: Restarts) -> None:
    restarts.save("heat@2", [7.0])
    restarts.save("heat@1", [1.0])
    restarts.save("heat@2", LONG)
    part = tuple(LONG[-INHERITED:])
    assert await restarts.served("heat@2", "heat@3", "heats@1") == {"heat@2": tuple(LONG), "heat@3": part}
    restarts.save("heat@3", [*part, 1.0])
    assert (await restarts.served("heat@2", "heat@3"))["heat@3"] == (*part, 1.0)


async def test_versions_that_are_not_served_any_more_are_forgotten(restarts: Restarts) -> None:
    restarts.save("heat@1", LONG)
    assert list(await restarts.served("heat@2")) == ["heat@2"]
    assert restarts.database.rows("SELECT model FROM history") == [("heat@2",)]
    assert await restarts.served("wave@1") == {}
    assert restarts.database.rows("SELECT model FROM history") == []


async def test_a_row_that_cannot_be_read_is_learnt_again(restarts: Restarts) -> None:
    await restarts.database.write(lambda found: found.execute("INSERT INTO history VALUES ('heat@1', '[1.0')"))
    assert await restarts.served("heat@1") == {"heat@1": ()}
