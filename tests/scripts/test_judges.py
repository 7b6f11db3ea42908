"""What can be said of the judges without them."""

import subprocess
import sys
from pathlib import Path

BROWSER = Path(__file__).parents[2] / "judges" / "browser.py"


def test_a_check_of_the_browser_that_there_is_not() -> None:
    done = subprocess.run([sys.executable, BROWSER, "no_such"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "")
    assert "no check has no_such in its name" in done.stdout
    assert "  it_works_without_script\n" in done.stdout
