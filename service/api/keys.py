"""API keys: who may ask. The file that holds their hashes is read again when it changes.

A line is `NAME:SHA-256 of the key in hex`; lines that begin with `#` say nothing. Plain SHA-256,
without salt or stretching, is right here: those protect passwords, which can be guessed. A key of
256 random bits cannot, however fast the hash is.
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
_PREFIX = "cs_"  # so that people and secret scanners know one when they see it
_LOOK_EVERY_S = 1.0
_State = tuple[int, int, int]  # inode, size and time of change: another file has another


class KeysError(ValueError):
    """A file of keys, or a name for one, that cannot be used; says where and what was expected."""


class ApiKeys:
    """The keys of one file. Raises `KeysError` where it holds none, or a line that is no key."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._state = _state(path)
        self._keys = _read(path)
        self._looked_s = clock()

    def owner(self, key: bytes) -> str | None:
        """The name of `key`, or `None` for a stranger's.

        Every known key is compared, each in constant time: how long it takes says nothing.
        """
        self._follow_the_file()
        digest = hashlib.sha256(key).digest()
        owner = None
        for name, known in self._keys:
            if hmac.compare_digest(digest, known):
                owner = name
        return owner

    def _follow_the_file(self) -> None:
        """Take a changed file's keys; a broken one leaves those that were there before."""
        now_s = self._clock()
        if now_s - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        try:
            if (state := _state(self._path)) == self._state:
                return
            # Before the file is read: should it change again meanwhile, the next look sees that.
            self._state = state
            self._keys = _read(self._path)
        except KeysError as error:
            _LOG.error("%s; the keys from before remain in force", error)
        else:
            _LOG.info("%s: read again, %d keys", self._path, len(self._keys))


def new_key(name: str) -> tuple[str, str]:
    """A fresh key, and the line of the file that lets it in. Raises `KeysError` for a bad name."""
    if not _NAME.fullmatch(name):
        raise KeysError(f"{name!r} is no name of a key; expected up to 64 of A-Z a-z 0-9 . _ -")
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


def _state(path: Path) -> _State | None:
    """`None` for a file that is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: Path) -> list[tuple[str, bytes]]:
    """Names and digests. A complaint names the line and never quotes it: it may be a key."""
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
