"""Gates for the models of `models/gated.py`."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from tests.faults.service import MODELS, Service

numbers = itertools.count()


class Gates:
    """FIFOs in one directory, and the notes of those that came to them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "gates"
        self.directory.mkdir()
        self.notes = directory / "executions"
        self._open: list[int] = []

    @property
    def environment(self) -> dict[str, str]:
        return {"GATES": str(self.directory), "EXECUTIONS": str(self.notes)}

    def service(self, data: Path, *options: str, **settings: object) -> Service:
        """A service of the gated models; settings by their names."""
        env = {f"ETAGERE_{name.upper()}": str(value) for name, value in settings.items()}
        return Service(MODELS / "gated.py", data, *options, env={**self.environment, **env})

    def new(self) -> str:
        """A closed gate."""
        name = f"g{next(numbers)}"
        os.mkfifo(self.directory / name)
        return name

    def open(self, *names: str) -> None:
        """Let through who waits there and who will come."""
        for name in names:
            self._open.append(os.open(self.directory / name, os.O_RDWR))
            os.write(self._open[-1], bytes(4096))

    def close(self) -> None:
        """Be done with them."""
        while self._open:
            os.close(self._open.pop())

    def waiting(self) -> list[str]:
        """Where a run has begun that has not ended, killed ones included."""
        begun, ended = self._noted("begins"), self._noted("ends")
        return [name for name in begun if name not in ended]

    def begun(self) -> list[str]:
        """The gates in the order in which runs came to them."""
        return self._noted("begins")

    def pid(self, name: str) -> int:
        """Of the run that came to this gate first."""
        lines = (line.split() for line in self.notes.read_text().splitlines())
        return next(int(pid) for found, event, pid in lines if (found, event) == (name, "begins"))

    def events(self) -> list[tuple[str, str]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(line.split()[0], line.split()[1]) for line in lines]

    def _noted(self, event: str) -> list[str]:
        return [name for name, noted in self.events() if noted == event]
