"""The text of an answer: token by token, cut at stop texts, and while it is written."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contracts import Progress
from service.generating.shown import Shown, cut
from service.generating.written import written_tokens
from tests.service.text import CODEC

_SPECIAL = 3  # <pad>, </s> and <unk> have no text
ids = st.lists(st.integers(_SPECIAL, CODEC.size - 1), max_size=12)
short = st.text("abc", min_size=1, max_size=3)


@given(ids, st.integers(0, 12))
def test_the_texts_of_tokens_make_up_the_text(tokens: list[int], begun: int) -> None:
    """Law: the texts join to the whole, whether all tokens are known at once or some before."""
    known, new = tokens[:begun], tokens[begun:]
    texts = [
        token.text
        for before, some in (((), known), (known, new))
        for token in written_tokens(CODEC, before, Progress(some, [0.0] * len(some), []), forced=0)
    ]
    assert "".join(texts) == CODEC.decode(tokens)


@given(st.text("abc", max_size=12), st.lists(short, min_size=1, max_size=3))
def test_nothing_is_shown_that_the_whole_text_has_not(text: str, stops: list[str]) -> None:
    """An engine ends a text with the character that completes one of its stops."""
    ends = [end for end in range(len(text) + 1) if any(stop in text[:end] for stop in stops)]
    whole = text[: ends[0]] if ends else text
    showing = Shown(stops)
    shown = [showing.of(whole[:end]) for end in range(len(whole) + 1)]
    assert all(cut(whole, stops).startswith(one) for one in shown)
    assert all(later.startswith(sooner) for sooner, later in pairwise(shown))


@given(st.lists(st.text("abc", max_size=12), min_size=1), st.lists(short, min_size=1, max_size=3))
def test_no_more_is_held_back_than_may_become_a_stop_text(
    texts: list[str], stops: list[str]
) -> None:
    """Whatever was read before: mostly a text grows, but a tokenizer may change its end."""
    showing = Shown(stops)
    for text in sorted(texts):
        if any(stop in text for stop in stops):
            continue
        beginnings = [stop[:size] for stop in stops for size in range(1, len(stop))]
        held = max((len(one) for one in beginnings if text.endswith(one)), default=0)
        assert showing.of(text) == text[: len(text) - held]


class Compared(str):
    """A text that counts how often its end is compared."""

    times = 0

    def endswith(self, *end: object) -> bool:
        Compared.times += 1
        return super().endswith(*end)  # type: ignore[arg-type]


@pytest.mark.parametrize("stop", ["a" * 600, "ab" * 300, "x" * 600, "b" * 30 + "a" * 500])
def test_long_stop_texts_cost_each_character_little(stop: str) -> None:
    """Callers may give 64 of 1,000 characters, and all streams are read in one thread."""
    text, showing = "ab" * 100 + "b" * 400, Shown([stop])
    Compared.times = 0
    for end in range(1, len(text) + 1):
        showing.of(Compared(text[:end]))
    assert Compared.times <= 3 * len(text)


def test_a_text_is_cut_before_the_first_stop() -> None:
    assert cut("a house, a garden", ["garden", "house"]) == "a "
    assert cut("a house", []) == "a house"
    # The prefix may have one, but for one that it begins and the answer completes.
    assert cut("house: a house", ["house"], begun=6) == "house: a "
    assert cut("house: a house", [": a"], begun=6) == "house"


def test_an_unfinished_character_is_held_back() -> None:
    assert Shown([]).of("Gr\N{REPLACEMENT CHARACTER}") == ""
    assert Shown(["ün"]).of("Grü") == "Gr"
