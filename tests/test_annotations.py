"""Declarations that cannot work are refused with the parameter's name and what to do."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from datetime import datetime
from enum import Enum, Flag
from typing import Annotated, Any, Generic, Literal, TypeVar, Union

import pytest
from pydantic import AfterValidator, BaseModel, Field, RootModel
from typing_extensions import TypeAliasType, TypedDict

from etagere.errors import DeclarationError
from etagere.parameters import Parameters


class Recursive(BaseModel):
    children: list[Recursive] = []


class Aliased(BaseModel):
    x: int = Field(alias="y")


class Made(BaseModel):
    x: list[int] = Field(default_factory=list)


class BadDefault(BaseModel):
    x: int = Field(0, ge=1)


class Wrapped(RootModel[int]): ...


class Permissions(Flag):
    read = 1


class Floats(Enum):
    half = 0.5


class Same(Enum):
    one = 1
    text = "1"


class Empty(Enum):
    nothing = ""


class Color(Enum):
    red = "red"
    two = 2


class Wall(TypedDict):
    width: float


class Unresolved(TypedDict):
    width: Missing  # type: ignore[name-defined]  # noqa: F821


T = TypeVar("T")


@dataclasses.dataclass
class Rod:
    length: float


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


@dataclasses.dataclass
class Computed:
    x: int = dataclasses.field(init=False, default=1)


@dataclasses.dataclass
class WithInit:
    x: dataclasses.InitVar[int]


@dataclasses.dataclass
class MadeField:
    x: list[int] = dataclasses.field(default_factory=list)


class Strange: ...


def explode(value: int) -> int:
    raise KeyError(value)


Endless = TypeAliasType("Endless", "list[Endless]")

UNDECLARABLE: list[tuple[Any, dict[str, Any], str]] = [
    (int | str, {}, "only Optional"),
    (Union[int, str, None], {}, "only Optional"),  # noqa: UP007
    (Any, {}, "no grammar"),
    (object, {}, "no grammar for object"),
    (bytes, {}, "no grammar for bytes"),
    (complex, {}, "possible are bool, int"),
    (Strange, {}, "no grammar for Strange"),
    (T, {}, "no grammar"),
    (None, {}, "no grammar"),
    (Callable[[], int], {}, "no grammar"),
    (typing.Sequence[int], {}, "no grammar"),
    (Box[int], {}, "no grammar"),
    (list, {}, "say what it holds, such as list"),
    (dict, {}, "say what it holds, such as dict"),
    (dict[int, str], {}, "keys"),
    (set[list[int]], {}, "simple values"),
    (set[int | None], {}, "simple values"),
    (Recursive, {}, "children: Recursive contains itself"),
    (Endless, {}, "contains itself|no grammar"),
    (Aliased, {}, r"x\.x: aliases"),
    (Annotated[int, Field(alias="y")], {}, "aliases"),
    (int, {"default": Field(validation_alias="y")}, "aliases"),
    (Made, {}, "default_factory"),
    (MadeField, {}, "default_factory"),
    (Annotated[list[int], Field(default_factory=list)], {}, "default_factory"),
    (list[int], {"default": Field(default_factory=list)}, "default_factory"),
    (BadDefault, {}, r"x\.x: the default is not valid"),
    (Computed, {}, "init=False"),
    (WithInit, {}, "InitVar"),
    (Wrapped, {}, "RootModel"),
    (Permissions, {}, "no grammar"),
    (Floats, {}, "choices"),
    (Same, {}, "spelt the same"),
    (Literal[1, "1"], {}, "spelt the same"),
    (Literal[True], {}, "choices"),
    (Literal["\ud800"], {}, "choices"),
    (Empty | None, {}, "told from null"),
    (Literal["", "a"] | None, {}, "told from null"),
    (str | None, {"default": "a"}, "sent as null"),
    (int, {"default": "a"}, "default 'a' is not valid"),
    (int, {"default": None}, "default None is not valid"),
    (int, {"default": 2**63}, "out of range"),
    (float, {"default": float("nan")}, "not finite"),
    (float, {"default": 10**400}, "not valid"),
    (datetime, {"default": datetime(2020, 1, 1)}, "tzinfo"),
    (Color, {"default": "blue"}, "not valid"),
    (Color, {"default": "2"}, "not valid"),
    (tuple[int, int], {"default": (1,)}, "not valid"),
    (Rod, {"default": 1}, "not valid"),
    (Wall, {"default": {"depth": 1}}, "not valid"),
    (Annotated[int, Field(ge=1)], {"default": 0}, "x: the default is not valid: .*greater"),
    (Annotated[int, AfterValidator(explode)], {"default": 0}, "KeyError.*ValueError"),
    (Annotated[int, Field(pattern="a")], {"default": 1}, "a validator raised"),
    (Annotated[int, Field(lt=float("inf"))], {}, "pydantic cannot validate"),
    (Unresolved, {}, "pydantic"),
    ("Unknown", {}, "cannot be resolved"),
]


@pytest.mark.parametrize(("annotation", "default", "reason"), UNDECLARABLE)
def test_declarations_that_cannot_work(annotation: Any, default: dict[str, Any], reason: str) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": annotation}
    function.__defaults__ = tuple(default.values())
    with pytest.raises(DeclarationError, match=reason) as caught:
        Parameters.from_signature(function)
    assert str(caught.value).startswith("function")


def test_signatures_that_cannot_work() -> None:
    def positional(x: int, /) -> None: ...
    def several(*x: int) -> None: ...
    def named(**x: int) -> None: ...
    def bare(x) -> None: ...  # type: ignore[no-untyped-def]

    for function in (positional, several, named):
        with pytest.raises(DeclarationError, match=f"{function.__name__}.x: is sent by its name"):
            Parameters.from_signature(function)
    with pytest.raises(DeclarationError, match=r"bare\.x: needs an annotation"):
        Parameters.from_signature(bare)


def test_models_that_cannot_work() -> None:
    with pytest.raises(DeclarationError, match="RootModel"):
        Parameters.from_model(Wrapped)
    with pytest.raises(DeclarationError, match="contains itself"):
        Parameters.from_model(Recursive)
