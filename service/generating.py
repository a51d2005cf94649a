"""Generate text from text with any T5, whole or as a stream. No HTTP and no equations here."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from engine.bundle import Manifest
from engine.contracts import Decoding, FinishReason, Prompt
from engine.tokens import TextCodec
from service.contracts import Answered, Submit, Timings
from service.errors import LimitExceeded, QuestionTooLong

Stream = Callable[[Prompt, float], AsyncGenerator[list[int] | Answered, None]]
# A sentencepiece token has at most 16 characters. Longer texts are rejected before they are
# tokenised, because a megabyte would block every other caller.
_CHARACTERS_A_TOKEN = 32
_UNFINISHED = (
    "\N{REPLACEMENT CHARACTER}"  # bytes of a character whose last token is not generated yet
)


@dataclass(frozen=True)
class Written:
    """The model's answer to one text."""

    text: str
    tokens: int
    finish_reason: FinishReason
    timings: Timings
    total_s: float


class Generator:
    """Generate text with the model of one bundle; `submit` and `stream` are the batcher's."""

    def __init__(
        self, manifest: Manifest, codec: TextCodec, submit: Submit, stream: Stream
    ) -> None:
        self._codec = codec
        self._submit = submit
        self._stream = stream
        self._limits = manifest.limits

    async def generate(
        self,
        text: str,
        *,
        max_new_tokens: int | None = None,
        timeout_s: float,
        wait: bool = False,
    ) -> Written:
        """Return the whole answer; `wait` is for `submit`.

        Raises `LimitExceeded` and the errors of `submit`.
        """
        started_s = time.perf_counter()
        answered = await self._submit(self._prompt(text, max_new_tokens), timeout_s, wait=wait)
        return self._written(answered, started_s)

    async def stream(
        self, text: str, *, max_new_tokens: int | None = None, timeout_s: float
    ) -> AsyncGenerator[str | Written, None]:
        """Yield the pieces of the text as they are decoded, and last the whole answer.

        Raises the errors of `generate`, before the first piece or between two.
        """
        started_s, shown = time.perf_counter(), ""
        async with aclosing(self._stream(self._prompt(text, max_new_tokens), timeout_s)) as news:
            async for item in news:
                done = isinstance(item, Answered)
                tokens = item.hypothesis.tokens if isinstance(item, Answered) else item
                so_far = self._codec.decode(tokens)
                if so_far.startswith(shown) and (done or not so_far.endswith(_UNFINISHED)):
                    if so_far != shown:
                        yield so_far[len(shown) :]
                    shown = so_far
                if isinstance(item, Answered):
                    yield self._written(item, started_s)

    def _prompt(self, text: str, max_new_tokens: int | None) -> Prompt:
        limits = self._limits
        if max_new_tokens is not None and max_new_tokens > limits.max_new_tokens:
            raise LimitExceeded(
                f"max_new_tokens is {max_new_tokens}; the model writes at most "
                f"{limits.max_new_tokens}"
            )
        most = limits.max_source_tokens
        if len(text) > _CHARACTERS_A_TOKEN * most:
            raise QuestionTooLong(f"{len(text)} characters; the model reads at most {most} tokens")
        source = self._codec.encode(text)
        if len(source) > most:
            raise QuestionTooLong(f"{len(source)} tokens; the model reads at most {most}")
        return Prompt(source, decoding=Decoding(max_new_tokens=max_new_tokens))

    def _written(self, answered: Answered, started_s: float) -> Written:
        hypothesis = answered.hypothesis
        return Written(
            text=self._codec.decode(hypothesis.tokens),
            tokens=len(hypothesis.tokens),
            finish_reason=hypothesis.finish_reason,
            timings=answered.timings,
            total_s=time.perf_counter() - started_s,
        )
