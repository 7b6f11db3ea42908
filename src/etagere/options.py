"""The options of a model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from etagere.core.clients import Access
from etagere.core.media import is_media_type
from etagere.errors import DeclarationError

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Options:
    """What a model's owner decides of its runs and results.

    `time_limit`, `max_age` and `failure_ttl` are seconds, `memory_limit` is bytes; `concurrency`
    is how many runs of the model may run at once. `threads` are for BLAS and OpenMP; it implies
    `fresh`, which asks for a new interpreter for each run. `examples` are parameters by name. `abandon`
    is what becomes of a run under way that nobody asks for any more: it is finished, or killed. `access` is who
    may ask: everybody, whoever has a key, or each for results of its own; None leaves that to the settings.

    Raises:
        DeclarationError: names every option that is not valid.
    """

    time_limit: float = 3600.0
    memory_limit: int | None = None
    concurrency: int | None = None
    queue: str = "default"
    max_age: int = 3600
    failure_ttl: float = 60.0
    media_type: str | None = None
    examples: tuple[Mapping[str, Any], ...] = ()
    nan: Literal["refuse", "null"] = "refuse"
    fresh: bool = False
    threads: int | None = None
    abandon: Literal["finish", "kill"] = "finish"
    access: Literal["open", "keyed", "private"] | None = None

    def __post_init__(self) -> None:
        bad = [f"{name} {wanted}, not {getattr(self, name)!r}" for name, wanted in self._faults().items()]
        if bad:
            raise DeclarationError("; ".join(bad))
        if self.threads is not None:
            object.__setattr__(self, "fresh", True)

    def _faults(self) -> dict[str, str]:
        faults = {
            "time_limit": "" if _is_seconds(self.time_limit) and self.time_limit > 0 else "is seconds above 0",
            "failure_ttl": "" if _is_seconds(self.failure_ttl) else "is seconds from 0",
            "max_age": "" if _is_count(self.max_age, 0) else "is whole seconds from 0",
            "queue": "" if _matches(self.queue) else "is made of letters, digits, '.', '_' and '-'",
            "nan": "" if _is_one_of(self.nan, "refuse", "null") else "is 'refuse' or 'null'",
            "abandon": "" if _is_one_of(self.abandon, "finish", "kill") else "is 'finish' or 'kill'",
            "access": "" if _is_one_of(self.access, None, *Access) else "is 'open', 'keyed', 'private', or None",
            "fresh": "" if _is_one_of(self.fresh, True, False) else "is True or False",
            "examples": "" if _are_examples(self.examples) else "is a tuple of mappings from names to values",
        }
        for name in ("memory_limit", "concurrency", "threads"):
            value = getattr(self, name)
            faults[name] = "" if value is None or _is_count(value, 1) else "is a whole number from 1, or None"
        if self.media_type is not None and not is_media_type(str(self.media_type)):
            faults["media_type"] = "is a media type such as text/csv"
        return {name: fault for name, fault in faults.items() if fault}


def _is_one_of(value: object, *choices: object) -> bool:
    return any(value is choice or (isinstance(value, str) and value == choice) for choice in choices)


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _matches(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _are_examples(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(example, Mapping) for example in value)
