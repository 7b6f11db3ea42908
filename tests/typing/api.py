"""What a type checker makes of declarations: run through mypy, never executed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

from pydantic import BaseModel

from etagere.core.representation import Resource
from etagere.model import Model, Registry
from etagere.parameters import Bound, Parameters

registry = Registry()


@registry.model(version="1", time_limit=60, media_type="text/csv", examples=[{"alpha": 0.4}], nan="null")
def heat(alpha: float, steps: int = 1000) -> dict[str, float]:
    """Temperature along a rod."""
    return {"alpha": alpha * steps}


@registry.setup
def load() -> list[int]:
    """Load shared data."""
    return [1]


class Circuit(BaseModel):
    """A circuit."""

    resistance: float


assert_type(heat(0.1), dict[str, float])
assert_type(heat(alpha=0.1, steps=2), dict[str, float])
assert_type(load(), list[int])
assert_type(registry.command("spice", ["spice", "{resistance}"], version="1", parameters=Circuit), None)
assert_type(registry.find("heat"), tuple[Model, bool, str | None])
assert_type(registry.models["heat@1"].bind(b""), tuple[Resource, Bound])
assert_type(registry.with_versions(lambda model: model.version + ".1"), Registry)
assert_type(Parameters.from_signature(heat).parse_query(b""), Bound)
assert_type(registry.models["heat@1"].function, Callable[..., Any] | None)

heat("0.1")  # type: ignore[arg-type]
heat()  # type: ignore[call-arg]
registry.model(heat)  # type: ignore[call-arg, arg-type]
registry.model(name="x")  # type: ignore[call-arg]
registry.model(version="1", nan="maybe")  # type: ignore[arg-type]
registry.model(version="1", abandon="stop")  # type: ignore[arg-type]
registry.model(version="1", colour="red")  # type: ignore[call-arg]
