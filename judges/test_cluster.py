"""What schemas of Compose and Kubernetes say of the files in deploy/."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE = (DEPLOY / "cluster" / "compose.yaml").read_text()
# KEDA's objects are its own, and in nobody else's schema.
FILES = [file for file in sorted((DEPLOY / "kubernetes").rglob("*.yaml")) if "keda.sh" not in file.read_text()]
COMPOSED = "import sys, compose_spec; compose_spec.PyCompose.from_json(sys.stdin.read()).validate()"


def composed(judges_bin: Path, text: str) -> tuple[int, str]:
    """The exit status of compose-spec, and what it says."""
    command = [judges_bin / "python", "-c", COMPOSED]
    given = json.dumps(yaml.safe_load(text))
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def validated(judges_bin: Path, file: Path) -> tuple[int, str]:
    """The exit status of kubernetes-validate, and what it says."""
    command = [judges_bin / "kubernetes-validate", "--strict", "--quiet", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_compose_has_nothing_to_say_against_it(judges_bin: Path) -> None:
    assert composed(judges_bin, COMPOSE) == (0, "")


def test_compose_would_say_something(judges_bin: Path) -> None:
    status, said = composed(judges_bin, COMPOSE.replace("mem_limit:", "memlimit:"))
    assert (status, "memlimit" in said) == (1, True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_kubernetes_has_nothing_to_say_against_it(judges_bin: Path, file: Path) -> None:
    assert validated(judges_bin, file) == (0, "")


def test_kubernetes_would_say_something(judges_bin: Path, tmp_path: Path) -> None:
    planted = tmp_path / "nodes.yaml"
    text = (DEPLOY / "kubernetes" / "nodes.yaml").read_text()
    planted.write_text(text.replace("readinessProbe:", "readyProbe:"))
    status, said = validated(judges_bin, planted)
    assert (status, "readyProbe" in said) == (1, True)
