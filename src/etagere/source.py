"""The hash of a model's source: for a warning when it changed and the version did not, and for `--dev`."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from etagere.config import Settings
from etagere.core.clients import Access
from etagere.database import Database
from etagere.logs import get_logger
from etagere.model import Model, Registry

log = get_logger("etagere")

LENGTH = 8
_OURS = Path(__file__).resolve().parent
_PYTHONS = str(Path(ast.__file__).parent)


class Sources:
    """The files of the modules that are loaded now, libraries apart; each is read once, however many models it has."""

    def __init__(self) -> None:
        names = map(_file, list(sys.modules.values()))
        # pathlib would take several times as long.
        found = {os.path.realpath(name) for name in names if name}
        self._files = {Path(name) for name in found if not _is_library(name)}
        self._hashes: dict[Path, str] = {}

    def files(self, model: Model) -> list[Path]:
        """The files of a function's module and of the loaded modules in the same folder, in order."""
        home = _home(model)
        if home is None:
            return []
        return sorted({path for path in self._files if path.is_relative_to(home.parent)} | {home})

    def hash(self, model: Model) -> str:
        """8 hexadecimal digits over the code of the model's module and of the modules beside it that it uses.

        Comments and layout don't count. An executable's hash is that of its command line and its schema.
        """
        if model.function is None:
            told = json.dumps([model.argv, model.parameters.json_schema()], sort_keys=True)
            return hashlib.sha256(told.encode()).hexdigest()[:LENGTH]
        home = _home(model) or Path()
        if home not in self._hashes:
            digest = hashlib.sha256()
            for path in self.files(model):
                digest.update(_meaning(path))
            self._hashes[home] = digest.hexdigest()[:LENGTH]
        return self._hashes[home]


async def versions(registry: Registry, database: Database, settings: Settings) -> tuple[Registry, Mapping[str, Access]]:
    """The registry under the versions to serve; and the keys of versions that were served once, and their access."""
    sources = Sources()
    if settings.dev:
        return registry.with_versions(lambda model: f"{model.version}.{sources.hash(model)}"), {}
    rows = database.rows("SELECT model, hash, access FROM source")
    known: dict[str, str] = {key: hash for key, hash, _ in rows}
    # The hash of a source depends on the Python that read it, so one of another cannot be compared.
    python = f"{sys.version_info.major}.{sys.version_info.minor}:"
    hashes = {key: python + sources.hash(model) for key, model in registry.models.items()}
    first = {key: old if (old := known.get(key, "")).startswith(python) else found for key, found in hashes.items()}
    for key, found in hashes.items():
        if first[key] != found:
            log.warning("the model's source changed and its version did not: old results go on being served", model=key)
    access = {key: model.options.access or settings.access for key, model in registry.models.items()}
    keep = "INSERT OR REPLACE INTO source (model, hash, access) VALUES (?, ?, ?)"
    entries = [(key, hash, access[key]) for key, hash in first.items()]
    await database.write(lambda connection: connection.executemany(keep, entries))
    return registry, {key: Access(access) for key, _, access in rows if key not in hashes}


def _is_library(name: str) -> bool:
    return "/site-packages/" in name or name.startswith((f"{_PYTHONS}/", f"{_OURS}/"))


def _home(model: Model) -> Path | None:
    name = None if model.function is None else _file(sys.modules.get(model.function.__module__))
    return Path(name).resolve() if name else None


def _file(module: ModuleType | None) -> str | None:
    name = getattr(module, "__file__", None)
    return name if isinstance(name, str) and name.endswith(".py") else None


def _meaning(path: Path) -> bytes:
    # The dump of a syntax tree leaves out comments and layout. Its form depends on Python's version.
    return ast.dump(ast.parse(path.read_bytes())).encode()
