"""Measure throughput with wrk, a load generator that costs next to nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from loadtest.workload import OK, SOLVE, asks

_QUESTIONS = 500
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class CeilingError(RuntimeError):
    """wrk is missing, failed, or printed something unexpected; the message says which."""


@dataclass(frozen=True)
class Ceiling:
    """The figures of wrk; latencies are of a closed loop."""

    connections: int
    per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    not_ok: int  # answers other than 2xx and 3xx


def measure(url: str, *, connections: int, seconds: int) -> Ceiling:
    """Send single questions over `connections` for `seconds`. Raises `CeilingError`."""
    if shutil.which("wrk") is None:
        raise CeilingError("wrk is not installed (apt-get install wrk)")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_lua())
        script.flush()
        command = ["wrk", "--latency", "--threads=1", f"--connections={connections}"]
        command += [f"--duration={seconds}s", "--timeout=30s", f"--script={script.name}"]
        result = subprocess.run(
            [*command, url + SOLVE], capture_output=True, text=True, check=False
        )
    if result.returncode:
        raise CeilingError(result.stderr or result.stdout)
    return read(result.stdout, connections)


def read(output: str, connections: int) -> Ceiling:
    """Parse the output of wrk. Raises `CeilingError`."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    spread = {
        percent: float(value) * _UNITS_MS[unit]
        for percent, value, unit in re.findall(r"(50|90|99)%\s+([\d.]+)(us|ms|s|m)\b", output)
    }
    if rate is None or len(spread) < 3:
        raise CeilingError(f"unexpected output of wrk:\n{output}")
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return Ceiling(
        connections=connections,
        per_s=float(rate[1]),
        p50_ms=spread["50"],
        p90_ms=spread["90"],
        p99_ms=spread["99"],
        not_ok=int(wrong[1]) if wrong else 0,
    )


def _lua() -> str:
    """Return a script that sends the workload's single questions in turn."""
    single = (ask for ask in asks(seed=0) if ask.path == SOLVE and ask.expected == OK)
    bodies = [json.dumps(ask.body) for ask in islice(single, _QUESTIONS)]
    table = ",\n".join(json.dumps(body) for body in bodies)  # a JSON string is a Lua string here
    return (Path(__file__).parent / "ceiling.lua").read_text().replace("--[[bodies]]", table)
