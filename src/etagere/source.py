"""The hash of a model's source: for a warning when it changed and the version did not, and for `--dev`."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType

from etagere.model import Model

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
