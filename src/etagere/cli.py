"""The command `etagere`."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from etagere import commands, hosting, keeping, operating
from etagere.errors import EtagereError, ImportFailed
from etagere.logs import say
from etagere.operating import Asked

RUNNING = "Commands for a running service"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Target = Annotated[str, typer.Argument(help="A file, file.py:attribute or module:attribute.", show_default=False)]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, or name@version.", show_default=False)]
Parameters = Annotated[
    list[str], typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A parameter; repeat for more.")
]
Data = Annotated[
    Path | None, typer.Option(help="The data directory of the service; .etagere if nothing says otherwise.")
]
Config = Annotated[Path | None, typer.Option(help="The file of settings; etagere.toml if there is one.")]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON document, for programs.")]
Url = Annotated[
    str | None, typer.Option(metavar="URL", help="Ask the service there, with the operator's key in ETAGERE_KEY.")
]
Store = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Valkey or Redis that many machines share.", show_default="the setting"),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The id of a resource: in its tags, URIs and log lines.")]


class Which(StrEnum):
    """The states of pending runs."""

    queued = "queued"
    running = "running"


class Part(StrEnum):
    """What a key is good for."""

    client = "client"
    operator = "operator"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"etagere {version('etagere')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Publish a slow, deterministic model as an ordinary REST resource."""


@app.command()
def serve(
    target: Target,
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 chooses a free one.", show_default="8000")] = None,
    config: Annotated[Path | None, typer.Option(help="The file of settings.", show_default="etagere.toml")] = None,
    data: Annotated[Path | None, typer.Option(help="The data directory.", show_default=".etagere")] = None,
    runs: Annotated[
        int | None,
        typer.Option(
            help="Runs at once; without a meaning where there is a store.", show_default="the number of cores"
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Valkey or Redis that many machines share; this process then runs nothing itself, see etagere worker.",
        ),
    ] = None,
    dev: Annotated[bool, typer.Option("--dev", help="Reload on change; versions follow the source.")] = False,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log each request.")] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON, an object a line.")] = False,
    insecure_public: Annotated[
        bool, typer.Option("--insecure-public", help="Listen on other addresses than loopback.")
    ] = False,
) -> None:
    """Serve the models of TARGET over HTTP.

    Example: etagere serve model.py --port 8000, then curl -i 'http://127.0.0.1:8000/heat?alpha=0.1'
    """
    given = {
        "host": host,
        "port": port,
        "data": data,
        "runs": runs,
        "store": store,
        "dev": dev or None,
        "access_log": access_log or None,
        "log_json": log_json or None,
    }
    overrides = {name: value for name, value in given.items() if value is not None}
    _run(commands.serve, target, overrides, config, insecure_public)


@app.command()
def worker(
    target: Target,
    store: Store = None,
    runs: Annotated[int | None, typer.Option(help="Runs at once.", show_default="the number of cores")] = None,
    queue: Annotated[
        list[str] | None, typer.Option(help="A queue to work off; repeat for more.", show_default="those of the models")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="URL", help="celery+<broker URL>: be a Celery worker of that broker, too.")
    ] = None,
    config: Config = None,
    data: Annotated[
        Path | None, typer.Option(help="Where runs have their directories.", show_default="a new one")
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON, an object a line.")] = False,
) -> None:
    """Run the models of TARGET for the nodes that share a store; start as many as there is work for.

    Example: etagere worker model.py --store redis://store.example:6379 --runs 8
    """
    given: dict[str, Any] = {"store": store, "runs": runs, "engine": engine, "data": data, "log_json": log_json or None}
    given["queues"] = tuple(queue) if queue else None
    _run(hosting.work, target, {name: value for name, value in given.items() if value is not None}, config)


@app.command()
def collect(
    target: Target,
    store: Store = None,
    config: Config = None,
    data: Annotated[Path | None, typer.Option(help="Where results arrive.", show_default="a new directory")] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON, an object a line.")] = False,
) -> None:
    """Put what workers have finished into the cache that all nodes share. One is enough; a second takes over.

    Example: etagere collect model.py --store redis://store.example:6379
    """
    given = {"store": store, "data": data, "log_json": log_json or None}
    _run(hosting.collect, target, {name: value for name, value in given.items() if value is not None}, config)


@app.command()
def run(target: Target, model: ModelName, parameter: Parameters = []) -> None:  # noqa: B006
    """Run MODEL once, without a server; the result goes to standard output.

    Example: etagere run model.py heat -p alpha=0.1 > result.json
    """
    _run(commands.run, target, model, parameter)


@app.command()
def check(
    target: Target,
    model: Annotated[
        list[str] | None, typer.Argument(help="Models' names, or name@version.", show_default="all")
    ] = None,
) -> None:
    """Run the examples of each MODEL twice, and compare the bytes; also tell what its declaration lacks.

    The second run has another hash seed, number of threads, directory and time. The exit status is 1 where one failed.

    Example: etagere check model.py
    """
    _run(commands.check, target, model or ())


@app.command(name="id")
def identify(
    target: Target,
    model: ModelName,
    parameter: Parameters = [],  # noqa: B006
    tenant: Annotated[str, typer.Option(help="To whom it belongs, if the model is private.")] = "",
) -> None:
    """Print the canonical URI and the id of a request.

    Example: etagere id model.py heat -p alpha=0.10
    """
    _run(commands.identify, target, model, parameter, tenant)


@app.command()
def doctor(
    target: Annotated[
        str | None,
        typer.Argument(help="A file, file.py:attribute or module:attribute, whose settings count.", show_default=False),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The file of settings.", show_default="etagere.toml")] = None,
    data: Annotated[Path | None, typer.Option(help="The data directory.", show_default=".etagere")] = None,
) -> None:
    """Look whether a service is well here: versions, data directory, space, limits, clock, what is stored, and a store.

    A line each, beginning with ok, warning or problem, and saying what to do. Nothing is changed, but that a small
    object is written and removed where large results are shared. The exit status is 1 where there is a problem. All
    stored results are read, which takes a while.

    Example: etagere doctor model.py --data /srv/models
    """
    _run(commands.doctor, target, {} if data is None else {"data": data}, config)


@app.command(rich_help_panel=RUNNING)
def status(data: Data = None, config: Config = None, url: Url = None, json: Json = False) -> None:
    """Tell how the running service is: models, runs, the age of the oldest, the cache.

    The exit status is 2 where no service runs on the data directory; so it is for all commands of this kind.

    Example: etagere status --data /srv/models
    """
    _run(operating.status, Asked(data, config, json, url))


@app.command(rich_help_panel=RUNNING)
def runs(
    state: Annotated[Which | None, typer.Option(help="Only those in this state.")] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List the pending runs of the running service, the newest last.

    Example: etagere runs --state running
    """
    _run(operating.runs, Asked(data, config, json, url), state)


@app.command(rich_help_panel=RUNNING)
def logs(id: Id, data: Data = None, config: Config = None, url: Url = None, json: Json = False) -> None:
    """Show what the last run of a resource that printed anything has printed, and its traceback.

    The exit status is 1 where nothing is kept.

    Example: etagere logs tau4q6twjnc52habywt4lupvrl4nw4nz
    """
    _run(operating.logs, Asked(data, config, json, url), id)


@app.command(rich_help_panel=RUNNING)
def cancel(id: Id, data: Data = None, config: Config = None, url: Url = None, json: Json = False) -> None:
    """Take a run out of the queue, or stop it if it is running; its place is free then.

    A client that still asks for it starts it anew. The exit status is 1 where no such run is pending.

    Example: etagere cancel tau4q6twjnc52habywt4lupvrl4nw4nz
    """
    _run(operating.cancel, Asked(data, config, json, url), id)


@app.command(rich_help_panel=RUNNING)
def purge(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A model's name, or name@version; else all models.", show_default=False),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only what was computed longer ago: 90s, 30m, 12h, 7d or 4w.")
    ] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Forget finished results, and remembered failures, so that they are computed again when somebody asks.

    What is being sent is sent to its end. Clients that have a result already go on using it: it takes a new version of
    the model to change that. The exit status is 1 where there is no such model.

    Example: etagere purge heat@1 --older-than 7d
    """
    _run(operating.purge, Asked(data, config, json, url), model, older_than)


@app.command(rich_help_panel=RUNNING)
def drain(
    off: Annotated[bool, typer.Option("--off", help="Start runs again.")] = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Start no new runs, and let those under way come to their end, before the service is stopped.

    Results are served all the same. Requests that need a new run get 503, /-/health/ready is false, and queued runs
    are kept. The next start ends it, and so does --off; with a store, it is all nodes and workers that drain, and --off
    alone ends it.

    Example: etagere drain, then etagere status until none is running
    """
    _run(operating.drain, Asked(data, config, json, url), off)


keys = typer.Typer(
    no_args_is_help=True, help="Make, list and remove API keys; a running service takes notice by itself."
)
app.add_typer(keys, name="keys", rich_help_panel=RUNNING)


@keys.command(name="add")
def add_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; one name may have several keys.")],
    role: Annotated[
        Part, typer.Option(help="Operators may do what the commands for a running service do.")
    ] = Part.client,
    models: Annotated[
        str | None, typer.Option(metavar="NAMES", help="The models that it is for, by commas; else all.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="A date, or a time from now such as 12h or 90d.")
    ] = None,
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Make a key and print it, once; only its hash is kept. Clients send it as Authorization: Bearer KEY.

    To replace a key, add another of the same name, hand it out, and remove the old one by its id.

    Example: etagere keys add laboratory --models heat,rod --expires 90d
    """
    named = None if models is None else [model.strip() for model in models.split(",")]
    _run(keeping.add, Asked(data, config, json), name, str(role), named, expires)


@keys.command(name="list")
def list_keys(data: Data = None, config: Config = None, json: Json = False) -> None:
    """List the keys; the keys themselves are nowhere.

    Example: etagere keys list
    """
    _run(keeping.listed, Asked(data, config, json))


@keys.command(name="remove")
def remove_key(
    which: Annotated[str, typer.Argument(metavar="WHICH", help="A name, whose keys all go, or the id of one.")],
    data: Data = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Remove keys. A running service refuses them within a second. The exit status is 1 where there is no such key.

    Example: etagere keys remove laboratory
    """
    _run(keeping.remove, Asked(data, config, json), which)


def main() -> None:
    """The entry point."""
    app()


def _run(command: Any, *arguments: Any) -> NoReturn:
    try:
        status = asyncio.run(command(*arguments))
    except ImportFailed as error:
        say(error.traceback)
        status = _complain(error)
    except EtagereError as error:
        status = _complain(error)
    with suppress(OSError):
        sys.stdout.flush()
    # The embedded server's threads may outlive the interpreter's end, and abort the process then.
    os._exit(status)


def _complain(error: EtagereError) -> int:
    say(f"etagere: {error}\n")
    return error.exit_status
