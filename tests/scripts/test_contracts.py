"""The import contracts of pyproject.toml report what they forbid, so that their silence means something."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(copy: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("module", "planted", "contract"),
    [
        ("core/lifecycle.py", "import time", "etagere.core is not allowed to import time"),
        ("core/lifecycle.py", "import pydantic", "etagere.core is not allowed to import pydantic"),
        ("core/etag.py", "import etagere.config", "etagere.core is not allowed to import etagere.config"),
        ("worker.py", "import etagere.service", "etagere.worker is not allowed to import etagere.service"),
        ("service.py", "import etagere.caches.sqlite", "etagere.service -> etagere.caches.sqlite"),
        ("runs/memory.py", "import etagere.caches.sqlite", "etagere.runs is not allowed to import etagere.caches"),
        ("stray.py", "", "- etagere.stray"),
    ],
)
def test_a_planted_violation_is_reported(copy: Path, module: str, planted: str, contract: str) -> None:
    with (copy / "src" / "etagere" / module).open("a") as source:
        source.write(f"\n{planted}\n")
    done = lint(copy)
    assert done.returncode == 1
    assert contract in done.stdout


def test_the_package_itself_keeps_its_contracts(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
