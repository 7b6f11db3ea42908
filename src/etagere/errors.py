"""Every error of the project, as one tree.

Errors that a client can meet carry the HTTP status and the problem type
(RFC 9457) that answer it, so that the core may raise them without knowing HTTP::

    EtagereError
    ├── DeclarationError            a model is declared wrongly (at start, never over HTTP)
    ├── StartError                  the service cannot start: one line, exit 2
    │   ├── ImportFailed            the model's file does not import
    │   └── DirectoryLocked         another service holds the data directory
    ├── NoService                   no running service can be reached in the data directory
    ├── Refusal                     a running service did not do what an operator asked for
    ├── BrokenDatabase              the database cannot be used any more
    ├── LostProcess                 a process of ours died under a run
    ├── EncodingError               a model returned what cannot be a result
    ├── Evicted                     a representation left the cache under its variant
    └── Problem                     an answer to a client; each class has its status

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


class NoService(EtagereError):
    """An operator's command does not reach a service; the message says in which directory and what to do."""


class Refusal(EtagereError):
    """A running service did not do what an operator asked for; `status` is that of the problem, as in HTTP."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class BrokenDatabase(EtagereError):
    """The database is damaged, none at all, or of a format that only older versions know; the message says which."""


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

    `retry_after` is in seconds. The docstring of each is what its page says to the client: a line on what it
    means, then what to do.
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
    """A fault of ours, or of a model's declaration, that only a request could show.

    Nothing in the request is to blame. Tell the operator the time of the request; the fault is in the log.
    """


class MalformedRequest(Problem):
    """The request target or content cannot be read: percent-encoding, UTF-8, structure.

    Correct the encoding or the structure; `detail` says what cannot be read.
    """

    status, type, title = 400, "malformed-request", "The request cannot be read"


class InvalidParameters(Problem):
    """Parameters that are bad, missing, repeated or unknown: every fault at once.

    Correct each of `errors`: it has the name, the reason, and what was sent. No run was started.
    """

    status, type, title = 400, "invalid-parameters", "Some parameters are not valid"

    def __init__(self, errors: list[ParameterError]) -> None:
        named = ", ".join(dict.fromkeys(error.parameter for error in errors))
        super().__init__(f"Not valid: {named}.", errors=[error.as_dict() for error in errors])
        self.errors = errors


class Unauthorized(Problem):
    """Who asks is not known here: what it shows is missing, expired or not valid.

    Send a key as `Authorization: Bearer`; the operator of the service makes keys.
    """

    status, type, title = 401, "not-authenticated", "This needs a valid key"


class NotFound(Problem):
    """Nothing is published at this path.

    The models are listed at the root.
    """

    status, type, title = 404, "not-found", "There is nothing at this path"


class UnknownModel(NotFound):
    """No model has this name.

    `models` has the names there are.
    """

    type, title = "unknown-model", "There is no model of this name"


class UnknownVersion(NotFound):
    """The model exists, this version of it does not.

    `versions` has those there are; a path without `@version` leads to the newest.
    """

    type, title = "unknown-version", "There is no such version of this model"


class UnknownFormat(NotFound):
    """The model exists, but not in this format.

    `formats` has those there are; a path without `.format` leaves the choice to `Accept`.
    """

    type, title = "unknown-format", "The model does not give this format"


class UnknownId(NotFound):
    """No resource of this id is known (any more).

    Repeat the original request, with all its parameters; it starts the run again.
    """

    type, title = "unknown-id", "No resource of this id is known"


class MethodNotAllowed(Problem):
    """A method that HTTP knows and this resource does not have.

    Use one of the methods in `Allow`.
    """

    status, type, title = 405, "method-not-allowed", "This resource does not have this method"


class NotAcceptable(Problem):
    """No format of the model satisfies `Accept`.

    `formats` has the media types there are; accept one of them. No run was started.
    """

    status, type, title = 406, "not-acceptable", "The model gives no format that this request accepts"


class Retired(Problem):
    """A version that is no longer served and whose result is not cached.

    Ask without a version, for the newest.
    """

    status, type, title = 410, "retired-version", "This version of the model is no longer served"


class PreconditionFailed(Problem):
    """`If-Match` names another state of the resource.

    Ask without `If-Match` for the present state.
    """

    status, type, title = 412, "precondition-failed", "The resource is not in the state that If-Match names"


class RequestTimeout(Problem):
    """The content of the request came too slowly.

    Send it again, in one go.
    """

    status, type, title = 408, "request-timeout", "The content did not arrive in time"


class ContentTooLarge(Problem):
    """The content of the request is larger than the limit.

    Send less; `detail` has the limit, which its operator can raise (`max_query_content`).
    """

    status, type, title = 413, "content-too-large", "The content of the request is too large"


class UnsupportedContent(Problem):
    """The content of the request has a media type, a charset or a coding that is not read here.

    Send one of the media types in `Accept-Query`, in UTF-8 and without a `Content-Encoding`.
    """

    status, type, title = 415, "unsupported-content", "The content of the request is of a kind that is not read here"


class TargetTooLong(Problem):
    """The request target is longer than the limit.

    Shorten it; `detail` has the limit.
    """

    status, type, title = 414, "target-too-long", "The request target is too long"


class RangeNotSatisfiable(Problem):
    """None of the bytes that `Range` names are there.

    Ask for bytes below the size that `Content-Range` gives, or for the whole.
    """

    status, type, title = 416, "range-not-satisfiable", "The result has none of the bytes that Range names"


class Misdirected(Problem):
    """The name in `Host` is not one of ours.

    Use a name of this server; its operator can add one to `allowed_hosts`.
    """

    status, type, title = 421, "misdirected-request", "This server does not answer for this host name"


class ShareExhausted(Problem):
    """As many runs are pending as one client may have started.

    Wait for `Retry-After`, then send the same request again. Nothing was accepted. What others have started can be
    joined all the same.
    """

    status, type, title = 429, "share-exhausted", "This client has too many runs pending"


class QuotaExhausted(Problem):
    """This client has started as many runs as it may for now.

    Wait for `Retry-After`, then send the same request again. Nothing was accepted. Results, and runs that are pending
    already, do not count.
    """

    status, type, title = 429, "quota-exhausted", "This client has started too many runs"


class FieldsTooLarge(Problem):
    """A header field is longer than the limit.

    Send a shorter one; `detail` names it and has the limit.
    """

    status, type, title = 431, "fields-too-large", "A header field is too long"


class UnknownMethod(Problem):
    """A method that we do not know.

    Use one of the methods that `detail` names.
    """

    status, type, title = 501, "unknown-method", "This method is not known"


class OverCapacity(Problem):
    """As many runs are pending as the service accepts.

    Wait for `Retry-After`, then send the same request again. Nothing was accepted.
    """

    status, type, title = 503, "over-capacity", "Too many runs are pending"


class StorageFull(Problem):
    """The run could not be recorded durably, so it was not accepted.

    Wait for `Retry-After`, then send the same request again. The operator may have to make room.
    """

    status, type, title = 503, "storage-unavailable", "The run could not be recorded"
    retry_after = 5


class Stopping(Problem):
    """The service is being stopped, or an operator lets what is under way come to its end: nothing new is started.

    Wait for `Retry-After`, then send the same request again.
    """

    status, type, title = 503, "stopping", "The service is stopping"
    retry_after = 5


class NotStarted(Problem):
    """A request that a page or a browser makes by itself needs a new run, and such requests start none.

    Make the request on purpose: by a link, an address or a program, not a prefetch or an embedded image.
    """

    status, type, title = 503, "not-started", "Such a request does not start a run"


class TooManyWaiting(Problem):
    """As many clients wait and follow event streams as the service accepts.

    Wait for `Retry-After`, or ask for the status now and then.
    """

    status, type, title = 503, "too-many-waiting", "Too many clients wait already"
    retry_after = 5


class NotCached(Problem):
    """`only-if-cached` asks for a result that is not there, and starts no run (RFC 9111 §5.2.1.7).

    Ask without `only-if-cached` to start the run.
    """

    status, type, title = 504, "not-cached", "There is no result yet"


class Unavailable(Problem):
    """The service, which a request was to start, did not start; the next request tries again.

    Wait for `Retry-After`, then send the same request again. The reason is in the service's log.
    """

    status, type, title = 503, "unavailable", "The service could not be started"


class StoreLost(Problem):
    """The store that the machines of the service share cannot be reached.

    Wait for `Retry-After`, then send the same request again.
    """

    status, type, title = 503, "store-lost", "The store of the service cannot be reached"


class Crowded(Problem):
    """More content of requests is being received than the service holds at once.

    Wait for `Retry-After`, then send the same request again.
    """

    status, type, title = 503, "crowded", "Too much content is being received at once"
    retry_after = 5
