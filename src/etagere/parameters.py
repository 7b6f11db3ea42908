"""The parameters of a model: query string, JSON or command line → typed values and their canonical form.

The grammar of the core reads plain values, pydantic validates them, the canonical form is made of
what it returns, and the model receives what that canonical form reads back as.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, create_model

from etagere.annotations import UNDECLARABLE, UNWRITABLE, Place, check_defaults, member_of, type_of
from etagere.core.canonical import MAX_FIELDS, decode, query_string, split
from etagere.core.compounds import Object, repeated
from etagere.core.json_text import Members, load, write_object
from etagere.core.types import SCALARS, Fault, InvalidError, Type
from etagere.errors import InternalError, InvalidParameters, MalformedRequest, ParameterError

SHOWN = 100
"""How many characters of a bad value are shown."""

WHOLE = "*"
"""What a fault is named that is of no single parameter but of their combination."""

T = TypeVar("T")

_SIMPLE: Mapping[Any, Callable[[Any], str]] = {int: str, **{kind: scalar.format for kind, scalar in SCALARS.items()}}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Bound:
    """Parameters that are valid.

    `values` are the keyword arguments of the model; `query` is the canonical query string, without
    `?`, and `json` the same as a canonical JSON object.
    """

    values: dict[str, Any]
    query: str
    json: bytes


class Parameters:
    """What a model takes; each name of `fields` is a parameter, and stands for that field of the pydantic model."""

    def __init__(self, model: type[BaseModel], fields: Mapping[str, str], place: Place) -> None:
        self._model = model
        self._fields = fields
        infos = model.model_fields
        self._object = Object(
            {name: member_of(infos[field], place.member(name), name) for name, field in fields.items()}
        )
        try:
            model.model_rebuild()
        except UNDECLARABLE as error:
            raise place.refuse(f"pydantic cannot validate these parameters: {error}") from error
        check_defaults(model.model_validate, self._object.members, place)

    @classmethod
    def from_signature(cls, function: Callable[..., Any]) -> Parameters:
        """The parameters of a function, by its annotations and defaults.

        Raises:
            DeclarationError: a parameter has no annotation, or one that has no grammar, or a bad default.
        """
        place = Place(function.__name__)
        try:
            hints = get_type_hints(_without_return(function), include_extras=True)
        except UNDECLARABLE as error:
            raise place.refuse(f"an annotation cannot be resolved: {error}") from error
        definitions: dict[str, Any] = {}
        fields: dict[str, str] = {}
        for index, parameter in enumerate(inspect.signature(function).parameters.values()):
            # pydantic has rules of its own for the names of fields; aliases are free of them.
            fields[parameter.name] = f"p{index}"
            definitions[f"p{index}"] = _definition(parameter, hints, place.member(parameter.name))
        model = create_model(function.__name__, __config__=ConfigDict(defer_build=True), **definitions)
        return cls(model, fields, place)

    @classmethod
    def from_model(cls, model: type[BaseModel]) -> Parameters:
        """The parameters that the fields of a pydantic model are; `Bound.values` has the fields.

        Raises:
            DeclarationError: a field has an annotation without a grammar, or a bad default.
        """
        place = Place(model.__name__).inside(model)
        if issubclass(model, RootModel):
            raise place.refuse("a RootModel has no named parameters")
        return cls(model, {name: name for name in model.model_fields}, place)

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the order of their declaration."""
        return tuple(self._fields)

    def parse_query(self, raw: bytes) -> Bound:
        """Read a query string, or a form.

        Raises:
            InvalidParameters: with every fault there is.
            MalformedRequest: there are too many fields.
            InternalError: a validator changes what it has validated already.
        """
        return self._verified(*self._read_query(raw))

    def parse_pairs(self, pairs: Iterable[tuple[str, str]]) -> Bound:
        """Read names and values that are not encoded; raises what `parse_query` does."""
        return self._verified(*self._read_texts(pairs))

    def parse_json(self, raw: bytes) -> Bound:
        """Read a JSON object; raises what `parse_query` does.

        Raises:
            MalformedRequest: it is not a JSON object.
        """
        try:
            node = load(raw.decode())
        except UnicodeDecodeError as error:
            raise MalformedRequest(f"The content is not valid UTF-8, at byte {error.start + 1}.") from None
        except ValueError as error:
            raise MalformedRequest(f"The content cannot be read: {error}.") from None
        if not isinstance(node, Members) or len(node) > MAX_FIELDS:
            raise MalformedRequest(f"The content must be one JSON object of at most {MAX_FIELDS} members.")
        values, faults = self._object.read(dict(node), lambda type_, part: type_.read_json(part))
        return self._verified(values, [*faults, *repeated(node)])

    def parse_values(self, values: Mapping[str, Any]) -> Bound:
        """Take Python's own values; raises what `parse_query` does."""
        return self._verified(*self._object.read(values, _read_value))

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the parameters as one object, self-contained, as OpenAPI 3.1 takes it."""
        schema = self._model.model_json_schema(by_alias=True)
        definitions = schema.pop("$defs", {})
        schema = {"properties": {}, **_inline(schema, definitions)}
        for name, member in self._object.members.items():
            if not member.required:
                schema["properties"][name]["default"] = json.loads(member.type.write_json(member.default))
        required = [name for name, member in self._object.members.items() if member.required]
        return {**schema, "required": required, "additionalProperties": False}

    def _read_query(self, raw: bytes) -> tuple[dict[str, Any], list[Fault]]:
        pairs: list[tuple[str, str]] = []
        faults: list[Fault] = []
        for fields in split(raw):
            try:
                pairs.append((decode(fields[0]), decode(fields[1])))
            except ValueError as error:
                name, value = (part.decode("utf-8", "backslashreplace") for part in fields)
                faults.append(Fault(str(error), value, (name,)))
        values, others = self._read_texts(pairs)
        broken = {fault.path for fault in faults}
        return values, [*faults, *(fault for fault in others if fault.path not in broken)]

    def _read_texts(self, pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, Any], list[Fault]]:
        texts: dict[str, list[str]] = {}
        for name, text in pairs:
            texts.setdefault(name, []).append(text)
        return self._object.read(texts, lambda type_, given: type_.read_texts(given))

    def _verified(self, plain: dict[str, Any], faults: list[Fault]) -> Bound:
        query = query_string(self._written(self._validated(plain, faults), _write_text))
        try:
            values = self._validated(*self._read_query(query.encode()))
        except InvalidParameters as error:
            reasons = "; ".join(f"{fault.parameter} {fault.reason}" for fault in error.errors)
            raise InternalError(f"A validator makes what it refuses itself: {reasons}.") from error
        written = self._written(values, _write)
        again = query_string({name: text for name, (text, _) in written.items()})
        if again != query:
            changed = {field.partition("=")[0] for field in {*query.split("&")} ^ {*again.split("&")}}
            raise InternalError(f"A validator changes what it has validated already: {', '.join(sorted(changed))}.")
        return Bound(values, query, write_object({name: part for name, (_, part) in written.items()}).encode())

    def _validated(self, plain: dict[str, Any], faults: list[Fault]) -> dict[str, Any]:
        if not faults:
            values, faults = self._validate(plain)
        else:
            values = {}
            told = {fault.path[:1] for fault in faults}
            # The good ones are validated too, so that every fault is told at once; their validators
            # may stumble over the missing ones.
            with contextlib.suppress(InternalError):
                others = self._validate(plain)[1]
                faults = [*faults, *(fault for fault in others if fault.path[:1] not in told)]
        if faults:
            raise InvalidParameters([_error(fault) for fault in faults])
        return values

    def _validate(self, plain: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
        try:
            valid = self._model.model_validate(plain)
        except ValidationError as error:
            return {}, [_fault(details) for details in error.errors(include_url=False)]
        except Exception as error:
            raise InternalError(f"A validator raised {type(error).__name__}.") from error
        return {name: getattr(valid, field) for name, field in self._fields.items()}, []

    def _written(self, values: dict[str, Any], write: Callable[[Type, Any], T]) -> dict[str, T]:
        written: dict[str, T] = {}
        for name, member in self._object.members.items():
            value = values[name]
            if value is None and member.default is None:
                continue
            try:
                written[name] = write(member.type, value)
            except UNWRITABLE as error:
                raise InternalError(f"A validator of {name} made something else of it: {error}.") from error
        return written


def _without_return(function: Callable[..., Any]) -> Any:
    """What has the annotations of a function's parameters; that of its result may name what is not imported."""
    annotations = {name: kind for name, kind in inspect.get_annotations(function).items() if name != "return"}
    return types.SimpleNamespace(__annotations__=annotations, __globals__=inspect.unwrap(function).__globals__)


def _definition(parameter: inspect.Parameter, hints: Mapping[str, Any], place: Place) -> Any:
    if parameter.kind not in _NAMED:
        raise place.refuse("is sent by its name, so it can be neither positional-only nor *args or **kwargs")
    if parameter.name not in hints:
        raise place.refuse("needs an annotation, such as float")
    hint = hints[parameter.name]
    type_of(hint, place)
    aliased = Annotated[hint, Field(alias=parameter.name)]  # type: ignore[valid-type]
    return aliased if parameter.default is parameter.empty else (aliased, parameter.default)


def _write_text(type_: Type, value: Any) -> str:
    return type_.write_text(value)


def _write(type_: Type, value: Any) -> tuple[str, str]:
    return type_.write(value)


def _read_value(type_: Type, value: Any) -> Any:
    try:
        text = type_.write_json(value)
    except UNWRITABLE as error:
        raise InvalidError(Fault(str(error))) from error
    return type_.read_json(load(text))


def _fault(details: Mapping[str, Any]) -> Fault:
    """A fault that pydantic found."""
    given = details["input"]
    value = given if isinstance(given, str) else _SIMPLE[type(given)](given) if type(given) in _SIMPLE else None
    reason = details["msg"]
    if details["type"] in ("value_error", "assertion_error"):
        reason = str(details["ctx"]["error"])
    return Fault(reason, value, tuple(map(str, details["loc"])))


def _error(fault: Fault) -> ParameterError:
    value = None if fault.value is None else _shown(fault.value)
    return ParameterError(_shown(".".join(fault.path)) or WHOLE, _speakable(fault.reason), value)


def _speakable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _shown(text: str) -> str:
    text = _speakable(text[: SHOWN + 1])
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _inline(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with its references replaced; there is no recursion in declared types."""
    if isinstance(schema, list):
        return [_inline(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        siblings = {name: part for name, part in schema.items() if name != "$ref"}
        return _inline({**definitions[reference.rpartition("/")[2]], **siblings}, definitions)
    return {name: _inline(part, definitions) for name, part in schema.items()}
