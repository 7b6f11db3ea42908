"""Every error of the project, as one tree.

Errors that a client can meet carry the HTTP status and the problem type
(RFC 9457) that answer it, so that the core may raise them without knowing HTTP::

    EtagereError
    ├── DeclarationError            a model is declared wrongly (at start, never over HTTP)
    ├── StartError                  the service cannot start: one line, exit 2
    │   ├── ImportFailed            the model's file does not import
    │   └── DirectoryLocked         another service holds the data directory
    ├── LostProcess                 a process of ours died under a run
    ├── EncodingError               a model returned what cannot be a result
    ├── Evicted                     a representation left the cache under its variant
    └── Problem                     an answer to a client
        ├── MalformedRequest 400    ├── InvalidParameters 400
        ├── NotFound 404            ├── UnknownModel 404, UnknownVersion 404, UnknownFormat 404, UnknownId 404
        ├── MethodNotAllowed 405    ├── NotAcceptable 406
        ├── Retired 410             ├── PreconditionFailed 412
        ├── TargetTooLong 414       ├── Misdirected 421
        ├── FieldsTooLarge 431      ├── InternalError 500
        ├── UnknownMethod 501
        └── OverCapacity 503, StorageFull 503, Stopping 503, NotStarted 503, Unavailable 503

`Refused` stands beside the tree: a model raises it, so it is the model's word, not ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


class Refused(Exception):
    """Raised by a model that will not compute these parameters.

    The client gets 422 with the message, and the answer is kept like a result.
    """


class EtagereError(Exception):
    """The root of the project's own errors."""


class DeclarationError(EtagereError):
    """A model, its parameters or its options are declared in a way that cannot work."""


class StartError(EtagereError):
    """The service cannot start; the message is for the person who started it."""


class ImportFailed(StartError):
    """The model's module does not import; `traceback` is the owner's to read."""

    def __init__(self, message: str, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback


class DirectoryLocked(StartError):
    """Another service holds the data directory."""


class LostProcess(EtagereError):
    """The warm process died, and the run with it, through no fault of the run's own."""


@dataclass(frozen=True, slots=True)
class ParameterError:
    """One fault of one parameter; `value` is what was sent, shortened, where there was something."""

    parameter: str
    reason: str
    value: str | None = None

    def as_dict(self) -> dict[str, str]:
        """The fault as it stands in a problem document's `errors`."""
        fault = {"parameter": self.parameter, "reason": self.reason}
        return fault if self.value is None else {**fault, "value": self.value}


class EncodingError(EtagereError):
    """A model returned what cannot be a result; the message is for clients and says why."""


class Evicted(EtagereError):
    """A representation left the cache while a variant of it was made."""


class Problem(EtagereError):
    """An answer to a client: `status`, the problem type `type` and the `title` that it always has.

    `retry_after` is in seconds.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something went wrong inside the server"
    retry_after: int | None = None

    def __init__(self, detail: str, *, retry_after: int | None = None, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        if retry_after is not None:
            self.retry_after = retry_after
        self.extensions = extensions


class InternalError(Problem):
    """A fault of ours, or of a model's declaration, that only a request could show."""


class MalformedRequest(Problem):
    """The request target cannot be read: percent-encoding, UTF-8, structure."""

    status, type, title = 400, "malformed-request", "The request cannot be read"


class InvalidParameters(Problem):
    """Parameters that are bad, missing, repeated or unknown: every fault at once."""

    status, type, title = 400, "invalid-parameters", "Some parameters are not valid"

    def __init__(self, errors: list[ParameterError]) -> None:
        named = ", ".join(dict.fromkeys(error.parameter for error in errors))
        super().__init__(f"Not valid: {named}.", errors=[error.as_dict() for error in errors])
        self.errors = errors


class NotFound(Problem):
    """Nothing is published at this path."""

    status, type, title = 404, "not-found", "There is nothing at this path"


class UnknownModel(NotFound):
    """No model has this name."""

    type, title = "unknown-model", "There is no model of this name"


class UnknownVersion(NotFound):
    """The model exists, this version of it does not."""

    type, title = "unknown-version", "There is no such version of this model"


class UnknownFormat(NotFound):
    """The model exists, but not in this format."""

    type, title = "unknown-format", "The model does not give this format"


class UnknownId(NotFound):
    """No resource of this id is known (any more)."""

    type, title = "unknown-id", "No resource of this id is known"


class MethodNotAllowed(Problem):
    """A method that HTTP knows and this resource does not have."""

    status, type, title = 405, "method-not-allowed", "This resource does not have this method"


class NotAcceptable(Problem):
    """No format of the model satisfies `Accept`."""

    status, type, title = 406, "not-acceptable", "The model gives no format that this request accepts"


class Retired(Problem):
    """A version that is no longer served and whose result is not cached."""

    status, type, title = 410, "retired-version", "This version of the model is no longer served"


class PreconditionFailed(Problem):
    """`If-Match` names another state of the resource."""

    status, type, title = 412, "precondition-failed", "The resource is not in the state that If-Match names"


class TargetTooLong(Problem):
    """The request target is longer than the limit."""

    status, type, title = 414, "target-too-long", "The request target is too long"


class Misdirected(Problem):
    """The name in `Host` is not one of ours."""

    status, type, title = 421, "misdirected-request", "This server does not answer for this host name"


class FieldsTooLarge(Problem):
    """A header field is longer than the limit."""

    status, type, title = 431, "fields-too-large", "A header field is too long"


class UnknownMethod(Problem):
    """A method that we do not know."""

    status, type, title = 501, "unknown-method", "This method is not known"


class OverCapacity(Problem):
    """As many runs are pending as the service accepts."""

    status, type, title = 503, "over-capacity", "Too many runs are pending"


class StorageFull(Problem):
    """The run could not be recorded durably, so it was not accepted."""

    status, type, title = 503, "storage-unavailable", "The run could not be recorded"
    retry_after = 5


class Stopping(Problem):
    """The service is being stopped and starts nothing any more."""

    status, type, title = 503, "stopping", "The service is stopping"
    retry_after = 5


class NotStarted(Problem):
    """A request that a page or a browser makes by itself needs a new run, and such requests start none."""

    status, type, title = 503, "not-started", "Such a request does not start a run"


class Unavailable(Problem):
    """The service, which a request was to start, did not start; the next request tries again."""

    status, type, title = 503, "unavailable", "The service could not be started"
