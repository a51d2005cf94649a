"""The settings of a prompt: their ranges, their rows, and what an answer says of its end."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from engine.contracts import Decoding, FinishReason, Hypothesis, Prompt


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; expected 1 or more"),
        ({"min_new_tokens": -1}, "min_new_tokens is -1; expected 0 or more"),
        ({"temperature": 0.0}, "temperature is 0.0; expected 1e-20 to 1e+20"),
        ({"temperature": math.nan}, "temperature is nan; expected 1e-20 to 1e+20"),
        ({"top_k": -1}, "top_k is -1; expected 0 or more"),
        ({"top_p": -0.1}, "top_p is -0.1; expected 0 to 1"),
        ({"min_p": 1.5}, "min_p is 1.5; expected 0 to 1"),
        ({"seed": -1}, "seed is -1; expected 0 to 2^64 - 1"),
        ({"num_beams": 17}, "num_beams is 17; expected 1 to 16"),
        ({"num_beams": 2, "do_sample": True}, "num_beams is 2; expected 1 with do_sample"),
        ({"length_penalty": math.inf}, "length_penalty is inf; expected -20 to 20"),
        ({"early_stopping": "soon"}, "early_stopping is 'soon'; expected true, false or \"never\""),
        ({"num_return_sequences": 2}, "num_return_sequences is 2; expected 1 without do_sample"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences is 3; expected 1 to 2"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0; expected 0.001 to 1000"),
        ({"no_repeat_ngram_size": -2}, "no_repeat_ngram_size is -2; expected 0 or more"),
        ({"bad_words": ((),)}, "bad_words is (); expected token ids of each"),
        (
            {"logit_bias": ((3, math.nan),)},
            "logit_bias is (3, nan); expected token ids and numbers within 1e+06",
        ),
        ({"stop": ("",)}, "stop is ''; expected texts of a character or more"),
        ({"top_logprobs": 6}, "top_logprobs is 6; expected 0 to 5"),
        ({"top_k": -(10**99)}, f"top_k is -1{'0' * 38}; expected 0 or more"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        Decoding(**settings)


def test_beams_and_samples_take_a_row_each() -> None:
    assert Prompt((5, 1)).rows == 1
    assert Prompt((5, 1), decoding=Decoding(num_beams=4, num_return_sequences=2)).rows == 4
    assert Prompt((5, 1), decoding=Decoding(do_sample=True, num_return_sequences=3)).rows == 3


def test_only_a_limit_is_no_setting() -> None:
    assert Decoding(max_new_tokens=3).plain
    assert not Decoding(max_new_tokens=3, top_logprobs=1).plain


def test_an_answer_says_how_it_ended() -> None:
    def reason(tokens: int, logprobs: int, *, stopped: bool = False) -> FinishReason:
        zeros = [0.0] * logprobs
        return Hypothesis([7] * tokens, zeros, [0] * logprobs, zeros, stopped=stopped).finish_reason

    assert reason(3, 4) is FinishReason.END
    assert reason(3, 3) is FinishReason.LENGTH
    assert reason(3, 3, stopped=True) is FinishReason.STOP
