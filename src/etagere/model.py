"""Models and the registry that publishes them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from types import MappingProxyType
from typing import Any, Literal, ParamSpec, TypeVar

from pydantic import BaseModel

from etagere.core import media
from etagere.core.canonical import decode, resource_id, resource_uri
from etagere.core.representation import Resource
from etagere.declaration import check_command_line, check_function
from etagere.errors import (
    DeclarationError,
    InvalidParameters,
    MalformedRequest,
    NotFound,
    UnknownFormat,
    UnknownModel,
    UnknownVersion,
)
from etagere.options import Options
from etagere.parameters import Bound, Parameters
from etagere.results import Returned, formats, returned

__all__ = ["Model", "Options", "Registry"]

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Callable[[], object])

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_VERSION = re.compile(r"[A-Za-z0-9._-]+")
_PATH = re.compile(rf"(?P<name>{_NAME.pattern})(?:@(?P<version>{_VERSION.pattern})|\.(?P<format>[A-Za-z0-9]+))?")
_RESERVED = frozenset({"r"})


class NoParameters(BaseModel):
    """The parameters of an executable that takes none."""


@dataclass(frozen=True)
class Model:
    """One version of a model: a Python function, or the command line `argv` of an executable."""

    name: str
    version: str
    parameters: Parameters
    options: Options
    doc: str
    function: Callable[..., Any] | None = None
    argv: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @cached_property
    def returned(self) -> Returned:
        """What its function returns; a declared media type speaks for itself."""
        return Returned.value if self.function is None or self.options.media_type else returned(self.function)

    @cached_property
    def formats(self) -> tuple[media.Format, ...]:
        """The formats that its results can be given in, the primary one first."""
        declared = self.options.media_type or (None if self.argv is None else media.BINARY)
        if declared is not None:
            return (media.Format(media.format_name(declared), declared),)
        return formats(self.returned)

    @property
    def media_type(self) -> str:
        """The media type of its primary format."""
        return self.formats[0].media_type

    @property
    def format(self) -> str:
        """The name of its primary format."""
        return self.formats[0].name

    def check_format(self, name: str | None) -> None:
        """Accept the name of a format that its results can be given in, or none.

        Raises:
            UnknownFormat: it is another one.
        """
        if name is not None and name not in (names := [given.name for given in self.formats]):
            raise UnknownFormat(f"{self.key} gives no .{name}.", formats=names)

    def bind(self, query: bytes, tenant: str = "") -> tuple[Resource, Bound]:
        """The resource that a raw query string names, and the parameters that it carries.

        `tenant` is to whom it belongs if the model is private.

        Raises:
            InvalidParameters: with every fault there is.
            MalformedRequest: there are too many fields.
        """
        bound = self.parameters.parse_query(query)
        return self.resource(bound, tenant), bound

    def bind_json(self, content: bytes, tenant: str = "") -> tuple[Resource, Bound]:
        """The same for a JSON object.

        Raises:
            InvalidParameters: with every fault there is.
            MalformedRequest: it is not a JSON object.
        """
        bound = self.parameters.parse_json(content)
        return self.resource(bound, tenant), bound

    def resource(self, bound: Bound, tenant: str = "") -> Resource:
        """The resource of these parameters."""
        uri = resource_uri(self.name, self.version, bound.query, tenant)
        return Resource(resource_id(uri), uri, self.key, self.options.queue)


def _called(method: Callable[P, R]) -> Callable[P, R]:
    """Explain a decorator that stands bare or without a version."""

    @wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if len(args) > 1 or "version" not in kwargs:
            raise DeclarationError(f'the version is missing; write @app.{method.__name__}(version="1")')
        return method(*args, **kwargs)

    return checked


class Registry:
    """The models of one application. The newest version is the last declared, or the one with `latest=True`."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._newest: dict[str, str] = {}
        self._latest: set[str] = set()
        self._aliases: dict[str, str] = {}
        self._setups: list[Callable[[], object]] = []
        self._formats: set[str] = set(media.FORMATS.values())

    @property
    def models(self) -> Mapping[str, Model]:
        """The models by key, in the order of their declaration."""
        return MappingProxyType(self._models)

    @property
    def setups(self) -> tuple[Callable[[], object], ...]:
        """The functions that load shared data, in order."""
        return tuple(self._setups)

    @_called
    def model(
        self,
        *,
        version: str,
        name: str | None = None,
        latest: bool = False,
        time_limit: float = Options.time_limit,
        memory_limit: int | None = Options.memory_limit,
        concurrency: int | None = Options.concurrency,
        queue: str = Options.queue,
        max_age: int = Options.max_age,
        failure_ttl: float = Options.failure_ttl,
        media_type: str | None = Options.media_type,
        examples: Sequence[Mapping[str, Any]] = Options.examples,
        nan: Literal["refuse", "null"] = Options.nan,
        fresh: bool = Options.fresh,
        threads: int | None = Options.threads,
        abandon: Literal["finish", "kill"] = Options.abandon,
        access: Literal["open", "keyed", "private"] | None = Options.access,
    ) -> Callable[[F], F]:
        """Publish a module-level function under its name; `Options` says what the options mean.

        Raises:
            DeclarationError: the function, its parameters or an option cannot work.
        """
        options = Options(
            time_limit, memory_limit, concurrency, queue, max_age, failure_ttl, media_type, tuple(examples),
            nan, fresh, threads, abandon, access,
        )  # fmt: skip

        def declare(function: F) -> F:
            check_function(function)
            parameters = Parameters.from_signature(function)
            doc = inspect.getdoc(function) or ""
            self._add(Model(name or function.__name__, version, parameters, options, doc, function), latest=latest)
            return function

        return declare

    def setup(self, function: S) -> S:
        """Have a module-level function without parameters load shared data, once, before any run.

        Raises:
            DeclarationError: the function cannot be used so.
        """
        check_function(function)
        if inspect.signature(function).parameters:
            raise DeclarationError(f"{function.__name__}: a setup function takes no parameters")
        self._setups.append(function)
        return function

    def command(
        self,
        name: str,
        argv: Sequence[str],
        *,
        version: str,
        parameters: type[BaseModel] | None = None,
        latest: bool = False,
        time_limit: float = Options.time_limit,
        memory_limit: int | None = Options.memory_limit,
        concurrency: int | None = Options.concurrency,
        queue: str = Options.queue,
        max_age: int = Options.max_age,
        failure_ttl: float = Options.failure_ttl,
        media_type: str | None = Options.media_type,
        examples: Sequence[Mapping[str, Any]] = Options.examples,
        abandon: Literal["finish", "kill"] = Options.abandon,
        access: Literal["open", "keyed", "private"] | None = Options.access,
    ) -> None:
        """Publish an executable. `{parameter}` in an item of `argv` is replaced by the parameter's canonical text.

        Raises:
            DeclarationError: the command line, the parameters or an option cannot work.
        """
        options = Options(
            time_limit, memory_limit, concurrency, queue, max_age, failure_ttl, media_type, tuple(examples),
            abandon=abandon, access=access,
        )  # fmt: skip
        schema = Parameters.from_model(parameters or NoParameters)
        check_command_line(name, argv, schema.names)
        doc = inspect.cleandoc(parameters.__doc__ or "") if parameters else ""
        self._add(Model(name, version, schema, options, doc, argv=tuple(argv)), latest=latest)

    def find(self, path: str) -> tuple[Model, bool, str | None]:
        """The model of a path, whether the path pins its version, and the format that it names.

        `path` has no leading slash and is percent-encoded: `name`, `name@version`, each with `.format`.

        Raises:
            NotFound: the path is none of these; or UnknownModel, UnknownVersion, UnknownFormat.
            MalformedRequest: it is not encoded properly.
        """
        try:
            match = _PATH.fullmatch(decode(path.encode("utf-8", "surrogateescape")))
        except ValueError as error:
            raise MalformedRequest(f"The path cannot be read: {error}.") from None
        if match is None and path.endswith("/"):
            self.find(path.rstrip("/"))
            raise NotFound(f"Leave out the slash at the end: {path.rstrip('/')}")
        if match is None:
            raise NotFound("A path is a model's name, with @version and .format as you like.")
        name, version, format = match.group("name", "version", "format")
        if name not in self._newest:
            raise UnknownModel(f"There is no model {name}.", models=list(self._newest))
        if version is not None:
            version, format = self.split_format(version)
        model = self._version(name, version)
        model.check_format(format)
        return model, version is not None, format

    def split_format(self, version: str) -> tuple[str, str | None]:
        """A version as it stands in a path, and the name of a format where it ends in one."""
        return _split_format(version, self._formats)

    def with_versions(self, rename: Callable[[Model], str]) -> Registry:
        """The same models under other versions; what was `@version` leads to the renamed one."""
        renamed = Registry()
        renamed._setups = list(self._setups)
        for key, model in self._models.items():
            changed = replace(model, version=rename(model))
            renamed._add(changed, latest=self._newest[model.name] == key)
            renamed._aliases[key] = changed.key
        return renamed

    def restricted(self, names: Container[str]) -> Registry:
        """The models of these names alone."""
        restricted = Registry()
        restricted._setups = self._setups
        restricted._formats = self._formats
        restricted._models = {key: model for key, model in self._models.items() if model.name in names}
        restricted._newest = {name: key for name, key in self._newest.items() if name in names}
        restricted._aliases = {key: target for key, target in self._aliases.items() if target in restricted._models}
        return restricted

    def _version(self, name: str, version: str | None) -> Model:
        key = self._newest[name] if version is None else f"{name}@{version}"
        model = self._models.get(self._aliases.get(key, key))
        if model is None:
            versions = [model.version for model in self._models.values() if model.name == name]
            raise UnknownVersion(f"There is no {key}.", versions=versions)
        return model

    def _add(self, model: Model, *, latest: bool) -> None:
        self._check(model, latest=latest)
        self._models[model.key] = model
        self._formats.add(model.format)
        if latest or model.name not in self._latest:
            self._newest[model.name] = model.key
        if latest:
            self._latest.add(model.name)

    def _check(self, model: Model, *, latest: bool) -> None:
        if not _NAME.fullmatch(model.name) or model.name in _RESERVED:
            raise DeclarationError(f"{model.name!r} cannot be a model's name: {_NAME.pattern}, and not r")
        if not _VERSION.fullmatch(str(model.version)):
            raise DeclarationError(f"{model.version!r} cannot be the version of {model.name}: {_VERSION.pattern}")
        if model.key in self._models:
            raise DeclarationError(f"{model.key} is declared twice")
        if latest and model.name in self._latest:
            raise DeclarationError(f"{model.key}: another version of {model.name} is marked as the latest")
        for other in (*self._models.values(), model):
            if _split_format(other.version, self._formats | {model.format})[1]:
                raise DeclarationError(f"{other.key}: a version cannot end like a format; paths would be ambiguous")
        for other in self._models.values():
            if other.name == model.name and other.options.access != model.options.access:
                raise DeclarationError(f"{model.key} and {other.key} differ in access, which is that of all versions")
        self._check_namesakes(model)
        _check_examples(model)

    def _check_namesakes(self, model: Model) -> None:
        # A run finds a function by its name in its module, which is the last one that has this name.
        for other in self._models.values():
            ours, theirs = model.function, other.function
            if ours is None or theirs is None or ours is theirs:
                continue
            if (ours.__module__, ours.__qualname__) == (theirs.__module__, theirs.__qualname__):
                hint = f'call it otherwise and say name="{model.name}"'
                raise DeclarationError(f"{model.key} and {other.key} are both functions called {ours.__name__}; {hint}")


def _split_format(version: str, formats: Collection[str]) -> tuple[str, str | None]:
    """A version, and the name of a format where it ends in one."""
    before, _, word = version.rpartition(".")
    return (before, word) if before and word in formats else (version, None)


def _check_examples(model: Model) -> None:
    for example in model.options.examples:
        try:
            model.parameters.parse_values(example)
        except InvalidParameters as error:
            reasons = "; ".join(f"{fault.parameter}: {fault.reason}" for fault in error.errors)
            raise DeclarationError(f"{model.key}: the example {dict(example)!r} is not valid: {reasons}") from error
