"""Images built and run without a registry and without a Docker engine, as root on Debian.

buildah builds the real Dockerfile. Its base image is debootstrapped from this machine's own Debian
mirror, cut down as `debian:bookworm-slim` is, and tagged with that name. What comes out is run in a
mount namespace of its own: root file system read-only, user and environment as the image says.
Images for ARM64 are built and run likewise: the kernel hands their programs to QEMU.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
REVISION = "0123abc"  # of the images that tests build
TOOLS = ("buildah", "debootstrap", "unshare", "chroot")
_DOCUMENTATION = ("doc", "man", "locale", "info")
_CA = "/run/build-ca.crt"
_EMULATOR = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
VOLUME = "/mnt"  # where an image finds the folder that it is given
# Mounts end with the namespace, and the namespace with the process.
_ENTER = """
mount --bind "$1" "$1" && mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/tmp" \
&& mount --bind /dev "$1/dev" && { [ -z "$2" ] || mount --bind "$2" "$1/mnt"; } \
&& mount -o remount,bind,ro "$1" && exec chroot --userspec="$3" "$1" "${@:4}"
"""


def missing() -> str:
    """Return the reason why images cannot be built here; empty if they can."""
    absent = [tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin")]
    absent = sorted(set(TOOLS) - set(absent))
    if absent:
        return f"needs {', '.join(absent)} (apt-get install buildah debootstrap)"
    return "" if os.geteuid() == 0 else "needs root"


def missing_for_arm() -> str:
    """Return the reason why images for ARM64 cannot be built here; empty if they can."""
    if missing() or platform.machine() == "aarch64":
        return missing()
    # With the flag F the kernel holds the emulator open, and so finds it inside an image.
    flags = _EMULATOR.read_text().partition("flags: ")[2] if _EMULATOR.exists() else ""
    return "" if "F" in flags.partition("\n")[0] else "needs qemu-user-static in binfmt_misc"


@dataclass(frozen=True)
class Image:
    """A built image: its configuration and its mounted root file system."""

    config: dict[str, Any]
    root: Path

    def bytes(self, below: str = ".") -> int:
        """Sizes of its files, each counted once, as `du` does."""
        output = run(["du", "--summarize", "--bytes", str(self.root / below)])
        return int(output.split()[0])

    def start(
        self, command: Sequence[str] = (), volume: Path | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """Run `command`, or what the image runs by itself, with the folder `volume` at `VOLUME`."""
        variables = dict(entry.split("=", 1) for entry in self.config["Env"]) | environment
        given = [f"{name}={value}" for name, value in variables.items()]
        words = command or [*self.config["Entrypoint"], *self.config["Cmd"]]
        environed = ["/usr/bin/env", "-i", *given, *words]
        places = [str(self.root), str(volume or ""), self.config["User"]]
        return subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", _ENTER, "enter", *places, *environed],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


class Builder:
    """buildah with its storage in `folder`. Its base image is made on construction (a minute).

    `architecture` is the processor of the images, as Debian and OCI name it; by default this one.
    """

    def __init__(self, folder: Path, architecture: str | None = None) -> None:
        self._folder = folder
        self._for = ["--arch", architecture] if architecture else []
        self._flags = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]
        # vfs copies every layer and works everywhere; overlay is faster where it is allowed.
        self._flags += ["--storage-driver", os.environ.get("STORAGE_DRIVER", "vfs")]
        base = folder / "base"
        _debootstrap(base, *self._for)
        (folder / "Base").write_text("FROM scratch\nCOPY . /\n")
        self._buildah("build", *self._for, "--file", str(folder / "Base"), "--tag", BASE, str(base))
        shutil.rmtree(base)

    def build(self, name: str, *arguments: str) -> Image:
        """Build the Dockerfile with `arguments`; raises `CalledProcessError` with its output."""
        self._buildah(
            "build", *self._for, "--pull-never", "--layers", "--format", "docker", "--tag", name,
            "--build-arg", f"BASE={BASE}", *self._certificates(), *arguments, str(ROOT),
        )  # fmt: skip
        container = self._buildah("from", *self._for, "--pull-never", name).strip()
        root = Path(self._buildah("mount", container).strip())
        description = json.loads(self._buildah("inspect", "--type", "image", name))
        return Image(description["Docker"]["config"], root)

    def clean(self) -> None:
        """Give gigabytes back."""
        self._buildah("umount", "--all")
        self._buildah("rm", "--all")
        shutil.rmtree(self._folder)

    def _certificates(self) -> list[str]:
        """For a machine behind a proxy with its own certificate: pip in the build trusts it."""
        authority = os.environ.get("PIP_CERT")
        if not authority:
            return []
        settings = self._folder / "pip.conf"
        settings.write_text(f"[global]\ncert = {_CA}\n")
        return ["--volume", f"{settings}:/etc/pip.conf:ro", "--volume", f"{authority}:{_CA}:ro"]

    def _buildah(self, command: str, *arguments: str) -> str:
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        return run(["buildah", *self._flags, command, *arguments], environment)


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def _debootstrap(base: Path, *options: str) -> None:
    """Debian bookworm's smallest system, with this machine's package sources."""
    columns = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    listed = run(["apt-get", "indextargets", "--format", columns, "Created-By: Packages"])
    sources = [line.split() for line in listed.splitlines() if "bookworm" in line]
    mirror = [uri for uri, suite, _ in sources if suite == "bookworm"][:1]
    path = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    run(["debootstrap", "--variant=minbase", *options, "bookworm", str(base), *mirror], path)
    if sources:
        lines = [f"deb {uri} {suite} {component}\n" for uri, suite, component in sources]
        (base / "etc/apt/sources.list").write_text("".join(lines))
    # The mirror may be a snapshot, older than its own validity.
    (base / "etc/apt/apt.conf.d/snapshot").write_text('Acquire::Check-Valid-Until "false";\n')
    for folder in (*(f"usr/share/{name}" for name in _DOCUMENTATION), "var/lib/apt/lists"):
        shutil.rmtree(base / folder, ignore_errors=True)
    for package in (base / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
