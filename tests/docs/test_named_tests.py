"""Tests that the documents name are there, and each claim about security names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
NAMED = re.compile(r"`([\w/.]+\.py)::(\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_test_that_is_named_is_there(page: Path) -> None:
    named = NAMED.findall(page.read_text())
    sources = {file: (ROOT / file).read_text() for file, _ in named if (ROOT / file).exists()}
    assert [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^ *(async )?def {name}\(", sources.get(file, ""), re.MULTILINE)
    ] == []


def test_each_claim_about_security_names_what_tries_to_break_it() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    claims = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| claim")]
    assert len(claims) > 20
    assert [claim for claim in claims if not NAMED.search(claim) and "`benchmarks/" not in claim] == []
