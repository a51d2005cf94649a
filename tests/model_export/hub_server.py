"""A server that speaks the part of the hub's protocol with which files are listed and fetched."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

COMMIT = "a" * 40


class _Hub(BaseHTTPRequestHandler):
    repositories: ClassVar[dict[str, Path]]
    requested: ClassVar[list[str]]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        self.requested.append(f"{self.command} {path}")
        for name, folder in self.repositories.items():
            if path.startswith(f"api/models/{name}/tree/"):
                return self._send_json(
                    [
                        {"type": "file", "path": one.name, "size": one.stat().st_size, "oid": ""}
                        for one in folder.iterdir()
                    ]
                )
            if path == f"api/models/{name}" or path.startswith(f"api/models/{name}/revision/"):
                siblings = [{"rfilename": one.name} for one in folder.iterdir()]
                return self._send_json({"id": name, "sha": COMMIT, "siblings": siblings})
            if path.startswith(f"{name}/resolve/"):
                return self._send_file(folder / path.rpartition("/")[2])
        return self._send(404, b'{"error": "not found"}', {"X-Error-Code": "RepoNotFound"})

    def _send_file(self, file: Path) -> None:
        content = file.read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Write nothing: the requests are in `requested`."""


@contextmanager
def serving(repositories: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as repositories; yield the address, and the requests as they come."""
    requested: list[str] = []
    handler = type("Hub", (_Hub,), {"repositories": repositories, "requested": requested})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requested
        finally:
            server.shutdown()
            thread.join()
