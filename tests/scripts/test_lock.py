"""The lock: everything that the project asks for, by hash, from no particular place."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

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
    "run": PROJECT["project"]["dependencies"],
    "cluster": [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["cluster"]],
    "build": [*PROJECT["build-system"]["requires"], *GROUPS["build"]],
}
# What older versions do, wherever they are locked.
TOO_OLD = {
    "apsw": ("3.51.3", "SQLite loses what was committed when two connections write and checkpoint at once"),
    "httptools": ("0.8", "a request target over 64 KiB is cut short without an error"),
    "urllib3": ("2.7", "CVE-2025-66471, CVE-2026-44432: a small answer is unpacked without a bound"),
}
LOCKS = {name: (ROOT / "requirements" / f"{name}.txt").read_text() for name in ASKED}
pytestmark = pytest.mark.parametrize("name", ASKED)


def entries(name: str) -> list[str]:
    return [entry for entry in re.split(r"\n(?=\w)", LOCKS[name]) if not entry.startswith("#")]


def pins(name: str) -> dict[str, list[str]]:
    """The versions at which each project is locked: several where they differ between versions of Python."""
    versions: dict[str, list[str]] = {}
    for locked in (Requirement(re.split(r"\s*\\?\n", entry)[0]) for entry in entries(name)):
        (pin,) = locked.specifier
        assert pin.operator == "=="
        versions.setdefault(canonicalize_name(locked.name), []).append(pin.version)
    return versions


def test_everything_asked_for_is_locked_at_a_version_that_will_do(name: str) -> None:
    versions = pins(name)
    for requirement in map(Requirement, ASKED[name]):
        found = versions.get(canonicalize_name(requirement.name), [])
        assert found, f"{requirement.name} is not locked; run scripts/lock"
        assert all(version in requirement.specifier for version in found), requirement


def test_every_locked_version_has_its_hashes(name: str) -> None:
    assert len(entries(name)) == len(re.findall(r"^[\w.-]+==", LOCKS[name], re.MULTILINE)) > 4
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries(name))


def test_the_lock_names_no_index_and_no_place_on_a_machine(name: str) -> None:
    assert not re.search(r"://|--(extra-)?index-url|--find-links|(^|[\s@])/\w", LOCKS[name], re.MULTILINE)


def test_no_locked_version_is_one_that_is_known_to_be_bad(name: str) -> None:
    old = {
        project: [version for version in pins(name).get(project, []) if Version(version) < Version(least)]
        for project, (least, _) in TOO_OLD.items()
    }
    assert not any(old.values()), {project: (old[project], TOO_OLD[project][1]) for project in old if old[project]}


def test_what_a_service_is_installed_from_is_what_was_tested(name: str) -> None:
    tested = pins("dev")
    if name != "judges":
        assert {project: versions for project, versions in pins(name).items() if tested.get(project) != versions} == {}
