"""Write the bill of materials and the provenance of an image, from inside its build.

`sbom.cdx.json` (CycloneDX 1.6) lists Debian's packages, the Python packages of this interpreter and
the models with the SHA-256 of their files. `provenance.json` is an in-toto statement with SLSA's
predicate (v1): the wheel and the models, and what they were built from. Needs only the standard
library. https://cyclonedx.org/docs/1.6/json, https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import argparse
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

_BUILD_TYPE = "https://docs.docker.com/reference/dockerfile/"
_SERVICE = "cybersolve"
Component = dict[str, Any]


def debian_packages(status: str) -> Iterator[Component]:
    """Yield the installed packages of dpkg's status file (deb822)."""
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line[1:])
        if fields.get("Status") != "install ok installed":
            continue
        name, version, architecture = (
            fields[key] for key in ("Package", "Version", "Architecture")
        )
        yield {
            "type": "library",
            "bom-ref": f"deb/{name}",
            "name": name,
            "version": version,
            "purl": f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={architecture}",
        }


def python_packages(installed: Iterable[Distribution]) -> Iterator[Component]:
    """Yield the packages of this environment, with the licence that each states."""
    for package in sorted(installed, key=lambda package: package.name.lower()):
        name = package.name.lower().replace("_", "-")
        stated = package.metadata.get_all("License-Expression") or []
        yield {
            "type": "application" if name == _SERVICE else "library",
            "bom-ref": f"pypi/{name}",
            "name": package.name,
            "version": package.version,
            "purl": f"pkg:pypi/{name}@{package.version}",
            "licenses": [{"expression": licence} for licence in stated],
        }


def models(folder: Path) -> Iterator[Component]:
    """Yield the bundles in `folder` with the files and digests of their manifests."""
    for manifest_file in sorted(folder.glob("*/manifest.json")):
        manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model/{manifest['name']}",
            "name": manifest["name"],
            "version": manifest["version"],
            "description": f"precision {manifest['precision']}, format {manifest['format']}",
            "components": [
                {
                    "type": "file",
                    "bom-ref": f"model/{manifest['name']}/{name}",
                    "name": name,
                    "hashes": [{"alg": "SHA-256", "content": file["sha256"]}],
                }
                for name, file in sorted(manifest["files"].items())
            ],
        }


def bill(components: Iterable[Component], now: datetime) -> dict[str, Any]:
    """Return a CycloneDX document of the image that `components` make up."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "container", "bom-ref": "image", "name": _SERVICE},
        },
        "components": list(components),
    }


def provenance(arguments: argparse.Namespace, now: datetime) -> dict[str, Any]:
    """Return the statement: which wheel and models were built from which inputs.

    The digest of the image itself is not known inside its build.
    """
    base, _, digest = arguments.base.partition("@sha256:")
    inputs = [
        {"uri": f"pkg:docker/{quote(base, safe='/:')}", **_digest(digest)},
        {"uri": f"git+revision:{arguments.revision}"},
        *_described(arguments.requirements.glob("*.txt")),
    ]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": described["uri"], "digest": described["digest"]}
            for described in (
                *_described(arguments.wheels.glob("*.whl")),
                *_described(arguments.models.glob("*/*")),
            )
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {
                    "BASE": arguments.base,
                    "PROVIDER": arguments.provider,
                    "REVISION": arguments.revision,
                },
                "resolvedDependencies": inputs,
            },
            "runDetails": {
                "builder": {"id": "Dockerfile"},
                "metadata": {"finishedOn": now.strftime("%Y-%m-%dT%H:%M:%SZ")},
            },
        },
    }


def _described(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the name, with its folder's, and the digest of each file."""
    return [
        {
            "uri": f"{path.parent.name}/{path.name}",
            **_digest(hashlib.sha256(path.read_bytes()).hexdigest()),
        }
        for path in sorted(paths)
    ]


def _digest(sha256: str) -> dict[str, Any]:
    return {"digest": {"sha256": sha256}} if sha256 else {}


def main() -> None:
    arguments = _parser().parse_args()
    now = datetime.now(UTC)
    dpkg = arguments.dpkg_status.read_text(encoding="utf-8")
    components = (
        *debian_packages(dpkg), *python_packages(distributions()), *models(arguments.models)
    )  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, document in (
        ("sbom.cdx.json", bill(components, now)),
        ("provenance.json", provenance(arguments, now)),
    ):
        (arguments.out / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--base", required=True, help="the base image, with its digest where it is pinned")
    add("--provider", required=True, help="cpu or gpu")
    add("--revision", required=True, help="the commit of the sources")
    add("--requirements", type=Path, required=True, help="folder of the locks")
    add("--wheels", type=Path, required=True, help="folder of the service's wheel")
    add("--models", type=Path, required=True, help="folder of the bundles")
    add("--dpkg-status", type=Path, default=Path("/var/lib/dpkg/status"), help="of Debian")
    add("--out", type=Path, required=True, help="folder of both documents")
    return parser


if __name__ == "__main__":
    main()
