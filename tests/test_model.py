"""Declaring models, and finding them by their paths."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from etagere.core.canonical import resource_id
from etagere.core.representation import Resource
from etagere.errors import (
    DeclarationError,
    InvalidParameters,
    MalformedRequest,
    NotFound,
    UnknownFormat,
    UnknownModel,
    UnknownVersion,
)
from etagere.model import Model, Options, Registry


def heat(alpha: float, steps: int = 1000) -> dict[str, float]:
    """Temperature along a rod.

    More of it.
    """
    return {"alpha": alpha, "steps": steps}


def table(rows: int = 1) -> bytes:
    return b"\n" * rows


def load_data() -> None: ...


class Circuit(BaseModel):
    """A circuit."""

    resistance: float
    name: str = "r1"


class Methods:
    def method(self, x: int) -> None: ...


async def slow(x: int) -> None:
    await asyncio.sleep(x)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.model(version="1")(heat)
    registry.model(version="1.2", name="heat", queue="long")(heat)
    registry.model(version="1", media_type="text/csv; charset=utf-8")(table)
    registry.command("spice", ["ngspice", "-r={resistance}", "{print $1}"], version="44", parameters=Circuit)
    return registry


def test_a_model_is_what_the_function_says(registry: Registry) -> None:
    model = registry.models["heat@1"]
    assert (model.name, model.version, model.key) == ("heat", "1", "heat@1")
    assert model.doc == "Temperature along a rod.\n\nMore of it."
    assert model.function is heat
    assert model.argv is None
    assert (model.media_type, model.format) == ("application/json", "json")
    assert model.parameters.names == ("alpha", "steps")
    assert list(registry.models) == ["heat@1", "heat@1.2", "table@1", "spice@44"]


def test_the_decorator_returns_the_function_itself() -> None:
    assert Registry().model(version="1")(heat) is heat
    assert Registry().setup(load_data) is load_data


def test_a_command_is_what_its_pydantic_model_says(registry: Registry) -> None:
    model = registry.models["spice@44"]
    assert model.doc == "A circuit."
    assert model.argv == ("ngspice", "-r={resistance}", "{print $1}")
    assert (model.media_type, model.format) == ("application/octet-stream", "bin")
    assert model.bind(b"resistance=1e3")[0].uri == "/spice@44?name=r1&resistance=1000"


def test_a_command_may_take_nothing() -> None:
    registry = Registry()
    registry.command("date", ["date"], version="1", media_type="text/plain")
    model = registry.models["date@1"]
    assert model.bind(b"")[0].uri == "/date@1"
    assert (model.doc, model.format) == ("", "txt")


def test_binding_names_the_resource(registry: Registry) -> None:
    resource, bound = registry.models["heat@1.2"].bind(b"steps=01&alpha=.5")
    uri = "/heat@1.2?alpha=0.5&steps=1"
    assert resource == Resource(resource_id(uri), uri, "heat@1.2", "long")
    assert bound.values == {"alpha": 0.5, "steps": 1}
    with pytest.raises(InvalidParameters):
        registry.models["heat@1"].bind(b"")


FOUND = {
    "heat": ("heat@1.2", False, None),
    "heat@1": ("heat@1", True, None),
    "heat@1.2": ("heat@1.2", True, None),
    "heat@1.2.json": ("heat@1.2", True, "json"),
    "heat.json": ("heat@1.2", False, "json"),
    "table.csv": ("table@1", False, "csv"),
    "table@1.csv": ("table@1", True, "csv"),
    "he%61t%401": ("heat@1", True, None),
    "spice.bin": ("spice@44", False, "bin"),
}


@pytest.mark.parametrize(("path", "expected"), FOUND.items())
def test_paths(registry: Registry, path: str, expected: tuple[str, bool, str | None]) -> None:
    model, pinned, format = registry.find(path)
    assert (model.key, pinned, format) == expected


NOT_FOUND: list[tuple[str, type[NotFound], dict[str, list[str]]]] = [
    ("", NotFound, {}),
    ("heat/", NotFound, {}),
    ("heat@", NotFound, {}),
    ("heat@1@2", NotFound, {}),
    ("heat%2Fx", NotFound, {}),
    ("1heat", NotFound, {}),
    ("heat.a.b", NotFound, {}),
    ("r", UnknownModel, {"models": ["heat", "table", "spice"]}),
    ("Heat@1.csv", UnknownModel, {"models": ["heat", "table", "spice"]}),
    ("heat@3", UnknownVersion, {"versions": ["1", "1.2"]}),
    ("heat@1.foo", UnknownVersion, {"versions": ["1", "1.2"]}),
    ("heat@.json", UnknownVersion, {"versions": ["1", "1.2"]}),
    ("heat@3.json", UnknownVersion, {"versions": ["1", "1.2"]}),
    ("heat.csv", UnknownFormat, {"formats": ["json"]}),
    ("heat.foo", UnknownFormat, {"formats": ["json"]}),
    ("heat@1.png", UnknownFormat, {"formats": ["json"]}),
]


@pytest.mark.parametrize(("path", "error", "extensions"), NOT_FOUND)
def test_paths_of_nothing(
    registry: Registry, path: str, error: type[NotFound], extensions: dict[str, list[str]]
) -> None:
    with pytest.raises(error) as caught:
        registry.find(path)
    assert type(caught.value) is error
    assert caught.value.extensions == extensions


def test_paths_that_cannot_be_read(registry: Registry) -> None:
    for path in ("heat%", "%ff", "\udcff"):
        with pytest.raises(MalformedRequest):
            registry.find(path)


def test_the_newest_version_is_the_last_or_the_one_marked() -> None:
    registry = Registry()
    registry.model(version="3")(heat)
    registry.model(version="2", latest=True)(heat)
    registry.model(version="4")(heat)
    assert registry.find("heat")[0].version == "2"
    with pytest.raises(DeclarationError, match="marked as the latest"):
        registry.model(version="5", latest=True)(heat)


def test_the_same_models_under_other_versions(registry: Registry) -> None:
    registry.model(version="2", name="marked", latest=True)(heat)
    registry.model(version="3", name="marked")(heat)
    registry.setup(load_data)
    renamed = registry.with_versions(lambda model: f"{model.version}.0a1b2c3d")
    assert list(renamed.models) == [f"{key}.0a1b2c3d" for key in registry.models]
    assert renamed.setups == (load_data,)
    for path in ("heat", "heat@1", "heat@1.2", "marked", "marked@3", "spice@44.bin"):
        before, pinned, format = registry.find(path)
        assert renamed.find(path) == (renamed.models[f"{before.key}.0a1b2c3d"], pinned, format)
    assert renamed.find("heat@1.0a1b2c3d")[0].options is registry.models["heat@1"].options
    assert "heat@1" in registry.models


def test_versions_and_formats_are_told_apart(registry: Registry) -> None:
    with pytest.raises(DeclarationError, match="cannot end like a format"):
        registry.model(version="2.csv")(heat)
    registry = Registry()
    registry.model(version="1.beta")(heat)
    with pytest.raises(DeclarationError, match=r"heat@1\.beta"):
        registry.model(version="1", media_type="application/x-beta")(table)


def test_a_refused_declaration_leaves_nothing_behind(registry: Registry) -> None:
    with pytest.raises(DeclarationError):
        registry.model(version="2.csv", name="fresh")(heat)
    assert "fresh@2.csv" not in registry.models
    with pytest.raises(UnknownModel):
        registry.find("fresh")


@pytest.mark.parametrize(
    ("name", "version"), [("r", "1"), ("1a", "1"), ("a.b", "1"), ("a", ""), ("a", "1/2"), ("a", "ä")]
)
def test_names_and_versions(registry: Registry, name: str, version: str) -> None:
    with pytest.raises(DeclarationError, match="cannot be"):
        registry.model(version=version, name=name)(heat)


def test_a_model_is_declared_once(registry: Registry) -> None:
    with pytest.raises(DeclarationError, match="heat@1 is declared twice"):
        registry.model(version="1")(heat)


def test_functions_of_one_name_hide_each_other(registry: Registry) -> None:
    def changed(alpha: float) -> None: ...

    changed.__qualname__, changed.__name__ = "heat", "heat"
    with pytest.raises(DeclarationError, match='both functions called heat; call it otherwise and say name="heat"'):
        registry.model(version="9")(changed)


def test_a_bare_decorator_is_told_what_is_missing() -> None:
    registry: Any = Registry()
    for declare in (lambda: registry.model(heat), lambda: registry.model(), lambda: registry.model(name="x")):
        with pytest.raises(DeclarationError, match=r'@app\.model\(version="1"\)'):
            declare()


def nested() -> Callable[[int], None]:
    def inner(x: int) -> None: ...

    return inner


def from_a_prompt(**globals: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {"__name__": "__main__", **globals}
    exec("def typed(x: int) -> None: ...", namespace)
    function: Callable[..., Any] = namespace["typed"]
    return function


UNFIT: list[tuple[Any, str]] = [
    (lambda x: x, "lambda"),
    (nested(), "not at the level of its module"),
    (Methods.method, "not at the level of its module"),
    (slow, "asynchronous"),
    (Methods, "not a plain function"),
    (functools.partial(heat, 1.0), "not a plain function"),
    (math.sin, "not a plain function"),
    (from_a_prompt(), "not in a file"),
    (from_a_prompt(__file__="x.py"), "not in a file"),
]


@pytest.mark.parametrize(("function", "reason"), UNFIT)
def test_functions_that_a_run_could_not_find(function: Any, reason: str) -> None:
    for declare in (Registry().model(version="1"), Registry().setup):
        with pytest.raises(DeclarationError, match=reason):
            declare(function)


def test_a_setup_takes_nothing() -> None:
    with pytest.raises(DeclarationError, match="no parameters"):
        Registry().setup(heat)  # type: ignore[type-var]


@pytest.mark.parametrize(
    "argv", [[], "ngspice -b", [""], ["{resistance}"], ["a", 1], ["a", "{unknown}"], ["a", "{name}{x}"]]
)
def test_command_lines_that_cannot_work(argv: Any) -> None:
    registry = Registry()
    with pytest.raises(DeclarationError, match=r"^spice: (argv|the executable)"):
        registry.command("spice", argv, version="1", parameters=Circuit)


def test_options_are_checked_all_at_once() -> None:
    bad: dict[str, Any] = {
        "time_limit": 0,
        "memory_limit": 0,
        "concurrency": True,
        "queue": "a b",
        "max_age": 1.5,
        "failure_ttl": math.inf,
        "media_type": "csv",
        "examples": [1],
        "nan": "maybe",
        "fresh": 1,
        "threads": "2",
        "abandon": "stop",
    }
    with pytest.raises(DeclarationError) as caught:
        Registry().model(version="1", **bad)
    assert [name for name in bad if f"{name} is " not in str(caught.value)] == []


def test_threads_ask_for_a_new_interpreter() -> None:
    assert Options(threads=2).fresh
    assert not Options().fresh


def test_examples_are_parameters_that_work() -> None:
    registry = Registry()
    registry.model(version="1", examples=[{"alpha": 0.4}, {"alpha": 1, "steps": 2}])(heat)
    assert len(registry.models["heat@1"].options.examples) == 2
    with pytest.raises(DeclarationError, match=r"heat@2: the example .*alpha: is required.*beta"):
        registry.model(version="2", examples=[{"beta": 0.4}])(heat)


def test_a_model_is_a_value() -> None:
    registry = Registry()
    registry.model(version="1")(heat)
    with pytest.raises(AttributeError):
        registry.models["heat@1"].name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        registry.models["x"] = registry.models["heat@1"]  # type: ignore[index]
    assert isinstance(registry.models["heat@1"], Model)


def test_the_types_are_as_published() -> None:
    root = Path(__file__).parents[1]
    options = ["--follow-imports=silent", "--cache-dir=.mypy_cache/api"]
    command = [sys.executable, "-m", "mypy", *options, "tests/typing/api.py"]
    checked = subprocess.run(command, cwd=root, env={**os.environ, "MYPYPATH": "src"}, capture_output=True, text=True)
    assert checked.stdout.startswith("Success"), checked.stdout + checked.stderr
