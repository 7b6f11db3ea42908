"""What only operators get: their operations, and what shows what others do."""

from __future__ import annotations

import orjson

from etagere.asgi.query import OPERATIONS, Contents, is_json
from etagere.asgi.request import Request
from etagere.asgi.responses import Response, json_response
from etagere.core.clients import Role
from etagere.errors import MalformedRequest, NotFound, Unauthorized, UnsupportedContent
from etagere.operations import Operations

LARGEST_CONTENT = 64 * 1024


class Operate:
    """Answers `POST /-/operations/{operation}`, whose content is a JSON object of arguments."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._contents = Contents(LARGEST_CONTENT)

    async def __call__(self, request: Request) -> Response:
        """The document that the operation returns.

        Raises:
            Problem: it is not for this client, or could not be done.
        """
        admit(request)
        # A page of others can have a browser send anything else, with the credentials that it remembers.
        if not is_json(request.fields):
            raise UnsupportedContent("Arguments are a JSON object: application/json.")
        async with self._contents.received(request.receive, request.fields) as content:
            try:
                arguments = orjson.loads(content or b"{}")
            except orjson.JSONDecodeError as error:
                raise MalformedRequest(f"The arguments are no JSON: {error}.") from None
        if not isinstance(arguments, dict):
            raise MalformedRequest("Arguments are a JSON object.")
        done = await self._operations.perform(request.path.removeprefix(OPERATIONS), arguments)
        return json_response(done, control=b"no-store")


def admit(request: Request) -> None:
    """Let operators through.

    Raises:
        Unauthorized: who asks is not known.
        NotFound: it is no operator, for whom there is nothing here.
    """
    if not request.client.known:
        raise Unauthorized("This is for operators; etagere keys add NAME --role operator makes a key.")
    if request.client.role is not Role.operator:
        raise NotFound("The models are listed at the root.")
