"""API keys. The file with their hashes is read again when it changes.

A line is `NAME:SHA-256 of the key in hex`; lines that begin with `#` are comments. Plain
SHA-256 suffices. Salt and stretching protect passwords, which can be guessed; a key of 256 random
bits cannot be guessed, however fast the hash is.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

_LOG = logging.getLogger(__name__)
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<digest>[0-9a-fA-F]{64})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PREFIX = "cs_"  # lets people and secret scanners recognise a key
_LOOK_EVERY_S = 1.0
_State = tuple[int, int, int]  # inode, size and time of change identify a version of the file


class KeysError(ValueError):
    """The file of keys, or the name of a key, is invalid; says where and what was expected."""


class ApiKeys:
    """The keys of one file. Raises `KeysError` if it has no key or an invalid line."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._state = _state(path)
        self._keys = _read(path)
        self._looked_s = clock()

    def owner(self, key: bytes) -> str | None:
        """Return the name of `key`, or `None` if it is unknown.

        Every known key is compared in constant time, so the duration reveals nothing.
        """
        self._follow_the_file()
        digest = hashlib.sha256(key).digest()
        owner = None
        for name, known in self._keys:
            if hmac.compare_digest(digest, known):
                owner = name
        return owner

    def _follow_the_file(self) -> None:
        """Read the file again if it changed; an invalid file leaves the current keys in force."""
        now_s = self._clock()
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        try:
            if (state := _state(self._path)) == self._state:
                return
            # Set before the file is read, so that the next check notices a change meanwhile.
            self._state = state
            self._keys = _read(self._path)
        except KeysError as error:
            _LOG.error("%s; the keys from before remain in force", error)
        else:
            _LOG.info("%s: read again, %d keys", self._path, len(self._keys))


def new_key(name: str) -> tuple[str, str]:
    """Return a new key, and its line for the file. Raises `KeysError` for an invalid name."""
    if not _NAME.fullmatch(name):
        raise KeysError(f"{name!r} is no name of a key; expected up to 64 of A-Z a-z 0-9 . _ -")
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


def _state(path: Path) -> _State | None:
    """Return the state of the file, or `None` if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: Path) -> list[tuple[str, bytes]]:
    """Return names and digests. Errors give the line number, never the line: it may be a key."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise KeysError(f"{path}: {reason}; expected a file of API keys") from error
    keys = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise KeysError(f"{path}:{number}: expected NAME:SHA-256 in hex (cybersolve key NAME)")
        keys.append((match["name"], bytes.fromhex(match["digest"])))
    if not keys:
        raise KeysError(f"{path}: no key; expected a line for each (cybersolve key NAME)")
    return keys
