"""The settings: defaults < `Etagere(**settings)` < `etagere.toml` < `ETAGERE_*` environment < command line."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from etagere.core.clients import Access
from etagere.core.quota import Quota
from etagere.errors import StartError
from etagere.logs import get_logger

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MAX_RUN_DIR = 10 * GIB
MAX_PROCESSES = 256

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s,]+")
FILE = Path("etagere.toml")
KEYS = "keys.json"
PREFIX = "ETAGERE_"
OPERATOR_KEY = "ETAGERE_KEY"
"""The variable that has an operator's key: on a command line others would see it. It is no setting."""
COMMAND_LINE = "the command line"
# Without a store, results or runs would not be where these say; and these say nothing.
_NEED_STORE = ("engine", "queues", "blobs", "blob_redirect")
_OF_STORE = ("namespace", "cache_ttl", "lease")
# Of a setting that is no single value, what may stand for it in the environment.
_JSON = {
    "allowed_hosts": 'a JSON array such as ["models.example.org"]',
    "trusted_proxies": 'a JSON array such as ["127.0.0.1"]',
    "cors_origins": 'a JSON array such as ["https://lab.example"], or *,',
    "queues": 'a JSON array such as ["gpu"]',
    "jwt": 'a JSON object such as {"issuer": "https://issuer.example", "audience": "etagere", "keys": "keys.jwks"}',
}
# Signatures by a key that is nobody's secret here: whoever can check a token cannot make one.
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")

log = get_logger("etagere")


class Jwt(BaseModel):
    """Whose JSON Web Tokens are accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    issuer: str = Field(min_length=1, description="Who issues them, as it stands in their iss.")
    audience: str = Field(min_length=1, description="What this service is called in their aud.")
    keys: Path = Field(description="The file of the issuer's public keys, a JWK Set (RFC 7517).")
    algorithms: tuple[str, ...] = Field(
        ("RS256", "PS256", "ES256", "EdDSA", "Ed25519"), min_length=1, description="The signatures that count."
    )

    @field_validator("algorithms")
    @classmethod
    def _check_algorithms(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [name for name in algorithms if name not in SIGNATURES]:
            raise ValueError(f"{', '.join(bad)}: a signature by a private key is needed, {', '.join(SIGNATURES)}")
        return algorithms


class Settings(BaseModel):
    """One schema for every way of setting; sizes are bytes, times are seconds.

    An empty text, such as `ETAGERE_STORE=`, stands for none where none is the default, whatever a layer below says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    data: Path = Field(Path(".etagere"), description="The data directory; one service at a time.")
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 chooses a free one.")
    runs: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024, description="Runs at once.")
    allowed_hosts: tuple[str, ...] = Field((), description="More names that may stand in Host; '*' allows all.")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Proxies whose X-Forwarded-For counts: addresses, networks."
    )
    access: Access = Field(Access.open, description="Who may ask for models that do not say: open, keyed or private.")
    keys: Path | None = Field(None, description="The file of API keys; keys.json in the data directory if not set.")
    jwt: Jwt | None = Field(
        None, description="Whose JSON Web Tokens are accepted: issuer, audience, keys (a JWK Set file), algorithms."
    )
    metrics: Literal["open", "operator"] = Field("open", description="Who may read the metrics.")
    cors_origins: tuple[str, ...] = Field((), description="Origins whose pages may read answers; '*' allows all.")
    max_pending: int = Field(1000, ge=1, description="Runs that may be pending before new ones get 503.")
    quota: str | None = Field(None, description="New runs that a client may start, such as 100/hour; all if not set.")
    patience: float = Field(600.0, gt=0, description="Seconds that a run is wanted for after somebody asked for it.")
    max_wait: int = Field(20, ge=0, le=3600, description="The longest wait that Prefer is granted, in seconds.")
    max_waiting: int = Field(2000, ge=0, description="Clients that may wait or follow events at the same time.")
    max_target: int = Field(60_000, ge=256, le=60_000, description="The longest request target, in bytes.")
    max_query_content: ByteSize = Field(ByteSize(8 * MIB), description="The largest content of a QUERY request.")
    max_result: ByteSize = Field(ByteSize(GIB), description="The largest result of a run.")
    max_run_dir: ByteSize = Field(ByteSize(MAX_RUN_DIR), description="What a run's directory may take on disk.")
    max_processes: int = Field(MAX_PROCESSES, ge=1, description="The processes that a run may have at once.")
    cache_size: ByteSize = Field(ByteSize(10 * GIB), description="What the cache may hold on disk.")
    memory_cache_size: ByteSize = Field(ByteSize(64 * MIB), description="Bodies in use that are held in memory.")
    store: str | None = Field(
        None, description="Valkey or Redis that many machines share: redis://…; all is on this machine if not set."
    )
    namespace: str = Field(
        "etagere", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="What keys in the store begin with."
    )
    blobs: str | None = Field(
        None, description="Where results over 1 MiB are shared: file:///directory or s3://bucket/prefix."
    )
    blob_redirect: bool = Field(False, description="Have clients fetch results over 1 MiB there, by a signed URL.")
    cache_ttl: float = Field(30 * 86400.0, gt=0, description="Seconds that a shared result is kept after its last use.")
    lease: float = Field(30.0, ge=1, description="Seconds after which a worker that is not heard of has lost its run.")
    engine: str | None = Field(None, description="Who hosts workers: celery+<broker URL>; plain processes if not set.")
    queues: tuple[str, ...] = Field(
        (), description="The queues that a worker works off; all of its models' if not set."
    )
    access_log: bool = Field(False, description="Log each request.")
    log_json: bool = Field(False, description="Log JSON, an object a line.")
    traces: bool = Field(False, description="Send traces by OTLP; OTEL_* variables say where to.")
    dev: bool = Field(False, description="Reload on change; the source's hash joins the versions.")

    @field_validator(*_JSON, mode="before")
    @classmethod
    def _json(cls, value: object, info: ValidationInfo) -> object:
        """The environment has only text: a JSON array or object there; all origins are `*` alone."""
        if not isinstance(value, str):
            return value
        if value == "*" and info.field_name == "cors_origins":
            return ("*",)
        wanted = _JSON[str(info.field_name)]
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        if not isinstance(found, dict if info.field_name == "jwt" else list):
            raise ValueError(f"{wanted} is expected")
        return found

    @field_validator("*", mode="before")
    @classmethod
    def _none(cls, value: object, info: ValidationInfo) -> object:
        """What a shell or a file of variables leaves empty is not set."""
        default = cls.model_fields[str(info.field_name)].default
        return default if value == "" and default in (None, ()) else value

    @field_validator("quota")
    @classmethod
    def _check_quota(cls, quota: str | None) -> str | None:
        if quota is not None:
            Quota.parse(quota)
        return quota

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ip_network(proxy)
        return proxies

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        lowered = tuple(origin.lower() for origin in origins)
        if bad := [origin for origin in lowered if origin != "*" and not _ORIGIN.fullmatch(origin)]:
            raise ValueError(f"{', '.join(bad)}: an origin is a scheme and a host, such as https://example.org")
        return lowered

    @property
    def contradictions(self) -> list[str]:
        """What cannot be as it is set, a fault each."""
        faults = []
        if self.store is None and (wanted := self._set(_NEED_STORE)):
            faults.append(f"{', '.join(wanted)}: set store, too, or leave out what is for many machines")
        if self.store is not None and self.dev:
            faults.append("--dev is for one machine: leave out dev or store")
        return faults

    @property
    def idle(self) -> list[str]:
        """The settings that are set and count for nothing, though nothing is amiss without them."""
        return self._set(_OF_STORE) if self.store is None else []

    def _set(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]

    @property
    def key_file(self) -> Path:
        """Where the API keys are."""
        return self.keys or self.data / KEYS

    @classmethod
    def layered(
        cls,
        defaults: Mapping[str, Any],
        overrides: Mapping[str, Any],
        file: Path | None = None,
        place: str = COMMAND_LINE,
    ) -> Settings:
        """The settings with an application's `defaults` below and `overrides` above the rest, which stand at `place`.

        `file` takes the place of `etagere.toml` in the current directory, which need not exist.

        Raises:
            StartError: the file cannot be read, or a value from anywhere is not valid; names where each comes from.
        """
        given = _given(defaults, overrides, file, place)
        try:
            return cls(**{name: value for name, (value, _) in given.items()})
        except ValidationError as error:
            places = {name: place for name, (_, place) in given.items()}
            faults = "; ".join(_fault(e["loc"], e["type"], e["msg"], places) for e in error.errors())
            raise StartError(f"bad settings: {faults}") from error


def origins(defaults: Mapping[str, Any], overrides: Mapping[str, Any], file: Path | None = None) -> dict[str, str]:
    """Where each setting that is given comes from; arguments and errors as those of `Settings.layered`."""
    return {name: place for name, (_, place) in _given(defaults, overrides, file, COMMAND_LINE).items()}


def unknown_variables() -> list[str]:
    """What the environment has that looks like a setting and is none, each with the one that may be meant."""
    known = {*_variables().values(), OPERATOR_KEY}
    found = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    return [name + _meant(name, known) for name in found]


def warn_of_unknown_variables() -> None:
    """Say in the log what `unknown_variables` are there."""
    if unknown := unknown_variables():
        log.warning("variables that are no settings count for nothing", variables=", ".join(unknown))


def _given(
    defaults: Mapping[str, Any], overrides: Mapping[str, Any], file: Path | None, place: str
) -> dict[str, tuple[Any, str]]:
    """Each setting that is given, with its value and its place; the last layer wins."""
    layers = {
        "Etagere(...)": defaults,
        str(file or FILE): _file(file or FILE, needed=file is not None),
        "the environment": _environment(),
        place: overrides,
    }
    return {name: (value, place) for place, layer in layers.items() for name, value in layer.items()}


def unknown_setting(name: str) -> str:
    """What to say of a name that is no setting's."""
    names = [*Settings.model_fields, *(f"jwt.{name}" for name in Jwt.model_fields)]
    near = get_close_matches(name, names, n=1)
    return f"there is no setting {name}" + (f"; did you mean {near[0]}?" if near else "")


def _meant(variable: str, known: Collection[str]) -> str:
    # The prefix that all have would make each look like some other.
    near = get_close_matches(variable.removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in known], n=1)
    return f" (did you mean {PREFIX}{near[0]}?)" if near else ""


def _fault(location: tuple[int | str, ...], type: str, reason: str, places: Mapping[str, str]) -> str:
    setting, name = str(location[0]), ".".join(part for part in location if isinstance(part, str))
    said = unknown_setting(name) if type == "extra_forbidden" else f"{name}: {reason.removeprefix('Value error, ')}"
    return f"{places[setting]}: {said}" if setting in places else said


def _file(path: Path, *, needed: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if needed:
            raise StartError(f"There is no file {path}.") from None
        return {}
    except OSError as error:
        raise StartError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise StartError(f"{path}: {error}.") from error


def _environment() -> dict[str, str]:
    return {name: os.environ[variable] for name, variable in _variables().items() if variable in os.environ}


def _variables() -> dict[str, str]:
    return {name: PREFIX + name.upper() for name in Settings.model_fields}
