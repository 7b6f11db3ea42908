"""Models that tell which trace they find themselves in, and how they end. `gated` waits at its gate, a FIFO."""

from __future__ import annotations

import os

from pydantic import BaseModel

import etagere

app = etagere.Etagere()


class Number(BaseModel):
    """What a command is given."""

    x: int = 0


def seen() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in ("TRACEPARENT", "TRACESTATE")}


@app.model(version="1")
def forked(x: int = 0) -> dict[str, str | None]:
    return seen()


@app.model(version="1", fresh=True)
def renewed(x: int = 0) -> dict[str, str | None]:
    return seen()


app.command(
    "executed",
    ["sh", "-c", """printf '{"TRACEPARENT":"%s"}' "$TRACEPARENT" """],
    parameters=Number,
    version="1",
    media_type="application/json",
)


@app.model(version="1")
def refusing(x: int = 0) -> None:
    raise etagere.Refused("not today")


@app.model(version="1")
def failing(x: int = 0) -> None:
    raise ValueError("secret of the owner")


@app.model(version="1")
def gated(gate: str) -> str:
    with open(os.path.join(os.environ["GATES"], gate)) as opened:
        opened.read()
    return gate
