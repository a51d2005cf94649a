"""Find what may be shown of a text: before its first stop text, and while it is being written."""

from __future__ import annotations

from collections.abc import Sequence

# Bytes of a character whose last token is not generated yet.
UNFINISHED = "\N{REPLACEMENT CHARACTER}"


def cut(text: str, stops: Sequence[str], begun: int = 0) -> str:
    """Return `text` before the first of `stops` that ends after its first `begun` characters."""
    starts = [(stop, max(0, begun - len(stop) + 1)) for stop in stops]
    places = [place for stop, start in starts if (place := text.find(stop, start)) >= 0]
    return text[: min(places)] if places else text


class Shown:
    """Return what may be shown of a text that is still being written, each time that it has grown.

    Held back are an unfinished character, and an ending that may become one of `stops`, of which
    the first `begun` characters alone may contain one. All readings together compare each
    character about twice with a stop text: callers may give many long ones.
    """

    def __init__(self, stops: Sequence[str], begun: int = 0) -> None:
        self._stops = stops
        self._begun = begun
        self._read = ""
        self._held = [0] * len(stops)  # characters of each that end what was read

    def of(self, text: str) -> str:
        if text.endswith(UNFINISHED):
            return ""
        if (whole := cut(text, self._stops, self._begun)) != text:
            return whole
        self._hold(text)
        return text[: len(text) - max(self._held, default=0)]

    def _hold(self, text: str) -> None:
        if not text.startswith(self._read):
            self._read, self._held = "", [0] * len(self._stops)
        # An ending is at most what was added longer than the one before.
        added = len(text) - len(self._read)
        pairs = zip(self._stops, self._held, strict=True)
        self._held = [_overlap(text, stop, held + added) for stop, held in pairs]
        self._read = text


def _overlap(text: str, stop: str, most: int) -> int:
    """Return the length, at most `most`, of the longest beginning of `stop` that ends `text`."""
    most = min(most, len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)
