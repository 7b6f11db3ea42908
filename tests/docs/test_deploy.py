"""What deploy/ has is shown or told in the documents, which scripts/judges and tests/deploy hold to it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


@pytest.mark.parametrize("name", ["default.vcl", "nginx.conf", "squid.conf"])
def test_a_cache_s_configuration_is_shown_as_it_is(name: str) -> None:
    assert f"\n{(DEPLOY / name).read_text()}```\n" in (ROOT / "docs" / "caches.md").read_text()


@pytest.mark.parametrize("file", sorted(filter(Path.is_file, DEPLOY.rglob("*"))), ids=lambda file: file.name)
def test_each_file_is_told_of(file: Path) -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert f"\n{file.read_text()}```\n" in pages or f"(../deploy/{file.relative_to(DEPLOY)})" in pages
