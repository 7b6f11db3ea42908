"""The import contracts of pyproject.toml report what they forbid, so that their silence means something."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


# All that do not hide one another, planted together.
APART = [
    ("core/lifecycle.py", "import time", "etagere.core is not allowed to import time"),
    ("core/lifecycle.py", "import pydantic", "etagere.core is not allowed to import pydantic"),
    ("worker.py", "import etagere.service", "etagere.worker is not allowed to import etagere.service"),
    ("runs/memory.py", "import etagere.caches.sqlite", "etagere.runs is not allowed to import etagere.caches"),
    ("stray.py", "", "- etagere.stray"),
]
# These lead to much else, and would be a way to what the others forbid.
LEADING = [
    ("core/etag.py", "import etagere.config", "etagere.core is not allowed to import etagere.config"),
    ("service.py", "import etagere.caches.sqlite", "etagere.service -> etagere.caches.sqlite"),
]
PLANTED = {"apart": APART, "leading": LEADING, "nothing": []}


def planted(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What lint-imports says of a copy of the package with these violations."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for module, line, _ in PLANTED[name]:
        with (folder / "src" / "etagere" / module).open("a") as source:
            source.write(f"\n{line}\n")
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    return {name: planted(name, tmp_path_factory.mktemp(name)) for name in PLANTED}


@pytest.mark.parametrize(("name", "contract"), [(name, row[2]) for name, rows in PLANTED.items() for row in rows])
def test_a_planted_violation_is_reported(
    reported: dict[str, subprocess.CompletedProcess[str]], name: str, contract: str
) -> None:
    assert reported[name].returncode == 1
    assert contract in reported[name].stdout


def test_the_package_itself_keeps_its_contracts(reported: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert reported["nothing"].returncode == 0, reported["nothing"].stdout
    assert not any(contract in reported["nothing"].stdout for rows in PLANTED.values() for _, _, contract in rows)
