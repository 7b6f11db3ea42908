"""Messages between the service and the warm process: JSON objects, each with its length in front."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

_LENGTH = struct.Struct("!I")


def pack(message: dict[str, Any]) -> bytes:
    """The bytes of one message."""
    # The standard library's JSON, because it carries paths that are not UTF-8 (as lone surrogates).
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Cuts a stream of bytes back into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """The messages that are complete with this chunk."""
        self._buffer += chunk
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            body = self._buffer[_LENGTH.size : end]
            del self._buffer[:end]
            yield json.loads(body)
