"""The configurations in docs/caches.md are those of deploy/, which scripts/judges runs."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "caches.md").read_text()


CONFIGURATIONS = [file for file in sorted((ROOT / "deploy").iterdir()) if file.suffix in (".conf", ".vcl")]


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.name)
def test_a_configuration_is_shown_as_it_is(file: Path) -> None:
    assert f"\n{file.read_text()}```\n" in PAGE
