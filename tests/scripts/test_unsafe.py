"""bandit, as scripts/test calls it, reports what is unsafe, so that its silence means something."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALL = re.search(r"^bandit (.*) src$", (ROOT / "scripts" / "test").read_text(), re.MULTILINE)
PLANTED = {
    "B301": "import pickle\npickle.loads(b'')\n",
    "B307": "eval('1')\n",
    "B506": "import yaml\nyaml.load('', yaml.Loader)\n",
    "B602": "import subprocess\nsubprocess.run('true', shell=True)\n",
    "B605": "import os\nos.system('true')\n",
    "B608": "def total(connection, column):\n    return connection.execute(f'SELECT {column} FROM total')\n",
}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What it says of a folder with one fault in each file."""
    folder = tmp_path_factory.mktemp("unsafe")
    for name, source in PLANTED.items():
        (folder / f"{name.lower()}.py").write_text(source)
    assert CALL is not None
    command = [Path(sys.executable).with_name("bandit"), *CALL[1].split(), folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_reported(reported: str, name: str) -> None:
    assert re.search(rf"Issue: \[{name}:.*\n(.*\n)*?   Location: .*/{name.lower()}\.py:", reported)
