"""The types made of others: arrays, tuples, sets, objects and dictionaries."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from etagere.core.canonical import MAX_FIELDS
from etagere.core.grammar import parse_str, plus_hint
from etagere.core.json_text import Json, Members, load, write_array, write_object
from etagere.core.types import Fault, InvalidError, Type, show

MAX_ITEMS = 100_000
"""How many items an array may have."""

MAX_FAULTS = 100
"""How many faults are reported of the inside of one array or object."""

S = TypeVar("S")
Read = Callable[[Type, S], Any]


def gather(parts: Iterable[tuple[str, Type, S]], read: Read[S]) -> tuple[dict[str, Any], list[Fault]]:
    """Read every part; the values of the good ones by name, and the faults of the others."""
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, type_, source in parts:
        try:
            values[name] = read(type_, source)
        except InvalidError as error:
            faults += [fault.under(name) for fault in error.faults]
    return values, faults


def _read_text(type_: Type, text: str) -> Any:
    return type_.read_text(text)


def _read_json(type_: Type, node: Json) -> Any:
    return type_.read_json(node)


def repeated(members: Members) -> list[Fault]:
    """A fault for each name that an object has more than once."""
    if len(members) == len(dict(members)):
        return []
    counts = Counter(name for name, _ in members)
    return [Fault(f"given {count} times", None, (name,)) for name, count in counts.items() if count > 1]


class Compound(Type):
    """A type whose text is JSON."""

    def read_text(self, text: str) -> Any:
        """Read the text as JSON."""
        try:
            node = load(text)
        except ValueError as error:
            raise InvalidError(Fault(f"expected {self.expected}; {error}{plus_hint(text)}", text)) from None
        return self.read_json(node)

    def write_text(self, value: Any) -> str:
        """The canonical JSON."""
        return self.write_json(value)

    def write(self, value: Any) -> tuple[str, str]:
        """The canonical JSON, for both."""
        text = self.write_json(value)
        return text, text


class Array(Compound):
    """What is sent as a JSON array, or as a name repeated."""

    expected = "a JSON array, or the name repeated for each item"

    def read_texts(self, texts: Sequence[str]) -> Any:
        """One text that starts with `[` is a JSON array; else each text is an item."""
        if len(texts) == 1 and texts[0].startswith("["):
            return self.read_text(texts[0])
        return self._read(texts, _read_text)

    def read_json(self, node: Json) -> Any:
        """The items of a JSON array."""
        if not isinstance(node, list):
            raise InvalidError(Fault("expected a JSON array", show(node)))
        return self._read(node, _read_json)

    @abstractmethod
    def _items(self, count: int) -> Iterable[Type]:
        """The types of so many items."""

    def _build(self, values: Iterable[Any]) -> Any:
        return list(values)

    def _read(self, sources: Sequence[S], read: Read[S]) -> Any:
        if len(sources) > MAX_ITEMS:
            raise InvalidError(Fault(f"has {len(sources)} items; the most are {MAX_ITEMS}"))
        parts = zip(map(str, range(len(sources))), self._items(len(sources)), sources, strict=True)
        values, faults = gather(parts, read)
        if faults:
            raise InvalidError(*faults[:MAX_FAULTS])
        return self._build(values.values())


@dataclass(frozen=True)
class Several(Array):
    """Any number of items of one type, in the container that `build` makes."""

    item: Type
    build: Callable[[Iterable[Any]], Any] = list

    def write_json(self, value: Any) -> str:
        """A JSON array in order."""
        return write_array(map(self.item.write_json, value))

    def _items(self, count: int) -> Iterable[Type]:
        return [self.item] * count

    def _build(self, values: Iterable[Any]) -> Any:
        return self.build(values)


@dataclass(frozen=True)
class Unordered(Several):
    """A set: its canonical form has no repetitions and is sorted by the items' canonical text."""

    def write_json(self, value: Any) -> str:
        """A JSON array, sorted."""
        items = {self.item.write_text(item): self.item.write_json(item) for item in value}
        return write_array(items[text] for text in sorted(items))


@dataclass(frozen=True)
class Places(Array):
    """A tuple with a type for each place."""

    items: tuple[Type, ...]

    def write_json(self, value: Any) -> str:
        """A JSON array with as many items as there are places."""
        return write_array(item.write_json(part) for item, part in zip(self.items, value, strict=True))

    def _items(self, count: int) -> Iterable[Type]:
        if count != len(self.items):
            raise InvalidError(Fault(f"has {count} items; expected {len(self.items)}"))
        return self.items

    def _build(self, values: Iterable[Any]) -> Any:
        return tuple(values)


@dataclass(frozen=True)
class Member:
    """A member of an object. Left out, it has its default, or stays out where it `may_lack`, or is a fault."""

    type: Type
    required: bool = True
    default: Any = None
    may_lack: bool = False


@dataclass(frozen=True)
class Object(Compound):
    """A pydantic model or dataclass, whose values have attributes, or a TypedDict."""

    members: Mapping[str, Member]
    expected: str = "a JSON object"

    def read_json(self, node: Json) -> Any:
        """The members of a JSON object; unknown, missing and repeated ones are faults."""
        if not isinstance(node, Members):
            raise InvalidError(Fault(f"expected {self.expected}", show(node)))
        values, faults = self.read(dict(node), _read_json)
        faults += repeated(node)
        if faults:
            raise InvalidError(*faults[:MAX_FAULTS])
        return values

    def read(self, sources: Mapping[str, S], read: Read[S]) -> tuple[dict[str, Any], list[Fault]]:
        """The values of those members that can be read, defaults filled in, and the faults of the rest."""
        known = ((name, member.type, sources[name]) for name, member in self.members.items() if name in sources)
        values, faults = gather(known, read)
        for name, member in self.members.items():
            if name in sources or member.may_lack:
                continue
            if member.required:
                faults.append(Fault(f"is required: expected {member.type.expected}", None, (name,)))
            else:
                values[name] = member.default
        faults += [Fault(self._unknown(), None, (name,)) for name in sources if name not in self.members]
        return values, faults

    def write_json(self, value: Any) -> str:
        """A JSON object of every member, null and defaults included."""
        parts = value if isinstance(value, Mapping) else {name: getattr(value, name) for name in self.members}
        return write_object({name: self.members[name].type.write_json(part) for name, part in parts.items()})

    def _unknown(self) -> str:
        names = ", ".join(self.members) if 0 < len(self.members) <= 12 else ""
        return "there is no such name here" + (f"; there is: {names}" if names else "")


@dataclass(frozen=True)
class Dictionary(Compound):
    """`dict[str, T]`."""

    item: Type
    expected: str = "a JSON object"

    def read_json(self, node: Json) -> Any:
        """The members of a JSON object; repeated ones are faults."""
        if not isinstance(node, Members):
            raise InvalidError(Fault(f"expected {self.expected}", show(node)))
        if len(node) > MAX_FIELDS:
            raise InvalidError(Fault(f"has {len(node)} members; the most are {MAX_FIELDS}"))
        values, faults = gather(((name, self.item, part) for name, part in node), _read_json)
        faults += [*_unspeakable(values), *repeated(node)]
        if faults:
            raise InvalidError(*faults[:MAX_FAULTS])
        return values

    def write_json(self, value: Any) -> str:
        """A JSON object, its names sorted."""
        return write_object({parse_str(name): self.item.write_json(part) for name, part in value.items()})


def _unspeakable(names: Iterable[str]) -> list[Fault]:
    faults: list[Fault] = []
    for name in names:
        try:
            parse_str(name)
        except ValueError as error:
            faults.append(Fault(str(error), None, (name,)))
    return faults
