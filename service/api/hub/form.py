"""Answers in the form of the hub's endpoints, whole and as events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.contracts import FinishReason
from service.api.error_forms import in_hub
from service.api.events import event
from service.api.hub.schemas import FinishReason as HubFinishReason
from service.api.hub.schemas import (
    HubBestDetails,
    HubDetails,
    HubEvent,
    HubRequest,
    HubSequence,
    HubStreamDetails,
    HubText,
    HubToken,
)
from service.api.problems import problem_of
from service.errors import ServiceError
from service.generating.unfinished import Ending, Piece
from service.generating.written import Written, WrittenText, WrittenToken

_REASONS: dict[FinishReason, HubFinishReason] = {
    FinishReason.END: "eos_token",
    FinishReason.STOP: "stop_sequence",
    FinishReason.LENGTH: "length",
}


class HubForm:
    """The form of the answers to one request."""

    def __init__(self, body: HubRequest, request_id: str) -> None:
        self._parameters = body.parameters
        self._read = body.sources if body.parameters.return_full_text else [""] * len(body.sources)
        self._request_id = request_id
        self._sent = 0  # events, one for each token
        self._sent_characters = 0  # of their texts

    def whole(self, written: Sequence[Written]) -> list[HubText] | list[list[HubText]]:
        """Return the answers: those of a lone text in a list, those of several in lists.

        As in transformers' pipelines, several texts with one answer each are in one list.
        """
        found = [self._texts(*pair) for pair in zip(self._read, written, strict=True)]
        if len(found) == 1:
            return found[0]
        if all(len(texts) == 1 for texts in found):
            return [texts[0] for texts in found]
        return found

    def events(self, _: int, item: Piece | Ending) -> Iterator[bytes]:
        if isinstance(item, Piece):
            for token in item.tokens:
                yield event(self._event(token))
            return
        *others, last = item.rest.tokens  # the last token is known with the whole answer alone
        for token in others:
            yield event(self._event(token, item.written.best))
        ending = self._event(last, item.written.best)
        ending.generated_text = self._read[0] + item.written.best.text
        ending.details = _stream_details(item.written)
        yield event(ending)

    def end(self) -> Iterator[bytes]:
        yield from ()

    def failure(self, error: ServiceError) -> bytes:
        return event(in_hub(problem_of(error, self._request_id)))

    def _event(self, token: WrittenToken, whole: WrittenText | None = None) -> HubEvent:
        """Return the event of a token; of its text is shown what is in the `whole`, once known."""
        shown = _written(token)
        if whole is not None:
            shown.text = shown.text[: max(0, len(whole.text) - self._sent_characters)]
        self._sent += 1
        self._sent_characters += len(token.text)
        top = [_token(one.id, one.text, one.logprob) for one in token.top]
        return HubEvent(index=self._sent, token=shown, top_tokens=top or None)

    def _texts(self, read: str, written: Written) -> list[HubText]:
        if self._parameters.best_of is None:
            return [self._text(read, text, written, ()) for text in written.texts]
        best, *others = sorted(written.texts, key=lambda text: text.mean_logprob, reverse=True)
        return [self._text(read, best, written, others)]

    def _text(
        self, read: str, text: WrittenText, written: Written, others: Sequence[WrittenText]
    ) -> HubText:
        shown, details = read + text.text, None
        if self._parameters.details:
            sequences = [
                HubSequence(generated_text=read + other.text, **dict(_details(other, written.seed)))
                for other in others
            ]
            own = dict(_details(text, written.seed))
            details = HubBestDetails(**own, best_of_sequences=sequences or None)
        return HubText(
            generated_text=shown, summary_text=shown, translation_text=shown, details=details
        )


def _stream_details(written: Written) -> HubStreamDetails:
    best = written.best
    return HubStreamDetails(
        finish_reason=_REASONS[best.finish_reason],
        generated_tokens=len(best.ids),
        input_length=len(written.source.tokens),
        seed=written.seed,
    )


def _details(text: WrittenText, seed: int | None) -> HubDetails:
    tops = [[_token(one.id, one.text, one.logprob) for one in token.top] for token in text.tokens]
    return HubDetails(
        finish_reason=_REASONS[text.finish_reason],
        generated_tokens=len(text.ids),
        tokens=[_written(token) for token in text.tokens],
        top_tokens=tops if any(tops) else None,
        seed=seed,
    )


def _written(token: WrittenToken) -> HubToken:
    return HubToken(id=token.id, text=token.text, logprob=token.logprob, special=token.ends)


def _token(id_: int, text: str, logprob: float) -> HubToken:
    return HubToken(id=id_, text=text, logprob=logprob, special=False)
