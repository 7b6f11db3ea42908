"""What the warm process must load, as plain JSON: a `Description`.

The service makes it from its registry, the warm process (or a run's new interpreter) loads it.
Functions travel by module and name, never pickled.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from etagere.errors import ImportFailed
from etagere.model import Model, Registry
from etagere.parameters import Parameters
from etagere.results import Returned

Description = dict[str, Any]

MAIN = "__etagere_main__"
_OURS = str(Path(__file__).parent)
_COMMON = ("returned", "media_type", "nan", "fresh", "threads", "concurrency")


@dataclass(frozen=True, slots=True)
class Job:
    """A model as its process needs it: a function with its parameters, or the `argv` of a command.

    `returned` is what the function returns, `media_type` the declared one; `threads` is set where the
    run gets a new interpreter, `concurrency` where only so many may go on at once.
    """

    returned: Returned
    media_type: str | None
    nan: Literal["refuse", "null"]
    fresh: bool
    threads: int | None
    concurrency: int | None
    function: Callable[..., object] | None = None
    parameters: Parameters | None = None
    argv: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def describe(registry: Registry) -> Description:
    """Everything that another process needs in order to run the models of this registry."""
    functions = [model.function for model in registry.models.values() if model.function is not None]
    modules = dict.fromkeys(_home(function) for function in (*functions, *registry.setups))
    return {
        "sys_path": [os.path.abspath(entry) for entry in sys.path],
        "modules": [[name, file] for name, file in modules],
        "setups": [_reference(function) for function in registry.setups],
        "models": {key: _entry(model) for key, model in registry.models.items()},
    }


def load(description: Description) -> Mapping[str, Job]:
    """Import the modules, run the setups and return the jobs by `name@version`.

    Raises:
        ImportFailed: the owner's code raised; carries the traceback.
    """
    sys.path[:] = description["sys_path"]
    # As in the loader: no bytecode of the owner's modules, which might be that of another source.
    sys.dont_write_bytecode = True
    for name, file in description["modules"]:
        _guarded(f"{Path(file).name} does not import", _import, name, file)
    jobs = {key: _guarded(f"{key} cannot be loaded", _job, entry) for key, entry in description["models"].items()}
    for reference in description["setups"]:
        _guarded(f"setup {reference[1]} failed", lambda found=reference: _find(*found)())
    return jobs


def owners_traceback(error: BaseException) -> str:
    """The traceback from the owner's code on, without our frames and the import system's above it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((_OURS, "<frozen importlib")):
            break
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _entry(model: Model) -> dict[str, Any]:
    options = model.options
    entry = {"returned": model.returned, **{name: getattr(options, name) for name in _COMMON[1:]}}
    if model.function is not None:
        return {**entry, "function": _reference(model.function)}
    return {**entry, "argv": _anchored(model.argv or ()), "names": list(model.parameters.names)}


def _anchored(argv: tuple[str, ...]) -> list[str]:
    """The command line with a relative program anchored here, because the run has another directory."""
    program, *rest = argv
    return [os.path.abspath(program) if "/" in program else program, *rest]


def _home(function: Callable[..., object]) -> tuple[str, str]:
    module = sys.modules[function.__module__]
    assert module.__file__ is not None
    return _name(function), os.path.abspath(module.__file__)


def _reference(function: Callable[..., object]) -> list[str]:
    return [_name(function), function.__name__]


def _name(function: Callable[..., object]) -> str:
    if function.__module__ != "__main__":
        return function.__module__
    spec = sys.modules["__main__"].__spec__
    return MAIN if spec is None else spec.name


def _import(name: str, file: str) -> None:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is not None and found.origin is not None and os.path.realpath(found.origin) == os.path.realpath(file):
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _find(module: str, name: str) -> Callable[..., object]:
    function: Callable[..., object] = getattr(sys.modules[module], name)
    return function


def _job(entry: Mapping[str, Any]) -> Job:
    common = {**{name: entry[name] for name in _COMMON}, "returned": Returned(entry["returned"])}
    if "argv" in entry:
        return Job(**common, argv=tuple(entry["argv"]), names=tuple(entry["names"]))
    function = _find(*entry["function"])
    return Job(**common, function=function, parameters=Parameters.from_signature(function))


def _guarded(failure: str, step: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return step(*arguments)
    except BaseException as error:  # a module may well call sys.exit
        raise ImportFailed(f"{failure}: {type(error).__name__}: {error}", owners_traceback(error)) from error
