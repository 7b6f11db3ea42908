"""Publish a slow, deterministic model as an ordinary REST resource."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etagere.application import Etagere
    from etagere.config import Settings
    from etagere.core.clients import Client
    from etagere.errors import DeclarationError, EtagereError, Refused, StartError
    from etagere.tracking import progress, track

__all__ = [
    "Client",
    "DeclarationError",
    "Etagere",
    "EtagereError",
    "Refused",
    "Settings",
    "StartError",
    "progress",
    "track",
]

# Resolved on first use (PEP 562), so that `import etagere` stays light.
_HOMES = {
    "Etagere": "etagere.application",
    "Settings": "etagere.config",
    "Client": "etagere.core.clients",
    "DeclarationError": "etagere.errors",
    "EtagereError": "etagere.errors",
    "Refused": "etagere.errors",
    "StartError": "etagere.errors",
    "progress": "etagere.tracking",
    "track": "etagere.tracking",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("etagere")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
