"""Generate text with the model of one bundle."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from engine.bundle import Manifest
from engine.contracts import GREEDY, Decoding, Hypothesis, Progress, Prompt
from engine.tokens import TextCodec
from service.contracts import Answered, Submit
from service.errors import InvalidSetting, LimitExceeded, UnknownText
from service.generating.settings import decoding_of
from service.generating.source import Source, longer_than, read_text, read_tokens
from service.generating.unfinished import Ending, Piece, Unfinished
from service.generating.written import Written, WrittenText, written_text, written_tokens


class Stream(Protocol):
    """`Batcher.stream`."""

    def __call__(
        self, prompt: Prompt, timeout_s: float, *, wait: bool
    ) -> AsyncGenerator[Progress | Answered, None]: ...


@dataclass(frozen=True)
class GenerationRequest:
    """A text for the model, or the ids of its tokens, and how its answer is decoded."""

    source: str | tuple[int, ...]
    decoding: Decoding = GREEDY
    forced: tuple[int, ...] = ()  # the answer begins with these tokens
    truncate: int | None = None  # cut a longer text to so many tokens; None: reject it
    known_only: bool = False  # reject a text with parts that the vocabulary does not have
    details: bool = False  # answer with the tokens one by one
    place: str = ""  # of the source in what the caller sent, which errors of the source name


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
        self._defaults = Decoding(**manifest.decoding)
        self._has_settings = manifest.has_settings
        self._end = manifest.architecture.eos_id

    def decoding(self, settings: Mapping[str, Any]) -> Decoding:
        """Return the model's decoding with `settings`; see `settings.decoding_of`.

        Raises `InvalidSetting`, and `LimitExceeded` for what the model cannot do.
        """
        decoding = decoding_of(settings, self._defaults, self._codec)
        most = self._limits.max_new_tokens
        wanted = decoding.max_new_tokens or most
        if wanted > most:
            raise LimitExceeded(f"max_new_tokens is {wanted}; the model writes at most {most}")
        # The model's own least is not the caller's, who may want a shorter text.
        least = settings.get("min_new_tokens") or 0
        if least > wanted:
            raise InvalidSetting(f"min_new_tokens is {least}; max_new_tokens is {wanted}")
        if not (self._has_settings or decoding.plain):
            raise LimitExceeded(
                f"{self._name} decodes greedily alone, with no setting but max_new_tokens, "
                "until `cybersolve upgrade` rewrites its bundle"
            )
        return decoding

    def text_of(self, source: str | tuple[int, ...]) -> str:
        """Return a source as text."""
        return source if isinstance(source, str) else self._codec.decode(source)

    def forced(self, prefix: str) -> tuple[int, ...]:
        """Return the tokens that an answer with this prefix begins with.

        Raises `InvalidSetting` for a prefix that no answer can have, and `LimitExceeded`.
        """
        most = self._limits.max_new_tokens
        if longer_than(prefix, most):
            raise LimitExceeded(
                f"prefix has {len(prefix)} characters; the model writes at most {most} tokens"
            )
        *forced, _ = tokens = self._codec.encode(prefix)
        if unknown := self._codec.unknown(prefix, tokens):
            raise InvalidSetting(
                f"prefix has {unknown[0]!r:.40}, which the vocabulary does not write"
            )
        if self._end in forced:
            end = self._codec.spelling(self._end)
            raise InvalidSetting(f"prefix has {end!r}, which would end the answer")
        if len(forced) >= most:
            raise LimitExceeded(f"prefix has {len(forced)} tokens; the model writes at most {most}")
        return tuple(forced)

    async def generate(
        self, request: GenerationRequest, *, timeout_s: float, wait: bool = False
    ) -> Written:
        """Return the whole answer; `wait` is for `submit`.

        Raises `LimitExceeded` and the errors of `submit`.
        """
        started_s = time.perf_counter()
        source, prompt = self._read(request)
        answered = await self._submit(prompt, timeout_s, wait=wait)
        return self._written(answered, request, source, prompt, started_s)

    async def stream(
        self, request: GenerationRequest, *, timeout_s: float, wait: bool = False
    ) -> AsyncGenerator[Piece | Ending, None]:
        """Yield the pieces of the text as they are decoded, and last the rest and the whole answer.

        Several answers, and those of beams, are known at the end alone.
        Raises the errors of `generate`, before the first piece or between two; `wait` as there.
        """
        started_s = time.perf_counter()
        source, prompt = self._read(request)
        unfinished = Unfinished(self._codec, prompt, details=request.details)
        async with aclosing(self._stream(prompt, timeout_s, wait=wait)) as news:
            async for item in news:
                if isinstance(item, Answered):
                    whole = self._written(item, request, source, prompt, started_s)
                    yield unfinished.ending(whole)
                elif (piece := unfinished.piece(item)) is not None:
                    yield piece

    def _read(self, request: GenerationRequest) -> tuple[Source, Prompt]:
        try:
            source = self._source(request)
        except LimitExceeded as error:
            if request.place:
                error.args = (f"{request.place}: {error}",)
            raise
        return source, Prompt(source.tokens, request.forced, request.decoding)

    def _source(self, request: GenerationRequest) -> Source:
        codec, most = self._codec, self._limits.max_source_tokens
        if isinstance(request.source, str):
            cut = request.truncate is not None
            most = min(most, request.truncate or most)
            source = read_text(codec, request.source, most, truncate=cut)
        else:
            source = read_tokens(codec, request.source, most, self._end)
        if len(source.tokens) < 2:
            raise LimitExceeded("the text is empty; expected something to read before its end")
        if request.known_only and source.unknown:
            raise UnknownText(self._name, source.unknown)
        return source

    def _written(
        self,
        answered: Answered,
        request: GenerationRequest,
        source: Source,
        prompt: Prompt,
        started_s: float,
    ) -> Written:
        return Written(
            texts=tuple(
                self._text(hypothesis, len(prompt.forced), request)
                for hypothesis in answered.answer.hypotheses
            ),
            source=source,
            seed=request.decoding.seed,
            timings=answered.timings,
            total_s=time.perf_counter() - started_s,
        )

    def _text(self, hypothesis: Hypothesis, forced: int, request: GenerationRequest) -> WrittenText:
        stops = request.decoding.stop
        text = written_text(self._codec, hypothesis, forced=forced, stops=stops)
        if not request.details:
            return text
        ids = [*hypothesis.tokens, self._end] if hypothesis.ended else hypothesis.tokens
        whole = Progress(ids, hypothesis.logprobs, hypothesis.alternatives)
        tokens = written_tokens(self._codec, (), whole, forced=forced)
        if hypothesis.ended:
            tokens[-1] = replace(tokens[-1], ends=True)
        return replace(text, tokens=tuple(tokens))
