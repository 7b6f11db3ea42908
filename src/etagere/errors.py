"""Every error of the project, as one tree.

Errors that a client can meet carry the HTTP status and the problem type
(RFC 9457) that answer it, so that the core may raise them without knowing HTTP::

    EtagereError
    ├── DeclarationError            a model is declared wrongly (at start, never over HTTP)
    ├── StartError                  the service cannot start: one line, exit 2
    │   ├── StoreAway               the store cannot be reached now: exit 75, as for what may go well later
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

EX_TEMPFAIL = 75
"""The exit status for what may go well later, as sysexits(3) has it; os.EX_TEMPFAIL is not everywhere."""


class Refused(Exception):
    """Raised by a model that will not compute these parameters.

    The client gets 422 with the message, and the answer is kept like a result.
    """


class EtagereError(Exception):
    """The root of the project's own errors; `exit_status` is that of a command that it ends."""

    exit_status: ClassVar[int] = 2


class DeclarationError(EtagereError):
    """A model, its parameters or its options are declared in a way that cannot work."""


class StartError(EtagereError):
    """The service cannot start; the message is for the person who started it."""


class StoreAway(StartError):
    """The store cannot be reached at the start; who starts the service is to try again."""

    exit_status = EX_TEMPFAIL


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

    def __init_subclass__(cls, *, status: int = 0, type: str = "", title: str = "", retry_after: int = 0) -> None:
        """What is not said is as in the class above."""
        super().__init_subclass__()
        cls.status, cls.type, cls.title = status or cls.status, type or cls.type, title or cls.title
        cls.retry_after = retry_after or cls.retry_after

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


class MalformedRequest(Problem, status=400, type="malformed-request", title="The request cannot be read"):
    """The request target or content cannot be read: percent-encoding, UTF-8, structure.

    Correct the encoding or the structure; `detail` says what cannot be read.
    """


class InvalidParameters(Problem, status=400, type="invalid-parameters", title="Some parameters are not valid"):
    """Parameters that are bad, missing, repeated or unknown: every fault at once.

    Correct each of `errors`: it has the name, the reason, and what was sent. No run was started.
    """

    def __init__(self, errors: list[ParameterError]) -> None:
        named = ", ".join(dict.fromkeys(error.parameter for error in errors))
        super().__init__(f"Not valid: {named}.", errors=[error.as_dict() for error in errors])
        self.errors = errors


class Unauthorized(Problem, status=401, type="not-authenticated", title="This needs a valid key"):
    """Who asks is not known here: what it shows is missing, expired or not valid.

    Send a key as `Authorization: Bearer`; the operator of the service makes keys.
    """


class NotFound(Problem, status=404, type="not-found", title="There is nothing at this path"):
    """Nothing is published at this path.

    The models are listed at the root.
    """


class UnknownModel(NotFound, type="unknown-model", title="There is no model of this name"):
    """No model has this name.

    `models` has the names there are.
    """


class UnknownVersion(NotFound, type="unknown-version", title="There is no such version of this model"):
    """The model exists, this version of it does not.

    `versions` has those there are; a path without `@version` leads to the newest.
    """


class UnknownFormat(NotFound, type="unknown-format", title="The model does not give this format"):
    """The model exists, but not in this format.

    `formats` has those there are; a path without `.format` leaves the choice to `Accept`.
    """


class UnknownId(NotFound, type="unknown-id", title="No resource of this id is known"):
    """No resource of this id is known (any more).

    Repeat the original request, with all its parameters; it starts the run again.
    """


class MethodNotAllowed(Problem, status=405, type="method-not-allowed", title="This resource does not have this method"):
    """A method that HTTP knows and this resource does not have.

    Use one of the methods in `Allow`.
    """


class NotAcceptable(
    Problem, status=406, type="not-acceptable", title="The model gives no format that this request accepts"
):
    """No format of the model satisfies `Accept`.

    `formats` has the media types there are; accept one of them. No run was started.
    """


class Retired(Problem, status=410, type="retired-version", title="This version of the model is no longer served"):
    """A version that is no longer served and whose result is not cached.

    Ask without a version, for the newest.
    """


class PreconditionFailed(
    Problem, status=412, type="precondition-failed", title="The resource is not in the state that If-Match names"
):
    """`If-Match` names another state of the resource.

    Ask without `If-Match` for the present state.
    """


class RequestTimeout(Problem, status=408, type="request-timeout", title="The content did not arrive in time"):
    """The content of the request came too slowly.

    Send it again, in one go.
    """


class ContentTooLarge(Problem, status=413, type="content-too-large", title="The content of the request is too large"):
    """The content of the request is larger than the limit.

    Send less; `detail` has the limit, which its operator can raise (`max_query_content`).
    """


class UnsupportedContent(
    Problem,
    status=415,
    type="unsupported-content",
    title="The content of the request is of a kind that is not read here",
):
    """The content of the request has a media type, a charset or a coding that is not read here.

    Send one of the media types in `Accept-Query`, in UTF-8 and without a `Content-Encoding`.
    """


class TargetTooLong(Problem, status=414, type="target-too-long", title="The request target is too long"):
    """The request target is longer than the limit.

    Shorten it; `detail` has the limit.
    """


class RangeNotSatisfiable(
    Problem, status=416, type="range-not-satisfiable", title="The result has none of the bytes that Range names"
):
    """None of the bytes that `Range` names are there.

    Ask for bytes below the size that `Content-Range` gives, or for the whole.
    """


class Misdirected(
    Problem, status=421, type="misdirected-request", title="This server does not answer for this host name"
):
    """The name in `Host` is not one of ours.

    Use a name of this server; its operator can add one to `allowed_hosts`.
    """


class ShareExhausted(Problem, status=429, type="share-exhausted", title="This client has too many runs pending"):
    """As many runs are pending as one client may have started.

    Wait for `Retry-After`, then send the same request again. Nothing was accepted. What others have started can be
    joined all the same.
    """


class QuotaExhausted(Problem, status=429, type="quota-exhausted", title="This client has started too many runs"):
    """This client has started as many runs as it may for now.

    Wait for `Retry-After`, then send the same request again. Nothing was accepted. Results, and runs that are pending
    already, do not count.
    """


class FieldsTooLarge(Problem, status=431, type="fields-too-large", title="A header field is too long"):
    """A header field is longer than the limit.

    Send a shorter one; `detail` names it and has the limit.
    """


class UnknownMethod(Problem, status=501, type="unknown-method", title="This method is not known"):
    """A method that we do not know.

    Use one of the methods that `detail` names.
    """


class OverCapacity(Problem, status=503, type="over-capacity", title="Too many runs are pending"):
    """As many runs are pending as the service accepts.

    Wait for `Retry-After`, then send the same request again. Nothing was accepted.
    """


class StorageFull(
    Problem, status=503, type="storage-unavailable", title="The run could not be recorded", retry_after=5
):
    """The run could not be recorded durably, so it was not accepted.

    Wait for `Retry-After`, then send the same request again. The operator may have to make room.
    """


class ResultOutOfReach(StorageFull, type="result-out-of-reach", title="The result cannot be fetched now"):
    """There is a result, and it lies where this node cannot fetch it from at the moment. It is not lost.

    Wait for `Retry-After`, then send the same request again; the operator of the service may have to set `blobs`.
    """


class Stopping(Problem, status=503, type="stopping", title="The service is stopping", retry_after=5):
    """The service is being stopped, or an operator lets what is under way come to its end: nothing new is started.

    Wait for `Retry-After`, then send the same request again.
    """


def draining() -> Stopping:
    """What to say where nothing is started until somebody says so, or another service has taken over."""
    return Stopping("The service starts nothing new at the moment. Ask again later.", retry_after=30)


class NotStarted(Problem, status=503, type="not-started", title="Such a request does not start a run"):
    """A request that a page or a browser makes by itself needs a new run, and such requests start none.

    Make the request on purpose: by a link, an address or a program, not a prefetch or an embedded image.
    """


class TooManyWaiting(
    Problem, status=503, type="too-many-waiting", title="Too many clients wait already", retry_after=5
):
    """As many clients wait and follow event streams as the service accepts.

    Wait for `Retry-After`, or ask for the status now and then.
    """


class NotCached(Problem, status=504, type="not-cached", title="There is no result yet"):
    """`only-if-cached` asks for a result that is not there, and starts no run (RFC 9111 §5.2.1.7).

    Ask without `only-if-cached` to start the run.
    """


class Unavailable(Problem, status=503, type="unavailable", title="The service could not be started"):
    """The service, which a request was to start, did not start; the next request tries again.

    Wait for `Retry-After`, then send the same request again. The reason is in the service's log.
    """


class StoreLost(Problem, status=503, type="store-lost", title="The store of the service cannot be reached"):
    """The store that the machines of the service share cannot be reached.

    Wait for `Retry-After`, then send the same request again.
    """

    exit_status = EX_TEMPFAIL


class Crowded(Problem, status=503, type="crowded", title="Too much content is being received at once", retry_after=5):
    """More content of requests is being received than the service holds at once.

    Wait for `Retry-After`, then send the same request again.
    """
