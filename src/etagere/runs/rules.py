"""What the run table that many machines share is to go by, and is told with each new run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection

from etagere.core import pacing
from etagere.core.clients import Asker
from etagere.core.quota import Quota
from etagere.core.representation import Resource
from etagere.runs import admission


class Rules:
    """What an application's models and the settings say of runs.

    `concurrency` gives the limit of a model (`name@version`) or None; `needless` are the models that are not computed
    for nobody; `patience` is in seconds; `models` are those that a worker can run, None for any.
    """

    def __init__(
        self,
        max_pending: int,
        concurrency: Callable[[str], int | None],
        *,
        patience: float = math.inf,
        quota: Quota | None = None,
        needless: Collection[str] = (),
        models: Collection[str] | None = None,
    ) -> None:
        self.max_pending = max_pending
        self.concurrency = concurrency
        self.patience = patience
        self.quota = quota
        self.needless = frozenset(needless)
        self.models = None if models is None else sorted(models)

    def offer(self, resource: Resource, asker: Asker, *, unless_finished: bool) -> str:
        """What the script `offer` is to know, as JSON."""
        quota = self.quota
        allowed = {"each": quota.each, "seconds": quota.seconds, "slack": quota.slack} if quota else {}
        return json.dumps(
            {
                "id": resource.id,
                "model": resource.model,
                "queue": resource.queue,
                "tenant": resource.tenant,
                "client": asker.client,
                "urgency": asker.urgency,
                "trace": asker.trace,
                "limit": self.concurrency(resource.model) or 0,
                "max_pending": self.max_pending,
                "share": admission.share_of(self.max_pending),
                "largest": admission.LARGEST_BACKLOG,
                "patience": finite(pacing.patience(self.patience, 0.0)),
                "unless_finished": unless_finished,
                **allowed,
            }
        )


def finite(seconds: float) -> float:
    """So many seconds, or some decades, since JSON has no infinity."""
    return min(seconds, 1e9)
