"""Completions in OpenAI's form, whole and as events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from engine.bundle import Manifest
from engine.contracts import FinishReason
from service.api.error_forms import in_openai
from service.api.events import data
from service.api.openai.schemas import Choice, Completion, CompletionRequest, Logprobs, Usage
from service.api.problems import problem_of
from service.errors import ServiceError
from service.generating.unfinished import Ending, Piece
from service.generating.written import Written, WrittenText, WrittenToken

_REASONS: Mapping[FinishReason, Literal["stop", "length"]] = {
    FinishReason.END: "stop",
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
}


class CompletionForm:
    """The form of the answers to one request. `echoed` are the prompts, or empty texts."""

    def __init__(
        self, body: CompletionRequest, echoed: Sequence[str], manifest: Manifest, request_id: str
    ) -> None:
        self._body = body
        self._echoed = echoed
        self._request_id = request_id
        self._begun: set[int] = set()
        self._offsets: dict[int, int] = {}  # of the next token in the text of a choice
        self._usage = Usage(prompt_tokens=0, completion_tokens=0, total_tokens=0)
        options = body.stream_options
        self._with_usage = bool(options and options.include_usage)
        self._frame = Completion(
            id=f"cmpl-{request_id}",
            created=int(time.time()),
            model=manifest.name,
            system_fingerprint=f"{manifest.name}-{manifest.version}-{manifest.precision}",
            choices=[],
        )

    def whole(self, written: Sequence[Written]) -> Completion:
        """Return the answers to all prompts; the choices of a prompt follow each other."""
        choices: list[Choice] = []
        for prompt, answers in zip(self._echoed, written, strict=True):
            self._count(answers)
            choices += [
                self._choice(len(choices) + offset, prompt + text.text, text)
                for offset, text in enumerate(self._chosen(answers))
            ]
        return self._frame.model_copy(update={"choices": choices, "usage": self._usage})

    def events(self, index: int, item: Piece | Ending) -> Iterator[bytes]:
        first = index * self._body.choices
        if isinstance(item, Piece):
            yield self._event(self._piece(first, self._prompt_once(index), item))
            return
        self._count(item.written)
        # The first answer was sent in pieces, the others are sent whole.
        best, *others = item.written.texts
        last = self._piece(first, self._prompt_once(index), item.rest, len(best.text))
        last.finish_reason = _REASONS[best.finish_reason]
        yield self._event(last)
        for offset, text in enumerate(others, start=1):
            yield self._event(self._choice(first + offset, self._echoed[index] + text.text, text))

    def end(self) -> Iterator[bytes]:
        if self._with_usage:
            last = self._frame.model_copy(update={"usage": self._usage})
            yield data(last.model_dump_json())
        yield data("[DONE]")

    def failure(self, error: ServiceError) -> bytes:
        return data(in_openai(problem_of(error, self._request_id)).model_dump_json())

    def _event(self, choice: Choice) -> bytes:
        chunk = self._frame.model_copy(update={"choices": [choice]})
        return data(chunk.model_dump_json(exclude=None if self._with_usage else {"usage"}))

    def _prompt_once(self, index: int) -> str:
        """Return the prompt before the first event of a choice, then nothing."""
        if index in self._begun:
            return ""
        self._begun.add(index)
        return self._echoed[index]

    def _chosen(self, answers: Written) -> Sequence[WrittenText]:
        """Return `n` of the answers: with `best_of`, those with the likeliest tokens."""
        if self._body.answers == self._body.choices:
            return answers.texts
        ranked = sorted(answers.texts, key=lambda text: text.mean_logprob, reverse=True)
        return ranked[: self._body.choices]

    def _choice(self, index: int, shown: str, text: WrittenText) -> Choice:
        return Choice(
            text=shown,
            index=index,
            logprobs=self._logprobs(index, text.tokens, len(text.text)),
            finish_reason=_REASONS[text.finish_reason],
        )

    def _piece(self, index: int, prompt: str, piece: Piece, length: int | None = None) -> Choice:
        """Return a piece of the choice `index`; `length` is that of the whole text, once known."""
        logprobs = self._logprobs(index, piece.tokens, length)
        return Choice(text=prompt + piece.text, index=index, logprobs=logprobs)

    def _logprobs(
        self, index: int, tokens: Sequence[WrittenToken], length: int | None
    ) -> Logprobs | None:
        """Return those of the next `tokens` of a choice; `None` where they are not wanted."""
        if self._body.logprobs is None:
            return None
        begin = self._offsets.get(index, 0)
        found = logprobs_of(tokens, begin=begin, length=length)
        self._offsets[index] = begin + sum(map(len, found.tokens))
        return found

    def _count(self, answers: Written) -> None:
        self._usage.prompt_tokens += len(answers.source.tokens)
        self._usage.completion_tokens += sum(len(text.ids) for text in answers.texts)
        self._usage.total_tokens = self._usage.prompt_tokens + self._usage.completion_tokens


def logprobs_of(tokens: Sequence[WrittenToken], *, begin: int, length: int | None) -> Logprobs:
    """Return `tokens`, the first at the character `begin`, that are in a text of `length`.

    The end token is not, nor is what follows where a stop text cut it. `None`: it is not cut yet.
    """
    found = Logprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
    offset = begin
    for token in tokens:
        if token.ends or (length is not None and offset >= length):
            break
        found.tokens.append(token.text)
        found.token_logprobs.append(token.logprob)
        top = {one.text: one.logprob for one in token.top}
        if token.logprob is not None:
            top.setdefault(token.text, token.logprob)
        found.top_logprobs.append(top)
        found.text_offset.append(offset)
        offset += len(token.text)
    return found
