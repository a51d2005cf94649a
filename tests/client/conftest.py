"""One suite of tests for both clients."""

from __future__ import annotations

import pytest

from tests.client.script import Face


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(asynchronous=request.param == "async")
