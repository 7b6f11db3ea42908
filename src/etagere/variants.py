"""Representations in the format and content coding that a request asks for, made once from the primary one."""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from etagere import contents
from etagere.core.media import IDENTITY, Format
from etagere.core.representation import INLINE_BYTES, Representation
from etagere.errors import NotAcceptable, StorageFull
from etagere.flights import Flights
from etagere.formats import codings as content_codings
from etagere.formats.columns import NotTabular
from etagere.formats.convert import NO_ROOM_ERRORS
from etagere.formats.converter import Converter, can_convert
from etagere.ports import Variants

LEAST_CODED = 1024
"""So few bytes are not worth a coding."""

AT_ONCE = 2
"""So many are made at once; large ones, which take long, do not keep small ones waiting."""

_REMEMBERED = 1024

Write = Callable[[Path], Awaitable[None]]


class Deriver:
    """Makes variants outside the event loop, and keeps them in the cache.

    `directory` is where they are made; what is there is removed. No variant has more than `largest` bytes.
    """

    def __init__(self, variants: Variants, converter: Converter, directory: Path, largest: int) -> None:
        self._variants = variants
        self._converter = converter
        self._directory = directory.absolute()
        self._largest = largest
        self._making: Flights[str, Representation | None] = Flights()
        self._places = {large: asyncio.Semaphore(AT_ONCE) for large in (False, True)}
        # Why there is no such variant of these bytes; looking again would find the same.
        self._without: OrderedDict[tuple[str, bytes], str] = OrderedDict()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(0o700, parents=True)

    async def derive(self, primary: Representation, format: Format, codings: tuple[str, ...]) -> Representation:
        """The result in this format, in the first of these content codings that is worth it; with none, uncoded.

        Raises:
            NotAcceptable: the result is no table, and the format is one for tables; or it becomes too large.
            Evicted: the primary representation was evicted meanwhile.
            FileNotFoundError: its bytes are lost, or the variant is, and cannot be made from it.
            StorageFull: there is no room for it.
        """
        plain = primary if format.name == primary.format else await self._converted(primary, format)
        for coding in codings:
            if coding == IDENTITY or (plain.size < LEAST_CODED and IDENTITY in codings):
                break
            coded = await self._coded(primary, plain, coding, needed=IDENTITY not in codings)
            if coded is not None:
                return coded
        return plain

    def close(self) -> None:
        """End what is under way."""
        self._converter.close()

    async def _converted(self, primary: Representation, format: Format) -> Representation:
        like = replace(primary, format=format.name, media_type=format.media_type, derived=True)
        found = self._variants.variant(primary.id, like.name)
        if found is not None:
            return found
        if not can_convert(primary.format, format.name):
            raise FileNotFoundError(f"{like.key} is lost, and is written by runs alone")
        if (reason := self._without.get((like.key, primary.digest))) is None:
            convert = partial(self._convert, primary, format)
            found = await self._making.join(like.key, partial(self._make, primary, like, convert))
            reason = self._without.get((like.key, primary.digest), "")
        if found is None:
            given = [{"name": primary.format, "media_type": primary.media_type}]
            raise NotAcceptable(f"It cannot be given as {format.name}: {reason}.", formats=given)
        return found

    async def _coded(
        self, primary: Representation, plain: Representation, coding: str, *, needed: bool
    ) -> Representation | None:
        """The coded variant; None where it would not be smaller, unless it is `needed` all the same."""
        like = replace(plain, coding=coding, derived=True)
        found = self._variants.variant(plain.id, like.name)
        if found is not None or ((like.key, plain.digest) in self._without and not needed):
            return found
        code = partial(self._code, plain, coding)
        most = self._largest if needed else plain.size - 1
        return await self._making.join(like.key, partial(self._make, primary, like, code, most))

    async def _make(
        self, primary: Representation, like: Representation, write: Write, most: int | None = None
    ) -> Representation | None:
        source_digest = like.digest
        target = self._directory / like.key
        async with self._places[like.size > INLINE_BYTES]:
            try:
                await write(target)
                found = await asyncio.to_thread(contents.read, target, self._largest)
                if most is not None and found.size > most:
                    raise ValueError("a coding that makes it no smaller")
                made = replace(like, digest=found.digest, size=found.size, body=found.body, path=target, mtime_ns=0)
                made = replace(made, path=None) if made.body is not None else made
                return await self._variants.put_variant(primary, made)
            except (NotTabular, ValueError) as reason:
                self._remember((like.key, source_digest), str(reason))
                return None
            except OSError as error:
                if error.errno not in NO_ROOM_ERRORS:
                    raise
                raise StorageFull("There is no room for this format of the result at the moment.") from error
            finally:
                await asyncio.to_thread(target.unlink, missing_ok=True)

    async def _convert(self, primary: Representation, format: Format, target: Path) -> None:
        source = await self._variants.file(primary)
        if source is not None:
            await self._converter.convert(primary.format, source, format.name, target)
            return
        source = target.with_name(f"{target.name}.source")
        try:
            await asyncio.to_thread(source.write_bytes, primary.body or b"")
            await self._converter.convert(primary.format, source, format.name, target)
        finally:
            await asyncio.to_thread(source.unlink, missing_ok=True)

    async def _code(self, plain: Representation, coding: str, target: Path) -> None:
        source = await self._variants.file(plain) or plain.body or b""
        await asyncio.to_thread(content_codings.write, coding, source, target)

    def _remember(self, key: tuple[str, bytes], reason: str) -> None:
        self._without[key] = reason
        if len(self._without) > _REMEMBERED:
            self._without.popitem(last=False)
