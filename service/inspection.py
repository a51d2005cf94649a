"""Describe a bundle and what it needs, for `cybersolve inspect`."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from engine.bundle import load_manifest
from engine.cpu import available_cpus
from service.runtime import layout
from service.settings import Settings
from service.sizing import MIB, Needs, needs

_STEP_MIB = 128  # memory in manifests is a multiple of it


def inspect(settings: Settings) -> dict[str, Any]:
    """Return the bundle that `settings` name, its needs, and the fields of a pod that state them.

    Checks every file against the manifest. Raises `engine.bundle.BundleError`.
    """
    manifest = load_manifest(settings.model)
    engines, threads = layout(manifest, settings, available_cpus())
    needed = needs(manifest, settings, engines=engines)
    return {
        "bundle": str(settings.model),
        "name": manifest.name,
        "version": manifest.version,
        "format": manifest.format,
        "precision": manifest.precision,
        "parameters": manifest.architecture.parameters,
        "solves": manifest.solves,
        "prompt_format": manifest.prompt_format,
        "limits": asdict(manifest.limits),
        "bytes": sum(file["bytes"] for file in manifest.files.values()),
        "needs": {**asdict(needed), "threads": threads},
        "pod": pod_fields(needed, threads),
    }


def pod_fields(needed: Needs, threads: int) -> dict[str, Any]:
    """Return the fields of a Kubernetes pod and container that the needs decide."""
    return {
        "resources": {
            "requests": {
                "cpu": str(needed.engines * threads),
                "memory": _memory(needed.loaded_bytes),
            },
            "limits": {"memory": _memory(needed.most_bytes)},
        },
        "startupProbe": {"periodSeconds": 1, "failureThreshold": round(needed.start_s)},
        "terminationGracePeriodSeconds": round(needed.grace_s),
        "env": {
            "CYBERSOLVE_WORKERS": str(needed.engines),
            "CYBERSOLVE_DRAIN_TIMEOUT_S": f"{needed.drain_s:g}",
        },
    }


def _memory(size: float) -> str:
    return f"{_STEP_MIB * math.ceil(size / MIB / _STEP_MIB)}Mi"


def text(inspected: dict[str, Any]) -> str:
    """Return what `inspect` found, for people."""
    of, pod, limits = inspected["needs"], inspected["pod"], inspected["limits"]
    asks = "solves equations" if inspected["solves"] else "generates text"
    resources = pod["resources"]
    return "\n".join([
        f"{inspected['name']} {inspected['version']}: {inspected['precision']}, "
        f"{inspected['parameters']:,} parameters, format {inspected['format']}",
        f"  {asks}; reads up to {limits['max_source_tokens']} tokens and writes up to "
        f"{limits['max_new_tokens']}",
        f"  {inspected['bytes'] / 1e6:.1f} MB; every file matches the manifest",
        f"  runs on: {', '.join(of['providers'])}",
        f"{of['engines']} engines of {of['threads']} threads need at most",
        f"  memory: {of['loaded_bytes'] / MIB:.0f} MiB after the start, "
        f"{of['most_bytes'] / MIB:.0f} MiB under full load",
        f"  time: {of['start_s']:.0f} s to start, {of['drain_s']:.0f} s to drain",
        "In a pod:",
        f"  resources.requests: cpu {resources['requests']['cpu']}, "
        f"memory {resources['requests']['memory']}",
        f"  resources.limits: memory {resources['limits']['memory']}",
        f"  startupProbe: periodSeconds 1, "
        f"failureThreshold {pod['startupProbe']['failureThreshold']}",
        f"  terminationGracePeriodSeconds: {pod['terminationGracePeriodSeconds']}",
        *(f"  env: {name}={value}" for name, value in pod["env"].items()),
    ])  # fmt: skip
