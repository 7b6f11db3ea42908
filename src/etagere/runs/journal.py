"""The rows of the `run` table; each function is an action of the database's writer."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import apsw

from etagere.core.lifecycle import Run, State
from etagere.errors import InternalError


def check_collision(id: str, stored: str, given: str) -> None:
    """Two canonical URIs of one id would share a result.

    Raises:
        InternalError: they differ.
    """
    if stored != given:
        raise InternalError(f"Two canonical URIs have the id {id}.")


def insert(connection: apsw.Connection, run: Run, uri: str, whole: float | None = None) -> None:
    """Record a new run, and `whole` of its client's quota."""
    if whole is not None:
        connection.execute("INSERT OR REPLACE INTO quota (client, whole) VALUES (?, ?)", (run.client, whole))
    row = connection.execute("SELECT uri FROM run WHERE id = ?", (run.id,)).fetchone()
    if row is not None:
        check_collision(run.id, row[0], uri)
    # A row that is there already is of a run whose end could not be journalled.
    connection.execute(
        "INSERT OR REPLACE INTO run"
        " (id, model, queue, created, client, urgency, trace, state, attempt, crashes, losses, delay, uri)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*_identity(run), run.state, run.attempt, run.crashes, run.losses, run.delay, uri),
    )


def save(connection: apsw.Connection, run: Run) -> None:
    """Record what a run has become; one that has ended is forgotten."""
    if run.ended:
        connection.execute("DELETE FROM run WHERE id = ?", (run.id,))
        return
    connection.execute(
        "UPDATE run SET state = ?, attempt = ?, crashes = ?, losses = ?, delay = ?, started = ? WHERE id = ?",
        (run.state, run.attempt, run.crashes, run.losses, run.delay, run.started, run.id),
    )


def forget_answered(connection: apsw.Connection, now: float) -> None:
    """Forget the runs that a crash has left although their end is in the cache: clients may have seen it."""
    connection.execute(
        "DELETE FROM run WHERE id IN"
        " (SELECT id FROM representation UNION ALL SELECT id FROM failure WHERE expires > ?)",
        (now,),
    )


def quotas(connection: apsw.Connection, now: float) -> list[tuple[str, float]]:
    """What is recorded of quotas; of clients that have theirs back, nothing is from now on."""
    connection.execute("DELETE FROM quota WHERE whole <= ?", (now,))
    rows: Any = connection.execute("SELECT client, whole FROM quota")
    return list(rows)


def select(connection: apsw.Connection) -> list[tuple[Run, int, bool]]:
    """All runs in the order of submission, the bytes of each URI, and whether its outcome waits for the collector."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT id, model, queue, created, client, urgency, trace, state, attempt, crashes, losses, delay, started,"
        " substr(uri, 1, instr(uri, '/') - 1), octet_length(uri),"
        " EXISTS (SELECT 1 FROM outcome WHERE outcome.id = run.id) FROM run ORDER BY rowid"
    ).fetchall()
    return [(_run(*columns), size, bool(delivered)) for *columns, size, delivered in rows]


def _identity(run: Run) -> tuple[str, str, str, float, str, int, str]:
    return run.id, run.model, run.queue, run.created, run.client, run.urgency, run.trace


def _run(
    id: str, model: str, queue: str, created: float, client: str, urgency: int, trace: str, state: str, *rest: Any
) -> Run:
    # Interned: ten thousand runs of a model share its name.
    *counts, tenant = rest
    run = Run(id, sys.intern(model), sys.intern(queue), created, State(state), *counts)
    return replace(run, client=sys.intern(client), urgency=urgency, trace=trace, tenant=sys.intern(unquote(tenant)))
