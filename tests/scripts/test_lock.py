"""The lock: everything that the project asks for, by hash, from no particular place."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements" / "dev.txt").read_text()
LOCKED = [
    Requirement(re.split(r"\s*\\?\n", entry)[0]) for entry in re.split(r"\n(?=\w)", LOCK) if not entry.startswith("#")
]


def test_everything_asked_for_is_locked_at_a_version_that_will_do() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in project["dependency-groups"].values() for line in group),
    ]
    versions: dict[str, list[str]] = {}
    for locked in LOCKED:
        (pin,) = locked.specifier
        assert pin.operator == "=="
        versions.setdefault(canonicalize_name(locked.name), []).append(pin.version)
    for requirement in map(Requirement, asked):
        found = versions.get(canonicalize_name(requirement.name), [])
        assert found, f"{requirement.name} is not locked; run scripts/lock"
        assert all(version in requirement.specifier for version in found), requirement


def test_every_locked_version_has_its_hashes() -> None:
    entries = [entry for entry in re.split(r"\n(?=\w)", LOCK) if not entry.startswith("#")]
    assert len(entries) > 40
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)


def test_the_lock_names_no_index_and_no_place_on_a_machine() -> None:
    assert not re.search(r"://|--(extra-)?index-url|--find-links|(^|[\s@])/\w", LOCK, re.MULTILINE)
