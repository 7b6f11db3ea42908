"""Workers that a Celery fleet hosts."""

from __future__ import annotations

from collections.abc import Collection

from celery import Celery

from etagere.config import Settings
from etagere.engines import broker as brokers
from etagere.engines.celery import CeleryEngine
from etagere.errors import StartError
from etagere.factory.cluster import Cluster
from etagere.logs import without_password
from etagere.worker import Worker

SCHEME = "celery+"


def broker(engine: str) -> str:
    """The URL of the broker that the setting `engine` names.

    Raises:
        StartError: it names none that Celery knows.
    """
    url = engine.removeprefix(SCHEME)
    if "://" not in url or url == engine:
        raise StartError(
            f"The engine is {SCHEME} and the URL of a broker, such as {SCHEME}amqp://, not {without_password(engine)}."
        )
    try:
        brokers.check(url)
    except ValueError as error:
        raise StartError(f"The engine {without_password(engine)} is {SCHEME} and no URL of a broker.") from error
    except (LookupError, ImportError) as error:
        raise StartError(f"The engine {without_password(engine)} has no broker that can be used: {error}") from error
    return url


def reach(engine: str) -> Exception | None:
    """What keeps us from the broker of the setting `engine`, if anything does; blocks."""
    return brokers.reach(brokers.application(broker(engine)))


def celery_engine(
    settings: Settings, cluster: Cluster, worker: Worker, queues: Collection[str], host: Celery | None = None
) -> CeleryEngine:
    """An engine in the fleet of a broker, with a Celery worker in this process; or in that of a `host` that has one.

    Raises:
        StartError: the setting `engine` names no broker.
    """
    return CeleryEngine(
        host or brokers.application(broker(settings.engine or "")),
        worker,
        queues,
        settings.runs,
        prefix=settings.namespace,
        once=cluster.once,
        waiting=cluster.runs.waiting,
        hosts=host is None,
    )
