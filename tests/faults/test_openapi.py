"""The real server holds to its own document, whatever is made of it: see schemathesis."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from tests.faults.server import LONG_S, Server, serving, until

SHORT = 15  # requests of each kind to each route
LONG = int(os.environ.get("SOAK_OPENAPI", "3000"))

LONGEST_MS = 600_000

load_all_checks()
# A question fits the document and is no equation all the same: that is 422, and as it should be.
NOT_APPLICABLE: list[Any] = [CHECKS.get_one("positive_data_acceptance")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("openapi"), workers=1) as running:
        yield running


@pytest.mark.parametrize(
    "count", [SHORT, pytest.param(LONG, marks=pytest.mark.soak)], ids=["short", "long"]
)
@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
def test_the_server_conforms_to_its_document(
    server: Server, mode: GenerationMode, count: int
) -> None:
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    found = list(document.get_all_operations())
    operations = [one.ok() for one in found if isinstance(one, Ok)]
    assert len(operations) == len(found) >= 7
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue  # takes nothing that could be wrong
        hold(operation, mode, count)
    until(lambda: server.metric("in_flight_requests") == 1, "nothing in flight but this")
    assert "Traceback" not in server.log


def hold(
    operation: schemathesis.APIOperation[Any, Any, Any, Any], mode: GenerationMode, count: int
) -> None:
    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(mode))
    def holds(case: schemathesis.Case[Any]) -> None:
        patient(case.body)
        case.call_and_validate(excluded_checks=NOT_APPLICABLE, timeout=LONG_S)

    holds()


def patient(body: object) -> None:
    """Deadlines that allow an answer: one that passes is 504, and as it should be."""
    if isinstance(body, dict):
        timeout_ms = body.get("timeout_ms")
        if type(timeout_ms) is int and 0 < timeout_ms <= LONGEST_MS:
            body["timeout_ms"] = LONGEST_MS
