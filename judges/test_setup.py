"""scripts/setup in a checkout of its own, whose lock and whose build need nothing from elsewhere."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"

BACKEND = """
import base64, hashlib, pathlib, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    info = "sample-1.dist-info/"
    files = {
        "sample.pth": str(pathlib.Path.cwd()),
        info + "METADATA": "Metadata-Version: 2.1\\nName: sample\\nVersion: 1\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    name = "sample-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(info + "RECORD", "".join(f"{path},,\\n" for path in [*files, info + "RECORD"]))
    return name
"""

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "sample"
version = "1"
"""


def checkout(folder: Path) -> Path:
    (folder / "requirements").mkdir(parents=True)
    (folder / "scripts").mkdir()
    (folder / "requirements" / "dev.txt").write_text("")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "sample.py").write_text("")
    shutil.copy(SCRIPTS / "setup", folder / "scripts")
    return folder


def start(root: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["/bin/sh", root / "scripts" / "setup"],
        cwd="/",
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def setup(root: Path, **environment: str) -> tuple[int, str, str]:
    process = start(root, **environment)
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def works(root: Path) -> bool:
    return subprocess.run([root / ".venv" / "bin" / "python", "-c", "import sample"], cwd="/").returncode == 0


def stamps(root: Path) -> dict[str, int]:
    return {name: (root / ".venv" / name).stat().st_mtime_ns for name in (".dependencies", ".project")}


def wheel(folder: Path, name: str, version: str, *metadata: str) -> str:
    """A distribution without anything in it; the line that locks it."""
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info/"
    files = {
        info + "METADATA": "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata]),
        info + "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(info + "RECORD", "".join(f"{file},,\n" for file in [*files, info + "RECORD"]))
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def installed(root: Path) -> set[str]:
    return {path.name for path in (root / ".venv").glob("lib/*/site-packages/*-*.dist-info")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = checkout(tmp_path_factory.mktemp("scripts") / "a check out")
    status, out, err = setup(root)
    assert (status, out) == (0, ""), err
    yield root
    shutil.rmtree(root)


def test_the_first_start_installs_the_project(made: Path) -> None:
    assert works(made)


def test_a_second_start_does_nothing_and_takes_no_time(made: Path) -> None:
    before, begun = stamps(made), time.monotonic()
    assert setup(made) == (0, "", "")
    assert time.monotonic() - begun < 2
    assert stamps(made) == before


def test_a_change_of_the_project_does_not_install_the_dependencies_again(made: Path) -> None:
    before = stamps(made)
    with (made / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    assert setup(made)[0] == 0
    after = stamps(made)
    assert after[".dependencies"] == before[".dependencies"]
    assert after[".project"] > before[".project"]


def test_a_changed_lock_makes_everything_anew_as_it_says(made: Path, tmp_path: Path) -> None:
    """Also where what is locked asks for an extra of something that the index has in a newer version."""
    stray = made / ".venv" / "stray"
    stray.touch()
    alpha = wheel(tmp_path, "alpha", "1", "Requires-Dist: beta[extra] >=1")
    beta, _ = (wheel(tmp_path, "beta", version, "Provides-Extra: extra") for version in ("1", "2"))
    (made / "requirements" / "dev.txt").write_text(alpha + beta)
    status, _, err = setup(made, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert status == 0, err
    assert works(made)
    assert {"alpha-1.dist-info", "beta-1.dist-info"} <= installed(made)
    assert "beta-2.dist-info" not in installed(made)
    assert not stray.exists()


def test_a_moved_checkout_is_made_anew(made: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(made, moved, symlinks=True)
    (moved / "requirements" / "dev.txt").write_text("")
    assert setup(moved)[0] == 0
    assert str(moved) in (moved / ".venv" / "bin" / "pip").read_text()
    assert works(moved)


def test_an_interrupted_and_a_failed_setup_heal(tmp_path: Path) -> None:
    root = checkout(tmp_path / "interrupted")
    process = start(root)
    deadline = time.monotonic() + 30
    while not (root / ".venv" / "bin" / "python").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (root / ".venv" / ".dependencies").exists()

    lock = root / "requirements" / "dev.txt"
    lock.write_text(f"sample @ {(root / 'missing.whl').as_uri()}\n")
    status, _, err = setup(root)
    assert status == 1
    assert err.endswith("setup: The dependencies could not be installed.\n")
    assert not (root / ".venv" / ".dependencies").exists()

    lock.write_text("")
    assert setup(root)[0] == 0
    assert works(root)


def path_with(folder: Path, python: str | None) -> str:
    """A PATH with what the script needs of the system, and this text as its python3, if any."""
    folder.mkdir()
    for tool in ("dirname", "cksum", "cat", "rm", "mv"):
        (folder / tool).symlink_to(shutil.which(tool))
    if python is not None:
        (folder / "python3").write_text(python)
        (folder / "python3").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("python", [None, "#!/bin/sh\nexit 1\n"], ids=["none", "too old"])
def test_a_missing_python_is_named(tmp_path: Path, python: str | None) -> None:
    status, out, err = setup(checkout(tmp_path / "root"), PATH=path_with(tmp_path / "bin", python))
    assert (status, out) == (2, "")
    assert err == "setup: Python 3.11 or newer is needed, and none is on the PATH.\n"


def test_a_missing_venv_module_is_named(tmp_path: Path) -> None:
    python = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"\n'
    status, out, err = setup(checkout(tmp_path / "root"), PATH=path_with(tmp_path / "bin", python))
    assert (status, out) == (2, "")
    assert err.startswith(f"setup: {tmp_path}/bin/python3 lacks its venv or ensurepip module")
    assert err.count("\n") == 1
