"""The lock: everything that the project asks for, by hash, from no particular place."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
ASKED = {
    "dev": [
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["dependencies"],
        *(line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra),
        *(line for name, group in GROUPS.items() if name != "judges" for line in group),
    ],
    "judges": GROUPS["judges"],
}
LOCKS = {name: (ROOT / "requirements" / f"{name}.txt").read_text() for name in ASKED}
pytestmark = pytest.mark.parametrize("name", ASKED)


def entries(name: str) -> list[str]:
    return [entry for entry in re.split(r"\n(?=\w)", LOCKS[name]) if not entry.startswith("#")]


def test_everything_asked_for_is_locked_at_a_version_that_will_do(name: str) -> None:
    versions: dict[str, list[str]] = {}
    for locked in (Requirement(re.split(r"\s*\\?\n", entry)[0]) for entry in entries(name)):
        (pin,) = locked.specifier
        assert pin.operator == "=="
        versions.setdefault(canonicalize_name(locked.name), []).append(pin.version)
    for requirement in map(Requirement, ASKED[name]):
        found = versions.get(canonicalize_name(requirement.name), [])
        assert found, f"{requirement.name} is not locked; run scripts/lock"
        assert all(version in requirement.specifier for version in found), requirement


def test_every_locked_version_has_its_hashes(name: str) -> None:
    assert len(entries(name)) > 40
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries(name))


def test_the_lock_names_no_index_and_no_place_on_a_machine(name: str) -> None:
    assert not re.search(r"://|--(extra-)?index-url|--find-links|(^|[\s@])/\w", LOCKS[name], re.MULTILINE)
