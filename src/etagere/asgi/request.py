"""A request as the application sees it: where it leads, what it says, and who makes it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from etagere.asgi.fields import Fields, text
from etagere.asgi.hosts import origin_form
from etagere.asgi.responses import TRACE, Receive, Scope
from etagere.core.clients import Asker, Client
from etagere.core.preferences import urgency
from etagere.reach import Reach


@dataclass(slots=True)
class Request:
    """One request. `client` is who makes it, `reach` what there is for this client."""

    scope: Scope
    receive: Receive
    fields: Fields
    client: Client
    reach: Reach

    @property
    def method(self) -> str:
        """The method."""
        method: str = self.scope["method"]
        return method

    @property
    def root(self) -> str:
        """Where the application is mounted."""
        return root_of(self.scope)

    @property
    def path(self) -> str:
        """The path below the mount point, still percent-encoded."""
        return path_of(self.scope)

    @property
    def query(self) -> bytes:
        """The query string."""
        query: bytes = self.scope["query_string"]
        return query

    @property
    def asker(self) -> Asker:
        """How it stands in the queue."""
        asked = urgency(text(self.fields, b"priority"))
        return Asker(self.client.name, asked, self.scope.get(TRACE, ""))


def root_of(scope: Scope) -> str:
    """Where the application is mounted."""
    root: str = scope.get("root_path", "")
    return root


def target_of(scope: Scope) -> bytes:
    """What is remembered of where a request leads."""
    return b"%b?%b" % (raw_path(scope), scope["query_string"])


def raw_path(scope: Scope) -> bytes:
    """The path of the request target."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw if raw.startswith(b"/") else origin_form(raw)


def sent_path(scope: Scope) -> str:
    """The path as it was sent. What would not have had to be encoded there, such as a control character, is now."""
    return quote(raw_path(scope).partition(b"?")[0], safe="/%:@!$&'()*+,;=")


def path_of(scope: Scope) -> str:
    """The path below the mount point, still percent-encoded."""
    root = root_of(scope)
    path = raw_path(scope).partition(b"?")[0].decode("latin-1")
    return path.removeprefix(root) if root and path.startswith(root + "/") else path
