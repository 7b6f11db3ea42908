"""Chromium judges the pages: the form, the page that waits, the result, and what hostile texts may do in them.

Exit status 0 where all is well, 1 where something is not, 2 where no check is called so, 77 where there is no Chromium.
Nothing but Python's own library is needed. `SCREENSHOTS` names a directory for pictures of the pages; `SERVICE_PYTHON`
the interpreter that the service runs in, else it is that of `.venv`, or this one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
# As a package of its own `tests` would lose to one of that name that the judges have brought along.
sys.path.insert(0, str(ROOT / "tests"))

from chromium import Chromium, Tab, chromium  # noqa: E402

from harness import Server  # noqa: E402

SKIPPED = 77
NARROW = 320
LABEL = "a b+c&d'é"
FILL = """(values) => {
  for (const [name, value] of Object.entries(values)) {
    const control = document.querySelector(`[name=${name}]`);
    control.value = value;
    control.dispatchEvent(new Event("input", { bubbles: true }));
  }
}"""


@dataclass
class Judged:
    """What is judged, and with what."""

    browser: Chromium
    pages: Server
    hostile: Server
    gates: Path
    pictures: Path | None

    def tab(self, server: Server, path: str) -> Tab:
        """A new page at a path."""
        tab = self.browser.tab()
        tab.resize(1000)
        tab.go(server.url + path)
        return tab

    def picture(self, tab: Tab, name: str) -> None:
        """A screenshot, where somebody wants to see it."""
        if self.pictures is not None:
            for scheme in ("dark", "light"):
                tab.scheme(scheme)
                tab.screenshot(self.pictures / f"{name}-{scheme}.png")

    def open(self, gate: str) -> None:
        """Let the run at a gate take one step."""
        with (self.gates / gate).open("w"):
            pass


def shows(tab: Tab, selector: str) -> None:
    """Wait until an element can be seen."""
    expression = (
        f"document.readyState === 'complete' && !!document.querySelector({selector!r})?.getClientRects().length"
    )
    tab.until(lambda: tab.evaluate(expression), selector)


def is_clean(tab: Tab, server: Server) -> None:
    """Nothing went wrong, and nothing was asked of anybody else."""
    assert not tab.faults, tab.faults
    elsewhere = [url for url in tab.requested if not url.startswith((server.url + "/", "data:", "about:"))]
    assert not elsewhere, elsewhere


def the_form_shows_its_uri_and_leads_to_the_result(judged: Judged) -> None:
    """What is typed stands in the URI, is sent by a plain GET, and arrives."""
    tab = judged.tab(judged.pages, "/-/models/rod")
    values = {"alpha": "0.4", "label": LABEL, "probes": " [1, 2]", "method": "implicit"}
    tab.evaluate(f"({FILL})({values!r})")
    uri = tab.evaluate("document.getElementById('uri').textContent")
    assert uri.startswith(f"{judged.pages.url}/rod?alpha=0.4&points=101&method=implicit&label="), uri
    assert f"&label={quote(LABEL, safe='~')}&" in uri, uri
    assert "&probes=%5B1%2C%202%5D&" in uri, uri
    assert "start=" not in uri
    assert tab.evaluate("document.getElementById('curl').textContent") == f"curl -i '{uri}'"
    judged.picture(tab, "form")
    tab.evaluate("document.querySelector('form button').click()")
    shows(tab, "figure.chart svg")
    asked = tab.evaluate("location.pathname + location.search")
    assert judged.pages.result(asked).json()["label"] == LABEL
    assert judged.pages.result(asked).etag == judged.pages.result(uri.removeprefix(judged.pages.url)).etag
    judged.picture(tab, "result")
    is_clean(tab, judged.pages)


def inputs_can_be_changed(judged: Judged) -> None:
    """A result leads to the form with its inputs; what the form knows to be wrong is not sent."""
    judged.pages.result("/rod?alpha=0.3&points=7&level=2")
    tab = judged.tab(judged.pages, "/rod?alpha=0.3&points=7&level=2")
    with tab.loading():
        tab.evaluate("document.querySelector('a[href*=\"-/models/\"]').click()")
    read = "['alpha', 'points', 'level'].map((name) => document.querySelector(`[name=${name}]`).value).join()"
    assert tab.evaluate(read) == "0.3,7,2"
    for wrong in ({"points": "2"}, {"alpha": ""}, {"probes": "[1"}):
        tab.evaluate(f"({FILL})({wrong!r})")
        assert not tab.evaluate("document.getElementById('inputs').checkValidity()"), wrong
        tab.evaluate(f"({FILL})({ {'points': '7', 'alpha': '0.3', 'probes': '[1]'}!r})")
        assert tab.evaluate("document.getElementById('inputs').checkValidity()")
    is_clean(tab, judged.pages)


def progress_moves_and_the_result_appears(judged: Judged) -> None:
    """The page follows the run and becomes the result, at the same address."""
    follow(judged, "stream", blocked=[])


def progress_moves_without_the_stream(judged: Judged) -> None:
    """The same by polling, where the stream cannot be had."""
    follow(judged, "poll", blocked=["*/events"])


def follow(judged: Judged, gate: str, blocked: list[str]) -> None:
    """Let a run take its steps and look at its page."""
    os.mkfifo(judged.gates / gate)
    tab = judged.browser.tab()
    tab.resize(1000)
    tab.call("Network.setBlockedURLs", urls=blocked)
    path = f"/slow?gate={gate}"
    tab.go(judged.pages.url + path)
    for step in (1, 2, 3):
        judged.open(gate)
        value = "document.getElementById('progress').value"
        tab.until(lambda value=value, step=step: tab.evaluate(value) >= step / 4, f"step {step}")
        assert f"{25 * step} %" in tab.evaluate("document.title")
    if not blocked:
        assert "step 3" in tab.evaluate("document.getElementById('message').textContent")
    judged.picture(tab, f"waiting-{gate}")
    judged.open(gate)
    shows(tab, "figure.chart svg")
    assert tab.evaluate("location.pathname + location.search") == path
    assert bool(blocked) != any(url.endswith("/events") and url in tab.received for url in tab.requested)
    is_clean(tab, judged.pages)


def failures_are_explained(judged: Judged) -> None:
    """A refusal and a failure say what happened and what to do; bad parameters are named."""
    for name, path, word in (
        ("refused", "/rod?alpha=0.9", "alpha must be at most 0.5"),
        ("failed", "/broken", "ValueError"),
        ("invalid", "/rod?alpha=x", "expected a finite number"),
    ):
        tab = judged.tab(judged.pages, path)
        shows(tab, "p.detail")
        assert word in tab.evaluate("document.querySelector('main').textContent")
        assert tab.evaluate("!!document.querySelector('a.button[href*=\"-/models/\"]')")
        judged.picture(tab, name)
        tab.faults = [fault for fault in tab.faults if not fault.startswith(("422 ", "500 "))]
        is_clean(tab, judged.pages)


def nothing_that_a_model_says_is_executed(judged: Judged) -> None:
    """Markup and script in names, descriptions, values, messages, refusals and parameters stay text."""
    refused = judged.hostile.result("/hostile?refuse=true")
    paths = [
        "/",
        "/-/models/hostile",
        "/-/models/hostile?text=%3C/script%3E%3Cscript%3Eowned=10%3C/script%3E&choice=javascript:owned=11",
        "/hostile",
        "/hostile?refuse=true",
        "/hostile?text=%22%3E%3Cscript%3Eowned=12%3C/script%3E%3Cimg%20src=x%20onerror=owned=13%3E",
        "/hostile?%3Cscript%3Eowned=14%3C/script%3E=1&steps=%22onload=%22owned=15",
        "/picture",
        "/words",
        "/r/%22%3E%3Cscript%3Eowned=16%3C/script%3E",
        "/-/docs",
        f"/r/{refused.json()['id']}/status",
    ]
    for path in paths:
        tab = judged.tab(judged.hostile, path)
        shows(tab, "main h1")
        tab.until(lambda tab=tab: not tab.evaluate("!!document.getElementById('progress')"), "the result")
        tab.evaluate("document.querySelectorAll('a[href^=\"javascript\"]').forEach((link) => link.click())")
        assert tab.evaluate("typeof owned") == "undefined", path
        assert tab.evaluate("document.title") != "owned", path
        tab.faults = [fault for fault in tab.faults if not fault.startswith("422 ")]
        is_clean(tab, judged.hostile)


def it_works_without_script(judged: Judged) -> None:
    """The form is a plain form, and the page that waits asks again by itself."""
    tab = judged.browser.tab()
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.go(f"{judged.pages.url}/-/models/rod")
    tab.evaluate("document.querySelector('[name=alpha]').value = '0.123'")
    tab.evaluate("document.querySelector('form button').click()")
    shows(tab, "figure.chart svg")
    assert "alpha=0.123&" in tab.evaluate("location.search")
    is_clean(tab, judged.pages)


def everything_fits_a_narrow_window_and_has_a_name(judged: Judged) -> None:
    """At 320 pixels nothing but tables scrolls sideways; controls and pictures can be told by their names."""
    for server in (judged.pages, judged.hostile):
        model = "rod" if server is judged.pages else "hostile"
        for path in (
            "/",
            f"/-/models/{model}",
            f"/{model}?alpha=0.4" if model == "rod" else "/hostile",
            f"/{model}?x=1",
        ):
            tab = judged.tab(server, path)
            tab.resize(NARROW)
            shows(tab, "main h1")
            tab.until(lambda tab=tab: not tab.evaluate("!!document.getElementById('progress')"), "the result")
            assert tab.evaluate("document.documentElement.scrollWidth") <= NARROW, path
            judged.picture(tab, f"narrow-{model}-{path.count('/')}-{len(path)}")
            tab.call("Accessibility.enable")
            for node in tab.call("Accessibility.getFullAXTree")["nodes"]:
                role = node.get("role", {}).get("value")
                if role in ("textbox", "combobox", "spinbutton", "button", "link", "image", "progressbar", "Date"):
                    assert node.get("ignored") or node["name"]["value"].strip(), (path, node)


CHECKS: tuple[Callable[[Judged], None], ...] = (
    the_form_shows_its_uri_and_leads_to_the_result,
    inputs_can_be_changed,
    progress_moves_and_the_result_appears,
    progress_moves_without_the_stream,
    failures_are_explained,
    nothing_that_a_model_says_is_executed,
    it_works_without_script,
    everything_fits_a_narrow_window_and_has_a_name,
)


def serve(models: str, folder: Path) -> Server:
    """The service of a file of models."""
    own = ROOT / ".venv" / "bin" / "python"
    python = os.environ.get("SERVICE_PYTHON") or (str(own) if own.exists() else sys.executable)
    served = Server.serve(ROOT / "tests" / "models" / models, folder / models, env={"GATES": str(folder)})
    return Server([python, *served.command[1:]], served.env)


def passes(check: Callable[[Judged], None], judged: Judged) -> bool:
    """Whether a check holds; prints its line."""
    name = check.__name__.replace("_", " ")
    try:
        check(judged)
    except Exception:
        traceback.print_exc()
        print(f"browser: {name} FAILED", flush=True)
        return False
    print(f"browser: {name} ok", flush=True)
    return True


def main() -> int:
    """Every check, or those whose names contain all arguments."""
    wanted = [check for check in CHECKS if all(word in check.__name__ for word in sys.argv[1:])]
    if not wanted:
        print(f"browser: no check has {' and '.join(sys.argv[1:])} in its name; there are:")
        print(*(f"  {check.__name__}" for check in CHECKS), sep="\n")
        return 2
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        print("browser: skipped: there is no chromium (in Debian: apt-get install chromium)")
        return SKIPPED
    pictures = os.environ.get("SCREENSHOTS")
    if pictures:
        Path(pictures).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        with (
            serve("pages.py", folder) as pages,
            serve("hostile.py", folder) as hostile,
            chromium(executable) as browser,
        ):
            judged = Judged(browser, pages, hostile, folder, Path(pictures) if pictures else None)
            return max(0 if passes(check, judged) else 1 for check in wanted)


if __name__ == "__main__":
    sys.exit(main())
