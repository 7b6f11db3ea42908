from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.models import conversation, described

from etagere.asgi.openapi import document
from etagere.asgi.openapi.parameters import example_queries, query_parameters
from etagere.asgi.problem_types import problem_types
from etagere.model import Registry


@pytest.fixture(params=[described.app, conversation.app], ids=["described", "conversation"])
def written(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(json.loads(json.dumps(document(request.param, "0.1"))))


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def operations(written: dict[str, Any]) -> dict[str, Any]:
    return {path: item["get"] for path, item in written["paths"].items()}


def parameter(name: str, model: str = "compound@1") -> dict[str, Any]:
    found = query_parameters(described.app.models[model])
    return next(part for part in found if part["name"] == name)


def test_every_reference_leads_somewhere(written: dict[str, Any]) -> None:
    targets = set(references(written))
    assert targets
    for target in targets:
        part = written
        for step in target.removeprefix("#/").split("/"):
            part = part[step]


def test_every_operation_has_a_name_of_its_own_and_a_known_tag(written: dict[str, Any]) -> None:
    named = [operation["operationId"] for operation in operations(written).values()]
    named += [item["x-query"]["operationId"] for item in written["paths"].values() if "x-query" in item]
    assert len(named) == len(set(named))
    tags = {tag["name"] for tag in written["tags"]}
    assert {operation["tags"][0] for operation in operations(written).values()} == tags


def test_every_name_in_a_path_is_a_parameter_of_it(written: dict[str, Any]) -> None:
    for path, item in written["paths"].items():
        given = [*item.get("parameters", []), *item["get"].get("parameters", [])]
        named = {f"{{{part['name']}}}" for part in given if part.get("in") == "path"}
        assert named == {f"{{{rest.partition('}')[0]}}}" for rest in path.split("{")[1:]}, path


def test_every_spelling_of_a_model_takes_the_same_parameters(written: dict[str, Any]) -> None:
    found = operations(written)
    for path, operation in found.items():
        if "@" in path:
            name, _, version = path.removesuffix(".{format}")[1:].partition("@")
            fixed = found[f"/{name}@{version}.{{format}}"]
            assert operation["parameters"] == fixed["parameters"]


def test_the_newest_version_is_what_the_bare_name_describes() -> None:
    found = operations(document(described.app, "0.1"))
    assert found["/picky"]["parameters"] == found["/picky@1"]["parameters"]
    assert found["/picky"]["parameters"] != found["/picky@2"]["parameters"]
    assert list(found["/picky"]["responses"]) == list(found["/picky@2"]["responses"])


def test_every_problem_type_is_described_under_its_status(written: dict[str, Any]) -> None:
    for kind in problem_types().values():
        response = written["components"]["responses"][f"Problem{kind.status}"]
        assert f"`{kind.name}`" in response["description"]
        assert kind.name in response["content"]["application/problem+json"]["schema"]["properties"]["type"]["pattern"]


def test_query_takes_the_parameters_as_one_object(written: dict[str, Any]) -> None:
    for path, item in written["paths"].items():
        is_model = not path.startswith(("/-/", "/r/")) and path not in ("/", "/robots.txt")
        assert ("x-query" in item) == is_model, path
        if is_model:
            assert {*item["x-query"]["requestBody"]["content"]} == {
                "application/json", "application/x-www-form-urlencoded",
            }  # fmt: skip
            assert "303" in item["x-query"]["responses"]
            assert "422" not in item["x-query"]["responses"]


def test_whole_numbers_have_the_range_of_their_grammar() -> None:
    assert parameter("n", "simple@1")["schema"] == {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
    small = parameter("small", "simple@1")["schema"]
    assert (small["minimum"], small["exclusiveMaximum"], small.get("maximum")) == (-3, 10, None)


def test_what_is_left_out_when_null_is_no_null_in_a_query_string() -> None:
    moment = parameter("moment", "optional@1")
    assert moment["schema"] == {"type": "string", "format": "date-time"}
    assert moment["allowEmptyValue"] is True
    # An empty text is text.
    assert "allowEmptyValue" not in parameter("note")
    assert parameter("note")["schema"] == {"type": "string"}


def test_a_list_of_simple_values_repeats_its_name_and_the_rest_is_json() -> None:
    weights = parameter("weights")
    assert (weights["style"], weights["explode"], weights["schema"]["minItems"]) == ("form", True, 1)
    assert "minItems" not in parameter("words")["schema"]
    assert "uniqueItems" not in parameter("marks")["schema"]
    for name in ("place", "pair", "span", "table", "grid"):
        assert "schema" not in parameter(name)
        assert "schema" in parameter(name)["content"]["application/json"]
    assert parameter("place")["content"]["application/json"]["schema"]["additionalProperties"] is False


def test_examples_are_those_of_the_model_as_they_are_written() -> None:
    model = described.app.models["compound@1"]
    assert example_queries(model) == ["place=%7B%22x%22%3A1%2C%22y%22%3A0%7D&weights=%5B1%2C2.5%5D"]
    assert parameter("weights")["examples"] == {"1": {"value": [1, 2.5]}}
    assert parameter("place")["content"]["application/json"]["examples"] == {"1": {"value": {"x": 1, "y": 0}}}
    assert parameter("day", "simple@1")["examples"] == {"1": {"value": "2020-01-31"}}


def test_a_model_may_be_called_like_what_stands_beside_it() -> None:
    registry = Registry()
    registry.command("service", ["true"], version="1")
    registry.command("etagere", ["true"], version="1", media_type="text/csv")
    written = document(registry, "0.1")
    named = [operation["operationId"] for operation in operations(written).values()]
    assert len(named) == len(set(named))
    assert len({tag["name"] for tag in written["tags"]}) == len(written["tags"]) == 4
