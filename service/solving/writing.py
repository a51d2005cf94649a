"""Have the model write one text, and try alternatives where it is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

from engine.bundle import BundleError, Manifest
from engine.contracts import Hypothesis, Prompt
from engine.tokens import TextCodec
from equations.formats import FORMATS, Format
from equations.prompt import SUMS, OutOfRange
from equations.work import Work
from service.alternatives import Alternatives
from service.confidence import choices, confidence, score
from service.contracts import Answered, Submit, Timings
from service.errors import QuestionTooLong

_TRY_S = 60.0  # longer than any deadline
_TRIES_AT_ONCE = 3  # more at once correct less for each try; fewer take longer


class Written(NamedTuple):
    """One text of the model: its first, or a later one that is right."""

    source: tuple[int, ...]
    hypothesis: Hypothesis
    text: str
    work: Work
    timings: Timings  # of all tries
    tries: int = 1


def format_of(manifest: Manifest) -> Format:
    """Return the prompt format that a bundle's model reads. Raises `BundleError` if unknown."""
    format_ = FORMATS.get(manifest.prompt_format)
    if format_ is None:
        raise BundleError(f"unknown prompt format {manifest.prompt_format!r}")
    if manifest.target_format != format_.target:
        raise BundleError(f"unknown target format {manifest.target_format!r}")
    return format_


class Writer:
    """Ask the model of one bundle; `submit` is the batcher's.

    If the first text is wrong, up to `max_tries` are tried in all.
    """

    def __init__(
        self, manifest: Manifest, codec: TextCodec, submit: Submit, *, max_tries: int
    ) -> None:
        self.format = format_of(manifest)
        self.max_tries = max_tries
        self._codec = codec
        self._submit = submit
        self._eos_id = manifest.architecture.eos_id
        self._max_source_tokens = manifest.limits.max_source_tokens
        self._calibration = manifest.calibration
        self._choices = choices(codec.token_id)

    @cached_property
    def takes_steps(self) -> bool:
        """Return whether the model can write the steps of a system: models before 2.0 cannot."""
        return self.format.writes_work and self._codec.token_id(SUMS) is not None

    def encode(self, prompt: Callable[[], str]) -> tuple[int, ...]:
        """Return the ids of a prompt. Raises `QuestionTooLong`."""
        try:
            source = self._codec.encode(prompt())
        except OutOfRange as error:
            raise QuestionTooLong(f"the model does not read {error}") from error
        if len(source) > self._max_source_tokens:
            most = self._max_source_tokens
            raise QuestionTooLong(f"{len(source)} tokens; the model reads at most {most}")
        return source

    async def write(self, source: tuple[int, ...], timeout_s: float, *, wait: bool) -> Written:
        """Return what the model writes. Raises what `submit` raises."""
        return self._read(source, await self._submit(Prompt(source), timeout_s, wait=wait))

    async def try_again(
        self, first: Written, correct: Callable[[Work], bool], within_s: float
    ) -> Written:
        """Return an alternative that is `correct`, or else `first`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return await self._search(first, correct)
        return first

    async def _search(self, first: Written, correct: Callable[[Work], bool]) -> Written:
        search = Alternatives(first.source, eos_id=self._eos_id)
        search.add(Prompt(first.source), first.hypothesis)
        best, timings, tries = first, first.timings, 1
        while best is first and tries < self.max_tries:
            prompts = search.take(min(_TRIES_AT_ONCE, self.max_tries - tries))
            answers = await self._answers(prompts)
            if not answers:
                break
            tries += len(answers)
            timings += slowest([answered.timings for answered in answers.values()])
            for prompt, answered in answers.items():
                search.add(prompt, answered.hypothesis)
                if best is first and correct((written := self._read(first.source, answered)).work):
                    best = written
        return best._replace(tries=tries, timings=timings)

    async def _answers(self, prompts: list[Prompt]) -> dict[Prompt, Answered]:
        """Return the answers to `prompts`, likeliest first, without those that failed."""
        outcomes = await asyncio.gather(
            *(self._submit(prompt, _TRY_S) for prompt in prompts), return_exceptions=True
        )
        pairs = zip(prompts, outcomes, strict=True)
        return {prompt: answer for prompt, answer in pairs if isinstance(answer, Answered)}

    def _read(self, source: tuple[int, ...], answered: Answered) -> Written:
        text = self._codec.decode(answered.hypothesis.tokens)
        work = self.format.read(text)
        return Written(source, answered.hypothesis, text, work, answered.timings)

    def score(self, written: Written) -> float:
        return score(written.hypothesis, self._choices)

    def confidence(self, score: float) -> float | None:
        """Return the calibrated probability at a score; `None` for a bundle without figures."""
        return confidence(self._calibration, score) if self._calibration else None


def slowest(timings: list[Timings]) -> Timings:
    """Return the timings of the last of several texts that were written at the same time."""
    return max(timings, key=lambda one: one.total_s)
