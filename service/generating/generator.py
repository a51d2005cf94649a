"""Generate text with the model of one bundle."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from engine.bundle import Manifest
from engine.contracts import GREEDY, Decoding, Prompt
from engine.tokens import TextCodec
from service.contracts import Answered, Submit
from service.errors import LimitExceeded, UnknownText
from service.generating.settings import decoding_of
from service.generating.source import Source, read_text, read_tokens
from service.generating.written import Written, shown_so_far, written_text

Stream = Callable[[Prompt, float], AsyncGenerator[list[int] | Answered, None]]


@dataclass(frozen=True)
class GenerationRequest:
    """A text for the model, or the ids of its tokens, and how its answer is decoded."""

    source: str | tuple[int, ...]
    decoding: Decoding = GREEDY
    prefix: str = ""  # the answer begins so
    truncate: int | None = None  # cut a longer text to so many tokens; None: reject it
    known_only: bool = False  # reject a text with parts that the vocabulary does not have


@dataclass(frozen=True)
class Piece:
    """A piece of a text that is still being written, and the tokens that it comes from."""

    text: str
    ids: tuple[int, ...]


class Generator:
    """Generate text with the model of one bundle; `submit` and `stream` are the batcher's."""

    def __init__(
        self, manifest: Manifest, codec: TextCodec, submit: Submit, stream: Stream
    ) -> None:
        self._codec = codec
        self._submit = submit
        self._stream = stream
        self._name = manifest.name
        self._limits = manifest.limits
        self._defaults = GREEDY
        self._end = manifest.architecture.eos_id

    def decoding(self, settings: Mapping[str, Any]) -> Decoding:
        """Return the model's decoding with `settings`; see `settings.decoding_of`.

        Raises `InvalidSetting`, and `LimitExceeded` for more tokens than the model writes.
        """
        decoding = decoding_of(settings, self._defaults, self._codec)
        wanted, most = decoding.max_new_tokens, self._limits.max_new_tokens
        if wanted is not None and wanted > most:
            raise LimitExceeded(f"max_new_tokens is {wanted}; the model writes at most {most}")
        return decoding

    def spelling(self, id_: int) -> str:
        """Return the vocabulary's spelling of a token."""
        return self._codec.spelling(id_)

    async def generate(
        self, request: GenerationRequest, *, timeout_s: float, wait: bool = False
    ) -> Written:
        """Return the whole answer; `wait` is for `submit`.

        Raises `LimitExceeded` and the errors of `submit`.
        """
        started_s = time.perf_counter()
        source, prompt = self._read(request)
        answered = await self._submit(prompt, timeout_s, wait=wait)
        return self._written(answered, prompt, source, started_s)

    async def stream(
        self, request: GenerationRequest, *, timeout_s: float
    ) -> AsyncGenerator[Piece | Written, None]:
        """Yield the pieces of the text as they are decoded, and last the whole answer.

        Several answers, and those of beams, are known at the end alone: the best is one piece.
        Raises the errors of `generate`, before the first piece or between two.
        """
        started_s, shown, ids = time.perf_counter(), "", 0
        source, prompt = self._read(request)
        async with aclosing(self._stream(prompt, timeout_s)) as news:
            async for item in news:
                if isinstance(item, Answered):
                    whole = self._written(item, prompt, source, started_s)
                    text, tokens = whole.best.text, list(whole.best.ids)
                else:
                    text, tokens = self._codec.decode(item), item
                    text = shown_so_far(text, request.decoding.stop)
                if len(text) > len(shown) and text.startswith(shown):
                    yield Piece(text[len(shown) :], tuple(tokens[ids:]))
                    shown, ids = text, len(tokens)
                if isinstance(item, Answered):
                    yield whole

    def _read(self, request: GenerationRequest) -> tuple[Source, Prompt]:
        codec, most = self._codec, self._limits.max_source_tokens
        if isinstance(request.source, str):
            cut = request.truncate is not None
            most = min(most, request.truncate or most)
            source = read_text(codec, request.source, most, truncate=cut)
        else:
            source = read_tokens(codec, request.source, most, self._end)
        if request.known_only and source.unknown:
            raise UnknownText(self._name, source.unknown)
        forced = codec.encode(request.prefix)[:-1] if request.prefix else ()
        if len(forced) >= (most := self._limits.max_new_tokens):
            raise LimitExceeded(f"prefix has {len(forced)} tokens; the model writes at most {most}")
        return source, Prompt(source.tokens, forced, request.decoding)

    def _written(
        self, answered: Answered, prompt: Prompt, source: Source, started_s: float
    ) -> Written:
        decoding = prompt.decoding
        return Written(
            texts=tuple(
                written_text(
                    self._codec,
                    hypothesis,
                    forced=len(prompt.forced),
                    stops=decoding.stop,
                    end=self._end,
                )
                for hypothesis in answered.answer.hypotheses
            ),
            source=source,
            seed=decoding.seed,
            timings=answered.timings,
            total_s=time.perf_counter() - started_s,
        )
