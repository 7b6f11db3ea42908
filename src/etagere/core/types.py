"""What a parameter's type is: text or JSON → value → canonical text; and the simple types.

Reading raises `InvalidError` with every fault there is; writing raises TypeError, ValueError,
AttributeError or KeyError for a value that is not of the type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any

from etagere.core import grammar
from etagere.core.json_text import Json, Number, quote


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, what was sent there, and where inside the value."""

    reason: str
    value: str | None = None
    path: tuple[str, ...] = ()

    def under(self, name: str) -> Fault:
        """The same fault, seen from around."""
        return Fault(self.reason, self.value, (name, *self.path))


class InvalidError(ValueError):
    """What was sent is not of the type."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.reason for fault in faults))
        self.faults = faults


def show(node: Json) -> str | None:
    """A simple JSON value as it was sent, for a fault."""
    if node is None:
        return "null"
    if isinstance(node, bool):
        return grammar.format_bool(node)
    return str(node) if isinstance(node, str) else None


class Type(ABC):
    """One type of parameter; `expected` says in a few words what it takes."""

    expected: str

    def read_texts(self, texts: Sequence[str]) -> Any:
        """The value of a parameter from its texts in a query string, of which there is at least one."""
        if len(texts) > 1:
            raise InvalidError(Fault(f"given {len(texts)} times, but takes one value"))
        return self.read_text(texts[0])

    @abstractmethod
    def read_text(self, text: str) -> Any:
        """The value from one text of a query string."""

    @abstractmethod
    def read_json(self, node: Json) -> Any:
        """The value from JSON."""

    @abstractmethod
    def write_text(self, value: Any) -> str:
        """The canonical text in a query string."""

    @abstractmethod
    def write_json(self, value: Any) -> str:
        """The canonical JSON text."""

    def write(self, value: Any) -> tuple[str, str]:
        """Both canonical texts: in a query string, and as JSON."""
        return self.write_text(value), self.write_json(value)


@dataclass(frozen=True)
class Scalar(Type):
    """A simple type: a grammar, and the JSON value that carries its text (`Number`, `str` or `bool`)."""

    expected: str
    parse: Callable[[str], Any]
    format: Callable[[Any], str]
    carrier: type

    def read_text(self, text: str) -> Any:
        """Parse the text."""
        try:
            return self.parse(text)
        except ValueError as error:
            raise InvalidError(Fault(f"{error}{grammar.plus_hint(text)}", text)) from None

    def read_json(self, node: Json) -> Any:
        """Parse the text of the number, string or boolean."""
        if type(node) is not self.carrier:
            raise InvalidError(Fault(f"expected {self.expected}, as a JSON {_JSON_NAMES[self.carrier]}", show(node)))
        return self.read_text(node if isinstance(node, str) else grammar.format_bool(node))

    def write_text(self, value: Any) -> str:
        """Format the value."""
        return self.format(value)

    def write_json(self, value: Any) -> str:
        """Format the value, as a JSON string where that carries it."""
        text = self.format(value)
        return quote(text) if self.carrier is str else text


_JSON_NAMES = {Number: "number", str: "string", bool: "boolean"}

TEXT = Scalar(grammar.EXPECTED[str], grammar.parse_str, grammar.format_str, str)

SCALARS: Mapping[Any, Scalar] = {
    bool: Scalar(grammar.EXPECTED[bool], grammar.parse_bool, grammar.format_bool, bool),
    float: Scalar(grammar.EXPECTED[float], grammar.parse_float, grammar.format_float, Number),
    str: TEXT,
    date: Scalar(grammar.EXPECTED[date], grammar.parse_date, grammar.format_date, str),
    datetime: Scalar(grammar.EXPECTED[datetime], grammar.parse_datetime, grammar.format_datetime, str),
    timedelta: Scalar(grammar.EXPECTED[timedelta], grammar.parse_timedelta, grammar.format_timedelta, str),
}
"""The simple types but `int`, whose range depends on the declaration."""


def integer(low: int, high: int, told: tuple[int, int] | None = None) -> Scalar:
    """The type of whole numbers from `low` to `high`; of one beyond, `told` is said to be expected."""
    parse = partial(grammar.parse_int, low=low, high=high, told=told)
    return Scalar(grammar.EXPECTED[int], parse, grammar.format_int, Number)


def bare(choice: Any) -> Any:
    """The value of an Enum's member; anything else as it is."""
    return choice.value if isinstance(choice, Enum) else choice


@dataclass(frozen=True)
class Choice(Type):
    """An Enum or a Literal of `str` and `int`: canonical text → value."""

    choices: Mapping[str, Any]
    expected: str = field(init=False)

    def __post_init__(self) -> None:
        shown = ", ".join(list(self.choices)[:20]) + (", …" if len(self.choices) > 20 else "")
        object.__setattr__(self, "expected", f"one of: {shown}")

    @classmethod
    def of(cls, values: Iterable[Any]) -> Choice:
        """The choice between these values.

        Raises:
            ValueError: a value is neither `str` nor `int`, or two have the same text.
        """
        choices: dict[str, Any] = {}
        for value in values:
            if type(bare(value)) not in (str, int):
                raise ValueError(f"{value!r} is neither text nor a whole number")
            if choices.setdefault(grammar.parse_str(str(bare(value))), value) is not value:
                raise ValueError(f"{value!r} and {choices[str(bare(value))]!r} are spelt the same")
        return cls(choices)

    def read_text(self, text: str) -> Any:
        """The choice that is spelt exactly so."""
        if text not in self.choices:
            raise InvalidError(Fault(f"expected {self.expected}", text))
        return self.choices[text]

    def read_json(self, node: Json) -> Any:
        """The choice; whole numbers are JSON numbers, text is a JSON string."""
        text = str(node) if isinstance(node, str) else ""
        carried = int if isinstance(node, Number) else str
        if text not in self.choices or not isinstance(node, str) or type(bare(self.choices[text])) is not carried:
            raise InvalidError(Fault(f"expected {self.expected}", show(node)))
        return self.choices[text]

    def write_text(self, value: Any) -> str:
        """The text of the choice; an Enum's bare value is taken as well."""
        text = str(bare(value))
        if text not in self.choices or type(bare(self.choices[text])) is not type(bare(value)):
            raise ValueError(f"{value!r} is not {self.expected}")
        return text

    def write_json(self, value: Any) -> str:
        """The text of the choice, quoted unless it is a number."""
        text = self.write_text(value)
        return text if type(bare(value)) is int else quote(text)


@dataclass(frozen=True)
class Nullable(Type):
    """`Optional[T]`: an empty text is null, unless T is `str`, whose empty text is text."""

    inner: Type
    expected: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", self.inner.expected)

    @property
    def empty_is_null(self) -> bool:
        """Whether an empty text means null."""
        return self.inner != TEXT

    def read_texts(self, texts: Sequence[str]) -> Any:
        """None for one empty text, else what T reads."""
        return None if self.empty_is_null and list(texts) == [""] else self.inner.read_texts(texts)

    def read_text(self, text: str) -> Any:
        """None for an empty text, else what T reads."""
        return None if self.empty_is_null and text == "" else self.inner.read_text(text)

    def read_json(self, node: Json) -> Any:
        """None for null, else what T reads."""
        return None if node is None else self.inner.read_json(node)

    def write_text(self, value: Any) -> str:
        """An empty text for None."""
        return "" if value is None else self.inner.write_text(value)

    def write_json(self, value: Any) -> str:
        """`null` for None."""
        return "null" if value is None else self.inner.write_json(value)

    def write(self, value: Any) -> tuple[str, str]:
        """An empty text and `null` for None."""
        return ("", "null") if value is None else self.inner.write(value)
