"""The hash of a model's source: for a warning when it changed and the version did not, and for `--dev`."""

from __future__ import annotations

import ast
import hashlib
import json
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


def source_hash(model: Model) -> str:
    """8 hexadecimal digits over the code of the model's module and of the modules beside it that it uses.

    Comments and layout don't count. An executable's hash is that of its command line and its schema.
    """
    if model.function is None:
        told = json.dumps([model.argv, model.parameters.json_schema()], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:LENGTH]
    digest = hashlib.sha256()
    for path in source_files(model):
        digest.update(_meaning(path))
    return digest.hexdigest()[:LENGTH]


async def versions(registry: Registry, database: Database, settings: Settings) -> tuple[Registry, Mapping[str, Access]]:
    """The registry under the versions to serve; and the keys of versions that were served once, and their access."""
    if settings.dev:
        return registry.with_versions(lambda model: f"{model.version}.{source_hash(model)}"), {}
    rows = database.rows("SELECT model, hash, access FROM source")
    known: dict[str, str] = {key: hash for key, hash, _ in rows}
    # The hash of a source depends on the Python that read it, so one of another cannot be compared.
    python = f"{sys.version_info.major}.{sys.version_info.minor}:"
    hashes = {key: python + source_hash(model) for key, model in registry.models.items()}
    first = {key: old if (old := known.get(key, "")).startswith(python) else found for key, found in hashes.items()}
    for key, found in hashes.items():
        if first[key] != found:
            log.warning("the model's source changed and its version did not: old results go on being served", model=key)
    access = {key: model.options.access or settings.access for key, model in registry.models.items()}
    keep = "INSERT OR REPLACE INTO source (model, hash, access) VALUES (?, ?, ?)"
    entries = [(key, hash, access[key]) for key, hash in first.items()]
    await database.write(lambda connection: connection.executemany(keep, entries))
    return registry, {key: Access(access) for key, _, access in rows if key not in hashes}


def source_files(model: Model) -> list[Path]:
    """The files of a function's module and of the loaded modules in the same folder, in order."""
    if model.function is None:
        return []
    home = _file(sys.modules.get(model.function.__module__))
    if home is None:
        return []
    near = {path for module in list(sys.modules.values()) if (path := _file(module)) and _is_near(path, home.parent)}
    return sorted(near | {home})


def _is_near(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder) and "site-packages" not in path.parts and not path.is_relative_to(_OURS)


def _file(module: ModuleType | None) -> Path | None:
    name = getattr(module, "__file__", None)
    return Path(name).resolve() if isinstance(name, str) and name.endswith(".py") else None


def _meaning(path: Path) -> bytes:
    # The dump of a syntax tree leaves out comments and layout. Its form depends on Python's version.
    return ast.dump(ast.parse(path.read_bytes())).encode()
