"""Valkey or Redis, which many machines share: scripts and commands in their order, and what is published."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as Late

from etagere.errors import InternalError, StartError, StorageFull, StoreAway, StoreLost
from etagere.logs import get_logger, without_password

TIMEOUT_S = 3.0
CONNECT_S = 2.0
RETRY_AFTER_S = 2
AT_ONCE = 200
OLDEST = (6, 2)

_AWAY = (Disconnected, Late, BusyLoadingError, ReadOnlyError, OSError)
_OF_NO_USE = ("READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOPERM")
"""What a server says that is there and does nothing for us: as good as one that is away."""
_COMMON = "common"
_EXPECTED = ("BUSYGROUP", "NOGROUP", "COLLISION")
_STORE = re.compile(r"rediss?://[^/]*(/\d*)?([?#]|$)|unix://")

log = get_logger("etagere.store")

Times = Callable[[], tuple[str, str]]
"""What scripts are told of the time: the date, and seconds that never jump; empty for the server's own."""


def server_times() -> tuple[str, str]:
    """The server's own time."""
    return "", ""


class Script(NamedTuple):
    """A script as it is sent, and its SHA-1, by which it is called."""

    text: bytes
    sha: str


class _Sent(NamedTuple):
    """A command on its way, the script that it is to execute if it is to, and what will be its reply."""

    command: tuple[Any, ...]
    script: Script | None
    reply: asyncio.Future[Any]


def read_scripts(package: str) -> Mapping[str, Script]:
    """The scripts in the folder `lua` of a package, each with `common.lua` in front where there is one."""
    found = {file.name.removesuffix(".lua"): file.read_bytes() for file in files(package).joinpath("lua").iterdir()}
    common = found.pop(_COMMON, b"")
    texts = {name: common + b"\n" + text for name, text in found.items()}
    return {name: Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest()) for name, text in texts.items()}


class Valkey:
    """A connection on which commands are executed in the order in which they were given, many in one go.

    Keys and channels begin with `{namespace}:`, so that all are in one slot. `times` is for tests.
    """

    def __init__(self, url: str, namespace: str, times: Times = server_times) -> None:
        self.prefix = f"{{{namespace}}}:"
        self.shown = without_password(url)
        self.times = times
        self._redis = _client(url, self.shown)
        self._waiting: list[_Sent] = []
        self._sending: asyncio.Task[None] | None = None
        # Of our own: to go by the client's pipelines costs twice as much.
        self._connection: AbstractConnection | None = None

    async def open(self) -> None:
        """See that the server is there and can keep runs.

        Raises:
            StoreAway: it cannot be reached now.
            StartError: it refuses, is too old, or may evict what it must not.
        """
        try:
            info = await self._redis.info("server")
            policy = (await self._redis.info("memory")).get("maxmemory_policy", "noeviction")
        except AuthenticationError as error:
            raise StartError(f"The store {self.shown} refuses these credentials: {error}") from error
        except ResponseError as error:
            raise StartError(f"The store {self.shown} refuses what it is asked: {error}") from error
        except (RedisError, OSError) as error:
            raise StoreAway(f"The store {self.shown} cannot be reached: {error}") from error
        version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
        if version < OLDEST:
            raise StartError(f"The store {self.shown} is Redis {info['redis_version']}; it must be 6.2 or newer.")
        if str(policy).startswith("allkeys"):
            raise StartError(
                f"The store {self.shown} has maxmemory-policy {policy} and may evict runs that are pending: "
                "set it to noeviction or volatile-lru."
            )

    async def about(self) -> Mapping[str, str]:
        """What the server says of itself, as INFO has it; and its setting `save`, where that may be asked for.

        Raises:
            StartError: it refuses.
            StoreAway: it cannot be reached now.
        """
        try:
            told = {str(name): str(value) for name, value in (await self._redis.info()).items()}
            with suppress(ResponseError):
                told["save"] = str((await self._redis.config_get("save"))["save"])
        except ResponseError as error:
            raise StartError(f"The store {self.shown} refuses what it is asked: {error}") from error
        except (RedisError, OSError) as error:
            raise StoreAway(f"The store {self.shown} cannot be reached: {error}") from error
        return told

    def key(self, name: str) -> str:
        """The key, or channel, of this name."""
        return self.prefix + name

    def script(self, script: Script, *arguments: str | bytes | int | float) -> asyncio.Future[Any]:
        """What a script returns, which is told the prefix of keys, and the times before its arguments.

        The future raises:
            StoreLost: the store cannot be reached; whether it has done it is not known.
            StorageFull: it has no room.
        """
        command = ("EVALSHA", script.sha, 1, self.prefix, *self.times(), *arguments)
        return self._send(command, script)

    def do(self, *command: str | bytes | int | float) -> asyncio.Future[Any]:
        """What a command returns, as it comes: text in bytes, mappings as fields and values in turns.

        The future raises what that of `script` does.
        """
        return self._send(command, None)

    @asynccontextmanager
    async def subscribed(self, *channels: str) -> AsyncIterator[PubSub]:
        """A subscription of channels by their names, on a connection of its own.

        Raises:
            StoreLost: the store cannot be reached.
        """
        subscription = self._redis.pubsub(ignore_subscribe_messages=True)
        try:
            await subscription.subscribe(*map(self.key, channels))
            yield subscription
        except _AWAY as error:
            raise lost(error) from error
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Close all connections."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        for sent in self._waiting:
            sent.reply.cancel()
        if self._connection is not None:
            await self._connection.disconnect()
        await self._redis.aclose()

    def _send(self, command: tuple[Any, ...], script: Script | None) -> asyncio.Future[Any]:
        reply = asyncio.get_running_loop().create_future()
        self._waiting.append(_Sent(command, script, reply))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        return reply

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                replies = await self._execute(batch)
            except _AWAY as error:
                replies = [lost(error)] * len(batch)
            except asyncio.CancelledError:
                for sent in batch:
                    sent.reply.cancel()
                raise
            except Exception as fault:
                # Whatever that is, nobody may wait for ever.
                log.exception("what the store has answered cannot be read")
                replies = [fault] * len(batch)
            for sent, found in zip(batch, replies, strict=True):
                _settle(sent.reply, found)

    async def _execute(self, batch: Sequence[_Sent]) -> list[Any]:
        replies = await self._pipeline([sent.command for sent in batch])
        # A server that was restarted has forgotten its scripts.
        unknown = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            scripts = [(batch[n].command, batch[n].script) for n in unknown]
            again = [("EVAL", script.text, *command[2:]) for command, script in scripts if script is not None]
            for n, reply in zip(unknown, await self._pipeline(again), strict=True):
                replies[n] = reply
        return replies

    async def _pipeline(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        connected = self._connection is not None and self._connection.is_connected
        try:
            return await self._exchange(commands)
        except Disconnected:
            # It was ended meanwhile, which is noticed only now. All that is sent may be done twice.
            if not connected:
                raise
            return await self._exchange(commands)

    async def _exchange(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        if self._connection is None:
            self._connection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            # The client's own makes a task of what is sent.
            self._connection.socket_timeout = None
        connection = self._connection
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await connection.connect()
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [await _reply(connection) for _ in commands]
        except TimeoutError:
            await connection.disconnect(nowait=True)
            raise Late(f"there was no answer in {TIMEOUT_S:g} s") from None
        except BaseException:
            # What of the replies is read and what is not, nobody knows.
            await connection.disconnect(nowait=True)
            raise


def _client(url: str, shown: str) -> Redis:
    """A client that fails at once and as a whole; what is sent again is our own business."""
    # The client's own words may have a part of the password.
    wrong = f"{shown or 'An empty text'} is no store: write redis://HOST:6379/0, or rediss://HOST:6379/0 for TLS."
    if not _STORE.match(url):
        raise StartError(wrong)
    try:
        client: Redis = Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=CONNECT_S, retry=Retry(NoBackoff(), 0), protocol=2
        )
        # Options that there are not are noticed only here.
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError) as error:
        raise StartError(wrong) from error
    return client


async def _reply(connection: AbstractConnection) -> Any:
    """A reply; that a command was refused is one, too."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await connection.read_response()
    except ResponseError as refused:
        return refused


def lost(cause: BaseException) -> StoreLost:
    """What to say where the store cannot be reached."""
    problem = StoreLost("What many machines share cannot be reached at the moment.", retry_after=RETRY_AFTER_S)
    problem.__cause__ = cause
    return problem


def ignore(reply: asyncio.Future[Any]) -> None:
    """Let nobody wait for a reply, nor hear of a store that is away."""
    reply.add_done_callback(lambda done: done.cancelled() or done.exception())


def _refused_with(found: Any, *codes: str) -> bool:
    """Whether a command was refused with one of these; before 7.0 that of a script is in the text of another error."""
    if not isinstance(found, ResponseError):
        return False
    said = str(found)
    return (found.status_code or said.partition(" ")[0]) in codes or any(f"-{code} " in said for code in codes)


def _settle(reply: asyncio.Future[Any], found: Any) -> None:
    if reply.done():
        return
    if isinstance(found, OutOfMemoryError) or _refused_with(found, "OOM"):
        reply.set_exception(StorageFull("The store has no room at the moment."))
    elif isinstance(found, (StoreLost, asyncio.CancelledError)):
        reply.set_exception(found)
    elif isinstance(found, _AWAY) or _refused_with(found, *_OF_NO_USE):
        reply.set_exception(lost(found))
    elif isinstance(found, Exception):
        if not any(known in str(found) for known in _EXPECTED):
            log.error("the store did not understand", reason=str(found))
        error = InternalError("The store did not understand.")
        error.__cause__ = found
        reply.set_exception(error)
    else:
        reply.set_result(found)
