"""The laws of the canonical form: it reads back as itself, tells values apart, and forgets their spelling."""

from __future__ import annotations

import dataclasses
import json
import random
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any, Literal, NotRequired
from urllib.parse import unquote

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from etagere.core.json_text import Members, Number, load
from etagere.errors import InvalidParameters, MalformedRequest
from etagere.parameters import Bound, Parameters


class Color(Enum):
    red = "red"
    two = 2


class Grid(BaseModel):
    nx: int = Field(10, ge=1)
    ny: int | None
    labels: dict[str, list[float]] = {}


@dataclasses.dataclass
class Rod:
    length: float
    ends: tuple[float, float] = (0, 1)


class Wall(TypedDict):
    width: float
    color: NotRequired[Color]


def everything(
    i: int,
    f: float,
    b: bool,
    s: str,
    d: date,
    dt: datetime,
    td: timedelta,
    color: Color,
    letter: Literal["a", "b", 3],
    floats: list[float],
    pairs: tuple[tuple[int, int], ...],
    tags: set[str],
    frozen: frozenset[int],
    matrix: list[list[int]],
    grid: Grid,
    rod: Rod,
    wall: Wall,
    table: dict[str, int | None],
    oi: int | None = None,
    os: str | None = None,
    oi5: int | None = 5,
    ol: list[str] | None = None,
) -> None: ...


PARAMETERS = Parameters.from_signature(everything)

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
ints = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
labels = st.dictionaries(texts, st.lists(floats, max_size=3), max_size=3)
required = {
    "i": ints,
    "f": floats,
    "b": st.booleans(),
    "s": texts,
    "d": st.dates(),
    "dt": st.datetimes(timezones=st.just(UTC)),
    "td": st.timedeltas(),
    "color": st.sampled_from(Color),
    "letter": st.sampled_from(["a", "b", 3]),
    "floats": st.lists(floats, max_size=5),
    "pairs": st.lists(st.tuples(ints, ints), max_size=3).map(tuple),
    "tags": st.sets(texts, max_size=5),
    "frozen": st.frozensets(ints, max_size=5),
    "matrix": st.lists(st.lists(ints, max_size=3), max_size=3),
    "grid": st.builds(Grid, nx=st.integers(1, 99), ny=st.none() | ints, labels=labels),
    "rod": st.builds(Rod, floats, st.tuples(floats, floats)),
    "wall": st.fixed_dictionaries({"width": floats}, optional={"color": st.sampled_from(Color)}),
    "table": st.dictionaries(texts, st.none() | ints, max_size=3),
}
optional = {
    "oi": st.none() | ints,
    "os": st.none() | texts,
    "oi5": st.none() | ints,
    "ol": st.none() | st.lists(texts, max_size=3),
}
values = st.fixed_dictionaries(required, optional=optional)


@settings(max_examples=100, deadline=None)
@given(values)
def test_the_canonical_form_reads_back_as_itself(given_values: dict[str, Any]) -> None:
    bound = PARAMETERS.parse_values(given_values)
    assert PARAMETERS.parse_query(bound.query.encode()) == bound
    assert PARAMETERS.parse_json(bound.json) == bound
    assert {name: bound.values[name] for name in given_values} == given_values


@settings(max_examples=200, deadline=None)
@given(values, st.data())
def test_different_values_have_different_forms(one: dict[str, Any], data: st.DataObject) -> None:
    strategies = {**required, **optional}
    name = data.draw(st.sampled_from(sorted(strategies)))
    other = {**one, name: data.draw(strategies[name])}
    first, second = PARAMETERS.parse_values(one), PARAMETERS.parse_values(other)
    assert (first.query == second.query) is (first.values == second.values)
    assert (first.json == second.json) is (first.values == second.values)


@settings(max_examples=100, deadline=None)
@given(values, st.integers(0, 2**32))
def test_the_form_does_not_depend_on_the_spelling(given_values: dict[str, Any], seed: int) -> None:
    bound = PARAMETERS.parse_values(given_values)
    assert PARAMETERS.parse_query(respelt(bound, random.Random(seed))) == bound


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | texts.map(str.encode))
def test_whatever_the_bytes_the_answer_can_be_written(raw: bytes) -> None:
    for read in (PARAMETERS.parse_query, PARAMETERS.parse_json):
        try:
            read(raw)
        except (InvalidParameters, MalformedRequest) as error:
            written = json.dumps([error.detail, error.extensions], ensure_ascii=False).encode()
        assert len(written) > 2


def respelt(bound: Bound, chance: random.Random) -> bytes:
    """The same query in another order and encoding, its objects reordered, its arrays as repeated names."""
    groups: list[list[str]] = []
    for field in bound.query.split("&"):
        name, _, encoded = field.partition("=")
        text = unquote(encoded)
        items = [text]
        if name in ("floats", "frozen") and "," in text:
            items = text[1:-1].split(",")
        elif name in ("grid", "rod", "wall", "table"):
            items = [respaced(load(text), chance)]
        groups.append([f"{name}={percent(item, chance)}" for item in items])
    chance.shuffle(groups)
    return "&".join("&".join(group) for group in groups).encode()


def respaced(node: Any, chance: random.Random) -> str:
    """JSON with its members in another order, white space, and more escapes than needed."""
    if isinstance(node, Members):
        parts = [f"{json.dumps(name)} : {respaced(part, chance)}" for name, part in node]
        chance.shuffle(parts)
        return "{ " + " , ".join(parts) + "\n}"
    if isinstance(node, list):
        return "[ " + ", ".join(respaced(part, chance) for part in node) + " ]"
    return str(node) if isinstance(node, Number) else json.dumps(node)


def percent(text: str, chance: random.Random) -> str:
    """Percent-encoding where it is needed, and here and there where it is not."""
    spelt: list[str] = []
    for character in text:
        if character == " " and chance.random() < 0.5:
            spelt.append("+")
        elif character in " %&+=" or chance.random() < 0.2:
            spelt += [f"%{byte:02x}" for byte in character.encode()]
        else:
            spelt.append(character)
    return "".join(spelt)
