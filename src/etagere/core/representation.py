"""The frozen values that travel between the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from etagere.core.canonical import tenant_of
from etagere.core.media import IDENTITY, coded_name

# A body of at most so many bytes is carried and kept as bytes, a larger one as a file.
INLINE_BYTES = 1024 * 1024
# So few bytes are read and hashed in less time than it takes to have a thread do it.
QUICK_BYTES = 64 * 1024


class Kind(StrEnum):
    """How a run ended. `crashed` and `lost` are not kinds: those are tried again."""

    succeeded = "succeeded"
    refused = "refused"
    failed = "failed"
    timeout = "timeout"
    memory = "memory"
    poison = "poison"


@dataclass(frozen=True, slots=True)
class Resource:
    """What a canonical URI stands for. `uri` is the canonical URI, `id` its hash, `model` is `name@version`."""

    id: str
    uri: str
    model: str
    queue: str = "default"

    @property
    def query(self) -> str:
        """The canonical query string."""
        return self.uri.partition("?")[2]

    @property
    def tenant(self) -> str:
        """To whom a resource of a private model belongs; empty where it is everybody's."""
        return tenant_of(self.uri)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run, on its way to the collector.

    `path` is the file that holds a succeeded run's bytes; it is the collector's to move or remove, with the directory
    around it. Where it has come from another machine, a small one is in `body` instead. `detail` and `facts` (members
    of a problem document) are for clients, `traceback` and `output` (the last 64 KiB printed) for operators. Times are
    seconds since the epoch.
    """

    resource: Resource
    attempt: int
    kind: Kind
    started: float
    finished: float
    path: Path | None = None
    media_type: str | None = None
    detail: str = ""
    traceback: str = ""
    output: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def seconds(self) -> float:
        """How long the attempt ran."""
        return max(0.0, self.finished - self.started)


@dataclass(frozen=True, slots=True)
class Representation:
    """A finished result, or a variant of it in another format or content coding (`derived`).

    `digest` is the SHA-256 of the bytes; `body` is None where they are in the file `path`. Its run was
    `accepted` then (seconds since the epoch) and ended by this `attempt`. A client may ask for it for the
    first time within `awaited` seconds, which is no part of what it is.
    """

    id: str
    format: str
    media_type: str
    digest: bytes
    size: int
    created: float
    seconds: float
    body: bytes | None = None
    path: Path | None = None
    mtime_ns: int = 0
    coding: str = IDENTITY
    derived: bool = False
    accepted: float = 0.0
    attempt: int = 1
    awaited: float = field(default=0.0, compare=False)

    @property
    def name(self) -> str:
        """Its format and coding, as they stand in its tag."""
        return self.format if self.coding == IDENTITY else coded_name(self.format, self.coding)

    @property
    def away(self) -> bool:
        """Whether its bytes are somewhere else."""
        return self.body is None and self.path is None

    @property
    def key(self) -> str:
        """What it is kept under: the id, and for a variant its name behind that."""
        return f"{self.id}.{self.name}" if self.derived else self.id


@dataclass(frozen=True, slots=True)
class Failure:
    """A remembered failure, refusals included; forgotten at `expires` (seconds since the epoch).

    Its run was `accepted` then and ended by this `attempt`. `facts` are more members of its problem
    document, as JSON has them.
    """

    id: str
    kind: Kind
    detail: str
    created: float
    seconds: float
    expires: float
    attempt: int = 1
    accepted: float = 0.0
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Printed:
    """What an attempt has left for operators; `outcome` is a `Kind`, or `crashed`. `finished` is since the epoch."""

    id: str
    attempt: int
    outcome: str
    finished: float
    output: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs of one resource did not give the same bytes.

    `first` is the SHA-256 of what there was, `later` that of what another run gave, `seen` when it did (seconds
    since the epoch).
    """

    first: bytes
    later: bytes
    seen: float


@dataclass(frozen=True, slots=True)
class Ghost:
    """What outlives the bytes of a resource: its canonical URI, the digest once known, the last run's time.

    `difference` is there once a run of it gave other bytes than the one before.
    """

    id: str
    uri: str
    digest: bytes | None
    seconds: float | None
    difference: Difference | None = None
