"""Tells of runs that wait though no process that was heard of can run them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from etagere.logs import get_logger

PATIENCE_S = 10.0
"""A worker that is started anew is heard of by then."""
AGAIN_S = 600.0

log = get_logger("etagere")

Kind = tuple[str, str]
"""A model, and the queue that its runs wait in."""


class Unattended:
    """Looks now and then; what was so for a while is told in one line, and each kind again after a longer while."""

    def __init__(self) -> None:
        self._since: dict[Kind, float] = {}
        self._told: dict[Kind, float] = {}

    def look(
        self,
        waiting: Mapping[str, Mapping[str, int]],
        held: Collection[str],
        nodes: Iterable[Mapping[str, Any]],
        now: float,
    ) -> None:
        """What waits by queue and model, which models have runs that go on, and who is there, at `now` (monotonic)."""
        able = set(_able(nodes))
        left = {
            (model, queue): count
            for queue, counts in waiting.items()
            for model, count in counts.items()
            # Somebody has it, who may tell nothing of itself.
            if (model, queue) not in able and model not in held
        }
        self._since = {kind: self._since.get(kind, now) for kind in left}
        self._told = {kind: at for kind, at in self._told.items() if now - at < AGAIN_S}
        due = sorted(
            kind for kind, since in self._since.items() if now - since >= PATIENCE_S and kind not in self._told
        )
        if due:
            self._told |= dict.fromkeys(due, now)
            named = ", ".join(f"{model} (queue {queue})" for model, queue in due)
            log.warning(
                "runs wait that no worker that was heard of can run: start one that has these models and queues",
                runs=sum(left[kind] for kind in due), models=named,
            )  # fmt: skip


def _able(nodes: Iterable[Mapping[str, Any]]) -> Iterator[Kind]:
    """What workers say that they run; those that are not ours may say anything."""
    for told in nodes:
        models, queues = told.get("models"), told.get("queues")
        if isinstance(models, list) and isinstance(queues, list):
            yield from ((str(model), str(queue)) for model in models for queue in queues)
