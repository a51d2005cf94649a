"""The OpenAPI document: what clients are made from, so it changes only on purpose."""

from __future__ import annotations

import json
import re
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


def test_operation_ids_are_the_names_of_generated_calls(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(ids)) == len(ids)
    assert [name for name in ids if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)] == []
    assert {"solve", "solve_batch", "generate", "info", "model_infer"} <= set(ids)
    # FastAPI's own end in the path and the method.
    assert not [name for name in ids if name.endswith(("_get", "_post"))]


def test_every_response_has_a_schema(document: dict[str, Any]) -> None:
    """Without one a generated client has `any` or nothing. OpenAPI 3.1 has none for events."""
    for name, operation in operations(document).items():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for media_type, content in body.get("content", {}).items():
                if media_type != "text/event-stream":
                    assert content.get("schema"), (name, media_type)


OWN_ERRORS = ("/v1", "/v2", "/openai")  # and `POST /`


def test_every_error_is_typed_a_problem_but_in_apis_with_errors_of_their_own(
    document: dict[str, Any],
) -> None:
    problem = document["components"]["schemas"]["Problem"]
    assert {"type", "title", "status", "detail"} == set(problem["required"])
    assert {"span", "expected", "errors", "request_id"} <= set(problem["properties"])
    faults = problem["properties"]["errors"]["anyOf"][0]["items"]
    assert faults == {"$ref": "#/components/schemas/BodyFault"}
    for name, operation in operations(document).items():
        if name.split()[1].startswith(OWN_ERRORS) or name == "POST /":
            assert operation["responses"]["default"]["content"]["application/json"]["schema"]
            continue
        errors = {k: v for k, v in operation["responses"].items() if not k.startswith("2")}
        assert errors, name
        for response in errors.values():
            (content,) = response["content"].values()
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, name


def test_results_of_a_batch_are_told_apart_by_kind(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    results = schemas["BatchResponse"]["properties"]["results"]["items"]
    assert results["discriminator"]["propertyName"] == "kind"
    assert set(results["discriminator"]["mapping"]) == {"answer", "problem"}
    for name in ("BatchAnswer", "BatchProblem"):
        assert "kind" in schemas[name]["required"]


def test_the_media_type_of_tensors_is_declared(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        if name.endswith("/infer"):
            for body in (operation["requestBody"], operation["responses"]["200"]):
                binary = body["content"]["application/octet-stream"]["schema"]
                assert binary == {"type": "string", "format": "binary"}
            assert "inference-header-content-length" in operation["responses"]["200"]["headers"]


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
