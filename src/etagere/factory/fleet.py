"""Workers that a Celery fleet hosts."""

from __future__ import annotations

from collections.abc import Collection

from celery import Celery

from etagere.config import Settings
from etagere.engines import celery
from etagere.engines.celery import CeleryEngine
from etagere.errors import StartError
from etagere.factory.cluster import Cluster
from etagere.worker import Worker

SCHEME = "celery+"


def celery_engine(
    settings: Settings, cluster: Cluster, worker: Worker, queues: Collection[str], host: Celery | None = None
) -> CeleryEngine:
    """An engine in the fleet of a broker, with a Celery worker in this process; or in that of a `host` that has one.

    Raises:
        StartError: the setting `engine` names no broker.
    """
    broker = (settings.engine or "").removeprefix(SCHEME)
    if host is None and (not broker or broker == settings.engine):
        raise StartError(
            f"The engine is {SCHEME} and the URL of a broker, such as {SCHEME}amqp://, not {settings.engine}."
        )
    return CeleryEngine(
        host or celery.application(broker),
        worker,
        queues,
        settings.runs,
        prefix=settings.namespace,
        once=cluster.once,
        waiting=cluster.runs.waiting,
        hosts=host is None,
    )
