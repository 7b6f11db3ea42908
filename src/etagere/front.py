"""From settings to what answers requests: who asks, what that client can reach, and the parts that answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version

from prometheus_client.registry import Collector

from etagere.asgi.access_log import AccessLog
from etagere.asgi.app import Application, Doorkeepers
from etagere.asgi.cors import Cors
from etagere.asgi.hosts import HostCheck
from etagere.asgi.intent import Intent
from etagere.asgi.operator import Operate
from etagere.asgi.resources import Resources
from etagere.config import Settings
from etagere.core.clients import Access
from etagere.core.tally import Held, Overview
from etagere.identity import Identify, Identity, Tokens, with_joserfc
from etagere.keys import Keyring
from etagere.metrics import Metrics, Sources
from etagere.operations import Operations
from etagere.ports import Clock, Redirects
from etagere.reach import Reaches
from etagere.service import Service
from etagere.web.pages import Templates
from etagere.web.routes import Routes


def identity(settings: Settings, clock: Clock, identify: Identify | None) -> Identity:
    """Who finds out who asks; `identify` is a host application's word on that.

    Raises:
        StartError: the keys, or those of tokens, cannot be read, or what tokens need is not installed.
    """
    return Identity(Keyring(settings.key_file, clock), _tokens(settings, clock), identify, settings.trusted_proxies)


def _tokens(settings: Settings, clock: Clock) -> Tokens | None:
    if settings.jwt is None:
        return None
    tokens: Tokens = with_joserfc("etagere.tokens").Tokens(settings.jwt, clock)
    return tokens


def metrics(
    service: Service,
    pending: Callable[[], Overview],
    held: Callable[[], Held],
    nondeterministic: Mapping[str, int],
    *others: Collector,
) -> Metrics:
    """The metrics of a service, and those of `others`."""
    models = service.registry.models
    return Metrics(
        Sources(
            version=version("etagere"),
            models=models.keys(),
            queues={model.options.queue for model in models.values()},
            tally=service.tally,
            pending=pending,
            held=held,
            waiting=lambda: service.waiters.taken,
            nondeterministic=nondeterministic,
            now=service.clock.now,
        ),
        *others,
    )


def application(
    service: Service,
    operations: Operations,
    metrics: Metrics,
    settings: Settings,
    identity: Identity,
    retired: Mapping[str, Access],
    elsewhere: Redirects | None = None,
) -> Application | Cors | AccessLog:
    """The ASGI application; `retired` are keys of versions that were served once, and who could ask for them.

    Clients are sent `elsewhere` for results that are not here, if there is such a place.
    """
    templates = Templates()
    reaches = Reaches(service.registry, settings.access, retired)
    routes = Routes(
        service,
        operations,
        templates,
        version("etagere"),
        metrics,
        guarded=reaches.guarded,
        measured=settings.metrics,
    )
    answering = Application(
        service,
        Doorkeepers(HostCheck(settings.allowed_hosts), identity, reaches),
        _resources(service, templates, settings, elsewhere),
        routes,
        Operate(operations),
        templates,
        max_target=settings.max_target,
        log=settings.access_log or settings.traces,
    )
    served = Cors(answering, settings.cors_origins) if settings.cors_origins else answering
    return AccessLog(served) if settings.access_log else served


def _resources(service: Service, templates: Templates, settings: Settings, elsewhere: Redirects | None) -> Resources:
    return Resources(
        service,
        templates,
        Intent(settings.cors_origins),
        max_wait=settings.max_wait,
        max_query_content=settings.max_query_content,
        dev=settings.dev,
        elsewhere=elsewhere,
    )
