"""Real load balancers from Debian in front of replicas, as a Service or an ingress would be."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest.server import free_port
from tests.end_to_end.conftest import START_S


@dataclass(frozen=True)
class Slot:
    """The ports of one replica; a replica of the next version may take them after it."""

    port: int
    health_port: int


def haproxy(slots: Sequence[Slot], port: int, folder: Path) -> list[str]:
    """Asks each replica's health port twice a second, as a readiness probe does less often."""
    servers = "\n".join(
        f"    server r{i} 127.0.0.1:{slot.port} check port {slot.health_port} inter 500 fall 2 rise 1"  # noqa: E501
        for i, slot in enumerate(slots)
    )
    (folder / "haproxy.cfg").write_text(
        f"""
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    option redispatch
frontend service
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance roundrobin
    option httpchk GET /readyz
{servers}
"""
    )
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def nginx(slots: Sequence[Slot], port: int, folder: Path) -> list[str]:
    """Knows of no health checks: a replica that drains answers 503, and it tries another one."""
    servers = "\n".join(f"    server 127.0.0.1:{slot.port} fail_timeout=1s;" for slot in slots)
    (folder / "nginx.conf").write_text(
        f"""
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream replicas {{
{servers}
    keepalive 32;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream error timeout http_503 non_idempotent;
    }}
  }}
}}
"""
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


Configure = Callable[[Sequence[Slot], int, Path], list[str]]


@contextmanager
def balancer(configure: Configure, slots: Sequence[Slot], folder: Path) -> Iterator[str]:
    """Run a load balancer over the replicas in `slots`; yield its address once it answers."""
    port = free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(configure(slots, port, folder), stdout=log, stderr=log)
    try:
        await_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=START_S)


def await_ready(url: str, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        assert time.monotonic() < deadline, f"{url}: never ready"
        assert process.poll() is None, f"{url}: ended with {process.returncode}"
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
