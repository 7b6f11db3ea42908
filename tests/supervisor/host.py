"""A service in small: hosts a supervisor with one run, says on standard output what goes on, waits to be killed.

`python host.py DIRECTORY MODEL PARAMETERS`, with PARAMETERS as JSON.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.models.assorted import app

from etagere.core.representation import Resource
from etagere.factory import SystemClock
from etagere.supervisor.attempt import Order
from etagere.supervisor.program import describe
from etagere.supervisor.supervisor import Supervisor


def say(*words: object) -> bool:
    print(*words, flush=True)
    return True


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def main(directory: Path, model: str, parameters: str) -> None:
    supervisor = Supervisor(describe(app), directory, max_result=1 << 20, clock=SystemClock())
    await supervisor.start()
    (guard,) = children(os.getpid())
    (warm,) = children(guard)
    say("service", guard, warm)
    order = Order(Resource("a", "", f"{model}@1"), 1, parameters.encode(), 60.0, None, None)
    async with supervisor.run(order, lambda _, message: say("run", message)) as outcome:
        say("outcome", outcome.kind, outcome.detail)
    await supervisor.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
