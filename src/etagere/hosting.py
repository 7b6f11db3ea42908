"""The commands of processes that answer no requests: `worker` and `collect`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etagere import logs
from etagere.application import Etagere
from etagere.config import Settings, origins, warn_of_unknown_variables
from etagere.errors import StartError
from etagere.factory import begin_collecting, begin_working, check_engine
from etagere.loader import load
from etagere.lock import Lock
from etagere.logs import printable, without_password
from etagere.scratch import Scratch
from etagere.tasks import cancel

log = logs.get_logger("etagere")

Begin = Callable[[Etagere, Settings], Awaitable[Any]]


async def work(target: str, overrides: Mapping[str, Any], config: Path | None) -> int:
    """Run models until stopped; 0."""
    logs.to_stderr()
    # Models may take long to import.
    check_engine(Settings.layered({}, overrides, config).engine)
    return await _host(target, overrides, config, _work, _working)


async def collect(target: str, overrides: Mapping[str, Any], config: Path | None) -> int:
    """Collect outcomes until stopped; 0."""
    return await _host(target, overrides, config, begin_collecting, _collecting)


async def _work(application: Etagere, settings: Settings) -> Any:
    check_engine(settings.engine)
    there = {model.options.queue for model in application.models.values()}
    if unknown := sorted(set(settings.queues) - there):
        log.warning(
            "no model here has such a queue", queue=", ".join(unknown), there_is=", ".join(sorted(there)) or "none"
        )
    return await begin_working(application, settings)


def _working(application: Etagere, settings: Settings) -> str:
    models = application.models
    queues = sorted(set(settings.queues) or {model.options.queue for model in models.values()})
    named = ", ".join(key for key, model in models.items() if model.options.queue in queues) or "no models"
    off = f"the queue{'' if len(queues) == 1 else 's'} {', '.join(queues)}: {named}"
    at_once = f"{settings.runs} run{'' if settings.runs == 1 else 's'} at once"
    return f"Working off {off}; {at_once}; store {without_password(settings.store or '')}"


def _collecting(application: Etagere, settings: Settings) -> str:
    return f"Collecting outcomes of {', '.join(application.models) or 'no models'}"


async def _host(
    target: str, overrides: Mapping[str, Any], config: Path | None, begin: Begin, doing: Callable[..., str]
) -> int:
    logs.to_stderr()
    application = load(target)
    settings = Settings.layered(application.defaults, overrides, config)
    logs.to_stderr(machine=settings.log_json)
    warn_of_unknown_variables()
    if settings.store is None:
        raise StartError("There is no store that is shared with others: --store, or the setting store, says where.")
    named = "data" in origins(application.defaults, overrides, config)
    with _directory(named, settings.data) as data:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        beginning = asyncio.ensure_future(begin(application, settings.model_copy(update={"data": data})))
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait([beginning, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not beginning.done():
            await cancel([beginning])
        stopping.cancel()
        if beginning.cancelled():
            return 0
        host = beginning.result()
        sys.stdout.write(f"{printable(doing(application, settings))}\n")
        sys.stdout.flush()
        await stopped.wait()
        await host.stop()
    return 0


@contextmanager
def _directory(named: bool, directory: Path) -> Iterator[Path]:
    """The directory that was named, and nobody else's, or a new one; nothing in it has to last."""
    if not named:
        scratch = Scratch()
        try:
            yield scratch.path
        finally:
            scratch.remove()
        return
    lock = Lock(directory)
    try:
        yield directory
    finally:
        lock.release(clean=True)
