"""Changes to a row's scores before a token is chosen, as transformers' logits processors make them.

Their order there is the order here: biases, the penalty of repetitions, and bans, which nothing
undoes. Few tokens are concerned, so they are a list and not a mask of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.contracts import Decoding

BANNED = -math.inf
# Maps a token to two numbers: the first is added to its score; then the second multiplies a
# negative score and divides any other.
Adjustments = dict[int, tuple[float, float]]


class Adjusting:
    """The adjustments of one prompt's rows; `width` is the number of tokens that have scores.

    `none` is true where there never are any.
    """

    def __init__(self, decoding: Decoding, *, eos_id: int, width: int) -> None:
        self._decoding = decoding
        self._eos_id = eos_id
        self._width = width
        self._biases = [(token, bias) for token, bias in decoding.logit_bias if token < width]
        self._words = [words for words in decoding.bad_words if words != (eos_id,)]
        self.none = not (
            self._biases
            or self._words
            or decoding.min_new_tokens
            or decoding.no_repeat_ngram_size
            or decoding.repetition_penalty != 1.0
        )

    def after(self, context: Sequence[int], generated: int) -> Adjustments:
        """Return the adjustments for the token after `context`, the start token and all later ones,
        of which the last `generated` are not forced.
        """
        penalty = self._decoding.repetition_penalty
        adjustments: Adjustments = {}
        if penalty != 1.0:
            adjustments = dict.fromkeys(context, (0.0, penalty))
        for token, bias in self._biases:
            adjustments[token] = (bias, adjustments.get(token, (0.0, 1.0))[1])
        adjustments |= dict.fromkeys(self._banned(context, generated), (BANNED, 1.0))
        return adjustments

    def _banned(self, context: Sequence[int], generated: int) -> list[int]:
        banned = repeating(context, self._decoding.no_repeat_ngram_size)
        for *begin, last in self._words:
            # transformers looks only where the context is as long as the whole of the words.
            if not begin or (len(context) > len(begin) and context[-len(begin) :] == begin):
                banned.append(last)
        if generated < self._decoding.min_new_tokens:
            banned.append(self._eos_id)
        return [token for token in banned if token < self._width]


def repeating(context: Sequence[int], size: int) -> list[int]:
    """Return the tokens that would make the last `size` tokens ones that are in `context`."""
    if size < 1 or len(context) < size - 1:
        return []
    if size == 1:
        return list(context)
    begin = context[1 - size :]
    return [
        context[end]
        for end in range(size - 1, len(context))
        if context[end - 1] == begin[-1] and context[end - size + 1 : end] == begin
    ]
