"""The format and content coding that a request is given, chosen before there is a result."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from etagere.asgi.negotiation import Wanted, choose, codings
from etagere.core.media import Format
from etagere.errors import NotAcceptable
from etagere.locator import Address


class Choice(NamedTuple):
    """What a request is given: a page or a result, the format of a result, and the codings to try."""

    wanted: Wanted
    format: Format
    codings: tuple[str, ...] = ()

    def applied(self, address: Address) -> Address:
        """The address with this format and these codings."""
        if self.format.name == address.format and not self.codings:
            return address
        return replace(address, format=self.format.name, media_type=self.format.media_type, codings=self.codings)


def select(accept: bytes | None, accept_encoding: bytes | None, address: Address) -> Choice:
    """What this request takes of what the address has.

    Raises:
        NotAcceptable: there is no such format, or no such coding.
    """
    if accept is None and accept_encoding is None:
        return Choice(Wanted.representation, address.formats[0])
    wanted, format = choose(accept, address.formats)
    if wanted is Wanted.nothing:
        if not address.fixed:
            raise _no_format(address)
        wanted = Wanted.representation
    if accept_encoding is None:
        return Choice(wanted, format)
    coded = codings(accept_encoding, format.media_type)
    if coded is None:
        raise NotAcceptable("The content codings are gzip and zstd, for what is not compressed already.")
    return Choice(wanted, format, coded)


def _no_format(address: Address) -> NotAcceptable:
    given = ", ".join(format.media_type for format in address.formats)
    formats = [{"name": format.name, "media_type": format.media_type} for format in address.formats]
    return NotAcceptable(f"{address.model} is given as {given}.", formats=formats)
