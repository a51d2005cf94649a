"""Split a file in pieces of a limited size, with a list of their digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

LIST = "pieces.json"


def split(file: Path, out: Path, most_bytes: int) -> list[Path]:
    """Write `file` as `piece-000` and so on into `out`, then their list; return the pieces."""
    pieces: dict[str, dict[str, object]] = {}
    with file.open("rb") as whole:
        while content := whole.read(most_bytes):
            name = f"piece-{len(pieces):03}"
            (out / name).write_bytes(content)
            pieces[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (out / LIST).write_text(json.dumps(pieces, indent=1) + "\n", encoding="utf-8")
    return [out / name for name in pieces]
