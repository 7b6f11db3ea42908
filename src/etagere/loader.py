"""From TARGET on the command line to an application."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from etagere.application import Etagere
from etagere.errors import DeclarationError, ImportFailed, StartError


def load(target: str) -> Etagere:
    """The application of a file, `file.py:attribute` or `module:attribute`.

    Raises:
        ImportFailed: the module does not import; carries the traceback.
        StartError: there is no such file or attribute, or no single application in it.
    """
    # Bytecode knows its source by size and second: what is changed within one and is as long would run as it was.
    sys.dont_write_bytecode = True
    place, colon, attribute = target.rpartition(":") if ":" in target else (target, "", "")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    except StartError:
        raise
    except DeclarationError as error:
        raise ImportFailed(f"{place}: {error}", "") from error
    except (Exception, SystemExit) as error:
        where = _where(error, place)
        raise ImportFailed(f"{place} does not import: {type(error).__name__}: {error}{where}", _trace(error)) from error
    return _application(module, place, attribute if colon else None)


def _import_module(name: str) -> ModuleType:
    if "." not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise StartError(f"There is no module {name!r}; for a file, name it with its .py.")
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise StartError(f"There is no file {path}.")
    path = path.resolve()
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    name = path.stem
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or found.origin is None or Path(found.origin).resolve() != path:
        name = f"etagere_target_{name}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _application(module: ModuleType, place: str, attribute: str | None) -> Etagere:
    if attribute is not None:
        found = getattr(module, attribute, None)
        if not isinstance(found, Etagere):
            raise StartError(f"{place} has no application called {attribute!r}.")
        return found
    found_all = {name: value for name, value in vars(module).items() if isinstance(value, Etagere)}
    if len({id(value) for value in found_all.values()}) != 1:
        named = ", ".join(sorted(found_all)) or "none"
        raise StartError(f"{place} must have one etagere.Etagere(), or name it as {place}:attribute; found: {named}.")
    return next(iter(found_all.values()))


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _where(error: BaseException, place: str) -> str:
    if isinstance(error, SyntaxError):
        return f" ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.endswith(Path(place).name)]
    frame = (ours or frames)[-1]
    return f" ({frame.filename}, line {frame.lineno})"
