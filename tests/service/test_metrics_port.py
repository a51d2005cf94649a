"""Metrics on a port of their own, where strangers are not."""

from __future__ import annotations

from pathlib import Path

from service.api.keys import new_key
from tests.service.sockets import Wire, listen


def test_metrics_and_health_move_to_their_port_and_need_no_key(
    bundle: Path, tmp_path: Path
) -> None:
    key, line = new_key("alice")
    (tmp_path / "keys").write_text(line)

    async def scenario(wire: Wire) -> None:
        assert wire.metrics is not None
        authorized = f"x-api-key: {key}"
        assert (await wire.ask("/metrics", b"", authorized, method="GET")).status == 404
        assert (await wire.ask("/solve", b'{"question": "x = 1"}', authorized)).status == 200
        for path in ("/livez", "/readyz", "/info"):
            assert (await wire.metrics.ask(path, method="GET")).status == 200
        counted = (await wire.metrics.ask("/metrics", method="GET")).body.decode()
        assert 'cybersolve_requests_total{route="/solve",status="200"} 1.0' in counted
        for path in ("/solve", "/docs", "/openapi.json"):
            (await wire.metrics.ask(path)).problem()

    listen(bundle, scenario, metrics_port=0, api_keys_file=tmp_path / "keys")
