"""What the commands do; `cli.py` says how they are called."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from watchfiles import PythonFilter, awatch

from etagere import front, logs, server
from etagere.application import Etagere
from etagere.checking import Checker, Finding, Verdict
from etagere.config import Settings, origins, warn_of_unknown_variables
from etagere.core.clients import Access
from etagere.core.representation import Kind, Outcome
from etagere.doctor import Level, Remark, examine
from etagere.errors import EtagereError, ImportFailed, InvalidParameters, StartError
from etagere.factory import SystemClock
from etagere.factory import examine as examine_shared
from etagere.loader import load
from etagere.logs import say
from etagere.model import Model
from etagere.parameters import Bound
from etagere.source import Sources
from etagere.supervisor import program
from etagere.supervisor.attempt import Crashed, Order
from etagere.supervisor.supervisor import Supervisor

_NAMED = 10

log = logs.get_logger("etagere")


async def serve(target: str, overrides: dict[str, Any], config: Path | None, public: bool) -> int:
    """Serve until stopped; 0."""
    logs.to_stderr()
    try:
        application = load(target)
        settings = Settings.layered(application.defaults, overrides, config)
        logs.to_stderr(machine=settings.log_json)
        warn_of_unknown_variables()
        checks = front.identity(settings, SystemClock(), application.identify).checks
        listener = server.bind(settings.host, settings.port, public=public or checks)
        if checks and server.is_public(listener):
            _warn_of_open(application, settings)
        port = str(listener.getsockname()[1])
        changed = partial(_change, _watched(application, target)) if settings.dev else None
        reload = await server.serve(application, settings, listener, partial(_announce, application), changed)
    except ImportFailed as error:
        if not overrides.get("dev"):
            raise
        say(f"{error.traceback}etagere: {error}\netagere: waiting for a change\n")
        await _change(_watched_folder(target))
        return _restart()
    return _restart("--port", port) if reload else 0


def _warn_of_open(application: Etagere, settings: Settings) -> None:
    """Of models that whoever reaches the service may ask for, though others need a key or could."""
    models = application.models.values()
    names = sorted({model.name for model in models if (model.options.access or settings.access) == Access.open})
    if names:
        more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
        named = ", ".join([*names[:_NAMED], *more])
        log.warning("some models are open to everybody, with or without a key", host=settings.host, models=named)


def _restart(*more: str) -> NoReturn:
    """Become the same command again, with the sources as they are now."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "etagere", *sys.argv[1:], *more])  # noqa: S606


async def run(target: str, name: str, pairs: Sequence[str]) -> int:
    """One run, in the same environment as under the server; 0 where it succeeded, else 1."""
    logs.to_stderr()
    application = load(target)
    model, bound = _bind(application, name, pairs)
    settings = Settings.layered(application.defaults, {})
    with tempfile.TemporaryDirectory(prefix="etagere-") as folder:
        supervisor = Supervisor(
            program.describe(application),
            Path(folder),
            max_result=settings.max_result,
            max_run_dir=settings.max_run_dir,
            max_processes=settings.max_processes,
            clock=SystemClock(),
            echo=_echo,
        )
        await supervisor.start()
        try:
            async with supervisor.run(Order.of(model, bound, attempt=1), _bar) as outcome:
                pass
        except Crashed as crash:
            raise EtagereError(f"the run crashed: {crash.detail}") from crash
        finally:
            await supervisor.close()
        return _show(outcome)


async def check(target: str, names: Sequence[str]) -> int:
    """Run the examples of models twice and look for what would go wrong later; 0 where nothing failed, else 1."""
    # What the supervisor warns of is told in the findings.
    logs.to_stderr(logging.ERROR)
    application = load(target)
    models = [application.find(name)[0] for name in names] or list(application.models.values())
    failed: list[Finding] = []

    def tell(finding: Finding) -> None:
        _clear()
        sys.stdout.buffer.write(str(finding).encode("utf-8", "backslashreplace"))
        sys.stdout.flush()
        if finding.verdict is Verdict.failed:
            failed.append(finding)

    with tempfile.TemporaryDirectory(prefix="etagere-") as folder:
        settings = Settings.layered(application.defaults, {})
        checker = Checker(application, Path(folder), settings, SystemClock(), tell=tell, report=_bar)
        await checker.check(models)
    return 1 if failed else 0


async def identify(target: str, name: str, pairs: Sequence[str], tenant: str) -> int:
    """Print the canonical URI and the id, those of a `tenant` if there is one; 0."""
    model, bound = _bind(load(target), name, pairs)
    resource = model.resource(bound, tenant)
    sys.stdout.write(f"{resource.uri}\n{resource.id}\n")
    return 0


async def doctor(target: str | None, overrides: dict[str, Any], config: Path | None) -> int:
    """Print what is found, a line each; 0, or 1 where there is a problem."""
    problems = 0
    async for remark in _remarks(target, overrides, config):
        problems += remark.level is Level.problem
        sys.stdout.write(f"{remark}\n")
        sys.stdout.flush()
    return 1 if problems else 0


async def _remarks(target: str | None, overrides: dict[str, Any], config: Path | None) -> AsyncIterator[Remark]:
    defaults: dict[str, Any] = {}
    if target is not None:
        try:
            application = load(target)
        except StartError as error:
            yield Remark(Level.problem, "models", str(error))
        else:
            defaults = application.defaults
            yield Remark(Level.ok, "models", ", ".join(application.models) or "there are none")
    try:
        settings = Settings.layered(defaults, overrides, config)
    except StartError as error:
        yield Remark(Level.problem, "settings", str(error))
        return
    for remark in examine(settings, origins(defaults, overrides, config)):
        yield remark
    async for remark in examine_shared(settings):
        yield remark


def _announce(application: Etagere, url: str) -> None:
    names = list(dict.fromkeys(model.name for model in application.models.values()))
    served = ", ".join(f"{url}/{name}" for name in names) or "no models"
    # What a browser is to open: most models need parameters.
    page = f"{url}/-/models/{names[0]}" if len(names) == 1 else f"{url}/"
    sys.stdout.write(f"Serving {served} (in a browser: {page})\n")
    sys.stdout.flush()


def _watched(application: Etagere, target: str) -> list[Path]:
    sources = Sources()
    files = {path.parent for model in application.models.values() for path in sources.files(model)}
    return sorted(files | set(_watched_folder(target)))


def _watched_folder(target: str) -> list[Path]:
    place = Path(target.partition(":")[0])
    return [place.resolve().parent] if place.suffix == ".py" else [Path.cwd()]


async def _change(folders: Sequence[Path]) -> None:
    """Return when a Python file in one of the folders has changed."""
    async for _ in awatch(*folders, watch_filter=PythonFilter()):
        return


def _bind(application: Etagere, name: str, pairs: Sequence[str]) -> tuple[Model, Bound]:
    split = [pair.partition("=") for pair in pairs]
    if broken := [pair for pair, (_, equals, _) in zip(pairs, split, strict=True) if not equals]:
        raise EtagereError(f"a parameter is written NAME=VALUE, not {', '.join(broken)}")
    model, _, _ = application.find(name)
    try:
        return model, model.parameters.parse_pairs([(key, value) for key, _, value in split])
    except InvalidParameters as invalid:
        faults = "".join(f"\n  {error.parameter}: {error.reason}" for error in invalid.errors)
        count = len(invalid.errors)
        raise EtagereError(f"{count} fault{'s' if count > 1 else ''} in the parameters:{faults}") from invalid


def _echo(printed: bytes) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.buffer.write(printed)
        sys.stderr.buffer.flush()


def _bar(fraction: float, message: str) -> bool:
    if sys.stderr.isatty():
        say(f"\r{fraction:4.0%} {'#' * round(fraction * 40):40} {message}\x1b[K")
    return True


def _clear() -> None:
    if sys.stderr.isatty():
        say("\r\x1b[K")


def _show(outcome: Outcome) -> int:
    _clear()
    if outcome.kind is Kind.succeeded and outcome.path is not None:
        with outcome.path.open("rb") as result:
            shutil.copyfileobj(result, sys.stdout.buffer)
        return 0
    say(outcome.traceback or f"etagere: {outcome.kind}: {outcome.detail}\n")
    return 1
