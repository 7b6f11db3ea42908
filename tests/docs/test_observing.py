"""What deploy/ has for those who watch a service asks for metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.harness import Server

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text())
NAME = re.compile(r"\b(?:etagere|process)_[a-z_]+")
LABELLED = re.compile(r'(\w+)\s*(?:=~|=)\s*"([^"]*)"')
OURS = {"job"}


def expressions() -> list[str]:
    targets = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    alerts = re.findall(r"^ +expr: (.+)$", (ROOT / "deploy" / "alerts.yml").read_text(), re.MULTILINE)
    queries = [variable["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    assert len(alerts) == 6
    return [*targets, *alerts, *queries]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """A scrape of a service that has computed something."""
    models = ROOT / "tests" / "models" / "conversation.py"
    with Server.serve(models, tmp_path_factory.mktemp("data"), env={"GATES": ""}) as server:
        server.result("/quick?x=1")
        text = server.get("/-/metrics").body.decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_uses_metrics_and_labels_that_there_are(expression: str, samples: list[Any]) -> None:
    named = set(NAME.findall(expression))
    assert named or expression.startswith("up{")
    assert named <= {sample.name for sample in samples}
    of_these = [sample.labels for sample in samples if sample.name in named]
    for label, values in LABELLED.findall(expression):
        known = {labels.get(label) for labels in of_these}
        assert label in OURS or set(values.split("|")) <= known, (label, values)
    for grouped in re.findall(r"by \(([a-z, ]+)\)", expression):
        assert set(grouped.split(", ")) - {"instance"} <= {label for labels in of_these for label in labels}


def test_every_metric_is_on_its_page_and_no_other(samples: list[Any]) -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    shown = set(re.findall(r"^\| `(etagere_[a-z_]+)`", page, re.MULTILINE))
    families = {re.sub(r"_(bucket|count|sum)$", "", sample.name) for sample in samples}
    assert shown == {name for name in families if name.startswith("etagere_")}


def test_the_panels_are_a_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        squares = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not squares & taken
        assert max(x for x, _ in squares) < 24
        taken |= squares
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
