"""Annotations → types: what the declaration of a parameter says it takes."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from enum import Enum, Flag
from typing import Annotated, Any, Literal, NewType, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt
from pydantic import AwareDatetime, BaseModel, PydanticUserError, RootModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError
from typing_extensions import TypeAliasType, is_typeddict

from etagere.core.compounds import Compound, Dictionary, Member, Object, Places, Several, Unordered
from etagere.core.grammar import INT64
from etagere.core.json_text import load
from etagere.core.types import SCALARS, TEXT, Choice, Nullable, Scalar, Type, integer
from etagere.errors import DeclarationError

UNWRITABLE = (TypeError, ValueError, AttributeError, KeyError, OverflowError)
"""What a type raises for a value that has no canonical text."""

UNDECLARABLE = (NameError, TypeError, ValueError, PydanticUserError, SchemaError)
"""What Python and pydantic raise for annotations that cannot be resolved or validated."""

SUPPORTED = (
    "bool, int, float, str, date, datetime, timedelta, Enum, Literal, Optional, list, tuple, set, "
    "dict[str, …], TypedDict, dataclasses and pydantic models"
)

_BUILDERS: Mapping[Any, Callable[[Iterable[Any]], Any]] = {list: list, tuple: tuple, set: set, frozenset: frozenset}
_SCALARS: Mapping[Any, Scalar] = {**SCALARS, AwareDatetime: SCALARS[datetime]}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where in a declaration an annotation stands: its name, and the types that surround it."""

    name: str
    around: tuple[Any, ...] = ()

    def inside(self, kind: Any) -> Place:
        """The same place, within a type that may contain others.

        Raises:
            DeclarationError: the type contains itself.
        """
        if kind in self.around:
            raise self.refuse(f"{kind.__name__} contains itself; parameters cannot be recursive")
        return Place(self.name, (*self.around, kind))

    def member(self, name: str) -> Place:
        """The place of a member."""
        return Place(f"{self.name}.{name}", self.around)

    def refuse(self, reason: str) -> DeclarationError:
        """The fault of a declaration."""
        return DeclarationError(f"{self.name}: {reason}")


def type_of(annotation: Any, place: Place, metadata: tuple[Any, ...] = ()) -> Type:
    """The type of an annotation; `metadata` is what `Annotated` says of it.

    Raises:
        DeclarationError: there is no grammar for it.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(arguments[0], place, (*metadata, *_metadata(arguments[1:], place)))
    if isinstance(annotation, NewType):
        return type_of(annotation.__supertype__, place, metadata)
    if isinstance(annotation, TypeAliasType):
        return type_of(annotation.__value__, place.inside(annotation), metadata)
    if origin in (Union, types.UnionType):
        return _optional(arguments, place, metadata)
    if origin is Literal:
        return _choice(arguments, place)
    return _plain(annotation, place, metadata) if origin is None else _generic(origin, arguments, place)


def member_of(info: FieldInfo, place: Place, name: str) -> Member:
    """One member of an object, its default checked by its grammar.

    Raises:
        DeclarationError: it cannot be declared so.
    """
    _refuse_extras(info, place, name)
    type_ = type_of(info.annotation, place, tuple(info.metadata))
    if info.is_required():
        return Member(type_, required=not isinstance(type_, Nullable))
    try:
        default = type_.read_json(load(type_.write_json(info.default)))
    except UNWRITABLE as error:
        raise place.refuse(f"the default {info.default!r} is not valid: {error}") from error
    if default is not None and isinstance(type_, Nullable) and not type_.empty_is_null:
        raise place.refuse("an optional text with a default cannot be sent as null; make the default None or drop None")
    return Member(type_, required=False, default=default)


def check_defaults(validate: Callable[[Any], Any], members: Mapping[str, Member], place: Place) -> None:
    """Let pydantic validate the defaults; that other members are missing does not matter.

    Raises:
        DeclarationError: a default is refused, or a validator fails.
    """
    defaults = {name: member.default for name, member in members.items() if not (member.required or member.may_lack)}
    try:
        validate(defaults)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            if fault["loc"] and fault["loc"][0] in defaults:
                inner = place.member(".".join(map(str, fault["loc"])))
                raise inner.refuse(f"the default is not valid: {fault['msg']}") from None
    except Exception as error:
        raise place.refuse(f"a validator raised {error!r}; it must raise ValueError for what it refuses") from error


def _refuse_extras(info: FieldInfo, place: Place, name: str | None) -> None:
    if info.default_factory is not None:
        raise place.refuse("default_factory is not possible: the default is part of the URI, so write it out")
    if {info.alias, info.validation_alias, info.serialization_alias} - {None, name}:
        raise place.refuse("aliases are not possible; give the parameter the name that it shall have")


def _metadata(arguments: Iterable[Any], place: Place) -> Iterator[Any]:
    for argument in arguments:
        if isinstance(argument, FieldInfo):
            _refuse_extras(argument, place, None)
            yield from argument.metadata
        else:
            yield argument


def _optional(arguments: tuple[Any, ...], place: Place, metadata: tuple[Any, ...]) -> Type:
    others = [argument for argument in arguments if argument is not type(None)]
    if len(others) != 1 or len(others) == len(arguments):
        raise place.refuse("a union is ambiguous in a URI; only Optional is possible")
    inner = type_of(others[0], place, metadata)
    if isinstance(inner, Choice) and "" in inner.choices:
        raise place.refuse("an empty text among optional choices cannot be told from null")
    return inner if isinstance(inner, Nullable) else Nullable(inner)


def _choice(values: Iterable[Any], place: Place) -> Type:
    try:
        return Choice.of(values)
    except ValueError as error:
        raise place.refuse(f"choices are text or whole numbers, each spelt differently: {error}") from error


def _generic(origin: Any, arguments: tuple[Any, ...], place: Place) -> Type:
    if origin is dict:
        if type_of(arguments[0], place) != TEXT:
            raise place.refuse("the keys of a dict must be str")
        return Dictionary(type_of(arguments[1], place))
    if origin not in _BUILDERS:
        raise place.refuse(f"there is no grammar for {origin!r}; possible are {SUPPORTED}")
    if origin is tuple and arguments[-1:] != (...,):
        return Places(tuple(type_of(argument, place) for argument in arguments))
    item = type_of(arguments[0], place)
    if origin in (list, tuple):
        return Several(item, _BUILDERS[origin])
    if isinstance(item, Compound | Nullable):
        raise place.refuse("a set can only hold simple values; use a list")
    return Unordered(item, _BUILDERS[origin])


def _plain(annotation: Any, place: Place, metadata: tuple[Any, ...]) -> Type:
    if not isinstance(annotation, type):
        raise place.refuse(f"there is no grammar for {annotation!r}; possible are {SUPPORTED}")
    if annotation is int:
        return integer(*_range(metadata))
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if annotation in _BUILDERS or annotation is dict:
        raise place.refuse(f"say what it holds, such as {'dict[str, float]' if annotation is dict else 'list[float]'}")
    if issubclass(annotation, Enum) and not issubclass(annotation, Flag):
        return _choice(annotation, place)
    if is_typeddict(annotation) or dataclasses.is_dataclass(annotation) or issubclass(annotation, BaseModel):
        return _object(annotation, place.inside(annotation))
    raise place.refuse(f"there is no grammar for {annotation.__name__}; possible are {SUPPORTED}")


def _range(metadata: Iterable[Any]) -> tuple[Any, Any, tuple[Any, Any]]:
    """The widest range that the grammar has to read, and the one that the declaration lets through."""
    parts = [part for bound in metadata for part in (bound if isinstance(bound, Interval) else (bound,))]
    above: list[Any] = [part.gt for part in parts if isinstance(part, Gt)]
    below: list[Any] = [part.lt for part in parts if isinstance(part, Lt)]
    lowest: list[Any] = [part.ge for part in parts if isinstance(part, Ge)] + [limit + 1 for limit in above]
    highest: list[Any] = [part.le for part in parts if isinstance(part, Le)] + [limit - 1 for limit in below]
    told = max(lowest, default=INT64[0]), min(highest, default=INT64[1])
    return min([INT64[0], *lowest]), max([INT64[1], *highest]), told


def _object(kind: type[Any], place: Place) -> Type:
    try:
        fields = _fields(kind, place)
        adapter = TypeAdapter[Any](kind)
    except UNDECLARABLE as error:
        raise place.refuse(f"pydantic cannot validate {kind.__name__}: {error}") from error
    members = {name: member_of(info, place.member(name), name) for name, info in fields.items()}
    for name in _optional_keys(kind):
        members[name] = dataclasses.replace(members[name], may_lack=True)
    check_defaults(adapter.validate_python, members, place)
    return Object(members)


def _fields(kind: type[Any], place: Place) -> Mapping[str, FieldInfo]:
    if issubclass(kind, RootModel):
        raise place.refuse("a RootModel is not possible; use the type that it holds")
    if issubclass(kind, BaseModel):
        return kind.model_fields
    hints = get_type_hints(kind, include_extras=True)
    if is_typeddict(kind):
        return {name: FieldInfo.from_annotation(hint) for name, hint in hints.items()}
    if any(isinstance(hint, dataclasses.InitVar) for hint in hints.values()):
        raise place.refuse("InitVar is not possible; make it a field")
    own: Mapping[str, FieldInfo] = getattr(kind, "__pydantic_fields__", {})
    return {field.name: own.get(field.name) or _field(field, hints, place) for field in dataclasses.fields(kind)}


def _field(field: dataclasses.Field[Any], hints: Mapping[str, Any], place: Place) -> FieldInfo:
    if not field.init:
        raise place.refuse(f"{field.name} has init=False; compute it in a property")
    if field.default_factory is not dataclasses.MISSING:
        return FieldInfo(annotation=hints[field.name], default_factory=field.default_factory)
    if field.default is dataclasses.MISSING:
        return FieldInfo.from_annotation(hints[field.name])
    return FieldInfo.from_annotated_attribute(hints[field.name], field.default)


def _optional_keys(kind: type[Any]) -> Iterator[str]:
    """The keys that a TypedDict may lack, also where its annotations are strings."""
    if is_typeddict(kind):
        for name, hint in get_type_hints(kind, include_extras=True).items():
            qualifier = get_origin(get_args(hint)[0] if get_origin(hint) is Annotated else hint)
            if qualifier is NotRequired or (qualifier is not Required and name in kind.__optional_keys__):
                yield name
