"""What the tests of the supervisor share: a supervisor with models, and a watch over processes."""

from __future__ import annotations

import importlib.util
import os
import select
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from etagere.core.representation import Outcome, Resource
from etagere.factory import SystemClock
from etagere.supervisor.attempt import Order
from etagere.supervisor.program import describe
from etagere.supervisor.supervisor import Supervisor

MODELS = Path(__file__).parent.parent / "models"
MIB = 1024 * 1024


def load_models(name: str) -> ModuleType:
    """The module `tests/models/{name}.py`, under a name that no `sys.path` leads to."""
    known = f"models_of_tests_{name}"
    if known not in sys.modules:
        spec = importlib.util.spec_from_file_location(known, MODELS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[known] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[known])
    return sys.modules[known]


class Bench:
    """A supervisor, and runs by the names of their models."""

    def __init__(self, supervisor: Supervisor, directory: Path, prefix: str = "") -> None:
        self.supervisor = supervisor
        self.directory = directory
        self._prefix = prefix

    def path(self, id: str = "a") -> Path:
        """The directory of this id's first attempt."""
        return self.directory / f"{self._prefix}{id}.1"

    async def run(self, model: str, **given: Any) -> Outcome:
        async with self.running(model, **given) as outcome:
            return outcome

    @asynccontextmanager
    async def running(
        self,
        model: str,
        *,
        id: str = "a",
        report: Callable[[float, str], bool] = lambda *_: True,
        renew: Callable[[], bool] = lambda: True,
        time_limit: float = 60.0,
        memory_limit: int | None = None,
        media_type: str | None = None,
        trace: str = "",
        **parameters: Any,
    ) -> AsyncIterator[Outcome]:
        """A run whose outcome is known, with its process until this is left."""
        resource = Resource(self._prefix + id, "", f"{model}@1")
        order = Order(resource, 1, orjson.dumps(parameters), time_limit, memory_limit, media_type, trace)
        async with self.supervisor.run(order, report, renew) as outcome:
            yield outcome

    def left(self) -> list[str]:
        """The names of the directories that runs of this bench have left."""
        return sorted(name for name in os.listdir(self.directory) if name.startswith(self._prefix))


@asynccontextmanager
async def supervising(name: str, directory: Path, **options: Any) -> AsyncIterator[Bench]:
    settings = {"max_result": 4 * MIB, "clock": SystemClock()} | options
    supervisor = Supervisor(describe(load_models(name).app), directory, **settings)
    await supervisor.start()
    try:
        yield Bench(supervisor, directory)
    finally:
        await supervisor.close()


class Watched:
    """Processes, none of them our children, held so that their ids cannot become others'."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._handles = [os.pidfd_open(pid) for pid in pids]

    def gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        try:
            return all(self._gone(handle, deadline) for handle in self._handles)
        finally:
            for handle in self._handles:
                os.close(handle)

    def _gone(self, handle: int, deadline: float) -> bool:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        return bool(waiting.poll(max(0.0, deadline - time.monotonic()) * 1000))


def is_gone(pid: int) -> bool:
    """Whether a process that should be dead is, or will be in a moment."""
    try:
        return Watched([pid]).gone_within(1.0)
    except ProcessLookupError:
        return True
