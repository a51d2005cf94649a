"""The OpenAPI document: what clients are made from, so it changes only on purpose."""

from __future__ import annotations

import json
from difflib import unified_diff
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.examples import EXAMPLES
from service.api.keys import new_key
from tests.service.app import application, serve

SNAPSHOT = Path(__file__).parent / "openapi.json"


@pytest.fixture(scope="module")
def document(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def scenario(client: httpx.AsyncClient) -> None:
        found.update((await client.get("/openapi.json")).json())

    serve(bundle, scenario)
    del found["info"]["version"]  # a release changes no interface
    return found


def written(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_it_is_as_the_snapshot_has_it(document: dict[str, Any], request: Any) -> None:
    if request.config.getoption("--accept"):
        SNAPSHOT.write_text(written(document))
    before, now = SNAPSHOT.read_text().splitlines(), written(document).splitlines()
    difference = "\n".join(unified_diff(before, now, "tests/service/openapi.json", "now", n=6))
    assert not difference, f"`make openapi` accepts this:\n{difference}"


def test_every_route_is_explained(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document).items():
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name


def test_every_post_has_examples_of_requests_and_of_their_answers(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document).items():
        if not name.startswith("POST "):
            continue
        asked = set(operation["requestBody"]["content"]["application/json"]["examples"])
        answered = {
            example
            for response in operation["responses"].values()
            for content in response["content"].values()
            for example in content.get("examples", {})
        }
        assert asked, name
        assert asked <= answered, name


def test_every_problem_has_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                if not content.get("schema", {}).get("$ref", "").endswith("/Problem"):
                    continue
                assert media_type == "application/problem+json", name
                assert content["examples"], name
                for example in content["examples"].values():
                    assert str(example["value"]["status"]) == status, name


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = written(document)
    named = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert named == set(document["components"]["schemas"])


def test_examples_are_of_routes_that_there_are(document: dict[str, Any]) -> None:
    assert set(EXAMPLES) <= set(document["paths"])


def test_it_says_which_routes_want_a_key(bundle: Path, tmp_path: Path) -> None:
    _, line = new_key("someone")
    keys = tmp_path / "keys"
    keys.write_text(line + "\n")
    document = application(bundle, api_keys_file=keys).openapi()
    assert document["components"]["securitySchemes"] == {
        "key": {"type": "http", "scheme": "bearer"}
    }
    wanted = {name: operation["security"] for name, operation in operations(document).items()}
    assert wanted["POST /solve"] == wanted["POST /v2/models/{model_name}/infer"] == [{"key": []}]
    assert wanted["GET /readyz"] == wanted["GET /v2/health/ready"] == []
