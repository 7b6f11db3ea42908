"""The hash of a model's source: for a warning when it changed and the version did not, and for `--dev`."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType

from etagere.model import Model

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
