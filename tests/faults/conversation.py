"""Clients that hold the conversation over plain sockets and write down what they saw."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from dataclasses import dataclass
from random import Random

PATIENCE = 15.0
NO_ANSWER, HANGS = 0, -1


@dataclass(frozen=True, slots=True)
class Seen:
    """One request and its answer. `status` is `NO_ANSWER` where the connection broke and `HANGS` where nothing came."""

    target: str
    sent: str
    began: float
    ended: float
    status: int
    tag: str = ""
    digest: str = ""
    retry_after: str = ""

    @property
    def ready(self) -> bool:
        return self.status == 200 or (self.status == 304 and not self.tag.startswith("W/"))

    @property
    def pending(self) -> bool:
        return self.status == 202 or (self.status == 304 and self.tag.startswith("W/"))


async def request(port: int, target: str, tag: str, accepted: str = "") -> tuple[int, dict[str, str], bytes]:
    """One GET on a connection of its own, for the bytes in one of the `accepted` codings.

    Raises:
        OSError: there was no connection, or it broke before the answer was whole.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        condition = f"If-None-Match: {tag}\r\n" if tag else ""
        coding = f"Accept-Encoding: {accepted}\r\n" if accepted else ""
        fields = f"Host: localhost\r\nConnection: close\r\n{condition}{coding}"
        writer.write(f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        given = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        status = int(head[0].split()[1])
        body = b"" if status == 304 else await reader.readexactly(int(given["content-length"]))
        return status, given, gzip.decompress(body) if given.get("content-encoding") == "gzip" else body
    except asyncio.IncompleteReadError as broken:
        raise ConnectionError("the answer is not whole") from broken
    finally:
        writer.close()


class Client:
    """Asks one service, and keeps the tags that it was given."""

    def __init__(self, port: int, history: list[Seen], accepted: str = "") -> None:
        self.port = port
        self.history = history
        self.accepted = accepted

    async def ask(self, target: str, tag: str = "") -> Seen:
        """One request; what was seen goes to the history, whatever it was."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                status, fields, body = await request(self.port, target, tag, self.accepted)
        except TimeoutError:
            seen = Seen(target, tag, began, time.monotonic(), HANGS)
        except OSError:
            seen = Seen(target, tag, began, time.monotonic(), NO_ANSWER)
        else:
            digest = hashlib.sha256(body).hexdigest() if status == 200 else ""
            given = fields.get("etag", ""), digest, fields.get("retry-after", "")
            seen = Seen(target, tag, began, time.monotonic(), status, *given)
        self.history.append(seen)
        return seen

    async def converse(self, target: str, random: Random, seconds: float) -> Seen:
        """Ask until something else than 202, the pending 304 and a broken connection comes, with the last tag.

        Where nothing answers, or in place of a Retry-After of a second, it waits a fraction of that;
        after these seconds it gives up.
        """
        tag, deadline = "", time.monotonic() + seconds
        while True:
            seen = await self.ask(target, tag)
            if (not seen.pending and seen.status != NO_ANSWER) or time.monotonic() > deadline:
                return seen
            tag = seen.tag or tag
            await asyncio.sleep(random.uniform(0.02, 0.25))
