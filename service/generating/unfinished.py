"""The text of an answer that is still being decoded, in the pieces of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from engine.contracts import Progress, Prompt
from engine.tokens import TextCodec
from service.generating.shown import Shown
from service.generating.written import Written, WrittenToken, written_tokens


@dataclass(frozen=True)
class Piece:
    """The next piece of a text, and the tokens whose text ends in it.

    There are no tokens unless the request wants details.
    """

    text: str
    tokens: tuple[WrittenToken, ...] = ()


@dataclass(frozen=True)
class Ending:
    """The rest of a text with all of its tokens that no piece had, and the whole answer."""

    rest: Piece
    written: Written


class Unfinished:
    """The text and the tokens of the best answer to `prompt` so far."""

    def __init__(self, codec: TextCodec, prompt: Prompt, *, details: bool) -> None:
        self._codec = codec
        self._forced = len(prompt.forced)
        self._showing = Shown(prompt.decoding.stop, len(codec.decode(prompt.forced)))
        self._details = details
        self._ids: list[int] = []
        self._shown = ""  # the text of the pieces
        self._waiting: list[WrittenToken] = []  # for the piece in which their text ends
        self._sent = 0  # tokens of the pieces
        self._sent_characters = 0  # of these tokens

    def piece(self, progress: Progress) -> Piece | None:
        """Return the piece that `progress` makes known; `None` where no more can be shown yet."""
        if self._details:
            self._waiting += written_tokens(self._codec, self._ids, progress, forced=self._forced)
        self._ids += progress.tokens
        text = self._showing.of(self._codec.decode(self._ids))
        if not (added := self._after_shown(text)):
            return None
        self._shown = text
        return Piece(added, self._ended_tokens())

    def ending(self, written: Written) -> Ending:
        """Return the rest; `written` is the whole answer."""
        best = written.best
        return Ending(Piece(self._after_shown(best.text), best.tokens[self._sent :]), written)

    def _after_shown(self, text: str) -> str:
        return text[len(self._shown) :] if text.startswith(self._shown) else ""

    def _ended_tokens(self) -> tuple[WrittenToken, ...]:
        """Take the tokens whose text is shown; one without a text waits for the next."""
        count, shown = 0, len(self._shown)
        for token in self._waiting:
            end = self._sent_characters + len(token.text)
            if end > shown or self._sent_characters == shown:
                break
            self._sent_characters = end
            count += 1
        ended, self._waiting = self._waiting[:count], self._waiting[count:]
        self._sent += count
        return tuple(ended)
