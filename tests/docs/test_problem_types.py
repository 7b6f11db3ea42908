"""The tables of docs/conversation.md and the pages of the problem types say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from etagere.asgi.problem_types import ProblemType, problem_types

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conversation.md"
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]


@pytest.mark.parametrize("kind", problem_types().values(), ids=lambda kind: kind.name)
def test_every_problem_type_stands_beside_its_status(kind: ProblemType) -> None:
    rows = [row for row in ROWS if f"`{kind.name}`" in row and re.search(r"\b[45]\d\d\b", row)]
    assert rows, f"{kind.name} stands in no table"
    assert any(re.search(rf"\b{kind.status}\b", row) for row in rows), rows


def test_every_row_of_a_status_names_problem_types_that_there_are() -> None:
    known = set(problem_types())
    for row in ROWS:
        statuses, types = [cell.strip() for cell in row.split("|")[1:3]]
        if re.fullmatch(r"[45]\d\d(?:, [45]\d\d)*", statuses):
            named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", types))
            assert named <= known
            assert {kind.status for kind in problem_types().values() if kind.name in named} == {
                int(status) for status in statuses.split(", ")
            }


@pytest.mark.parametrize("kind", problem_types().values(), ids=lambda kind: kind.name)
def test_a_page_says_what_it_means_and_what_to_do(kind: ProblemType) -> None:
    for text in (kind.title, kind.meaning, kind.advice):
        assert len(text) > 10
    assert kind.meaning.endswith(".")
    assert kind.advice.endswith(".")
