"""`python -m service.health_check`: ask the service of this container whether it is ready.

It reads the settings as the service does, so it follows `PORT`, `CYBERSOLVE_PORT` and
`CYBERSOLVE_METRICS_PORT`. A container has the service's environment but not its flags: set the
port by a variable there.
"""

from __future__ import annotations

import sys
from http import HTTPStatus
from http.client import HTTPConnection

from service.settings import Settings, SettingsError

_TIMEOUT_S = 4.0
_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104


def main() -> int:
    """Return 0 if `/readyz` answers 200, else 1 with the reason on stderr."""
    try:
        settings = Settings.from_environment()
        host = "127.0.0.1" if settings.host in _EVERY_ADDRESS else settings.host
        status = _readiness(host, settings.metrics_port or settings.port)
    except (OSError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if status != HTTPStatus.OK:
        print(f"not ready: status {status}", file=sys.stderr)
    return int(status != HTTPStatus.OK)


def _readiness(host: str, port: int) -> int:
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
