"""The text of an answer: token by token, cut at stop texts, and while it is written."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.generating.written import cut, shown_so_far, token_texts
from tests.service.text import CODEC

_SPECIAL = 3  # <pad>, </s> and <unk> have no text
ids = st.lists(st.integers(_SPECIAL, CODEC.size - 1), max_size=12)
short = st.text("abc", min_size=1, max_size=3)


@given(ids)
def test_the_texts_of_tokens_make_up_the_text(tokens: list[int]) -> None:
    assert "".join(token_texts(CODEC, tokens)) == CODEC.decode(tokens)


@given(st.text("abc", max_size=12), st.lists(short, min_size=1, max_size=3))
def test_nothing_is_shown_that_the_whole_text_has_not(text: str, stops: list[str]) -> None:
    """An engine ends a text with the character that completes one of its stops."""
    ends = [end for end in range(len(text) + 1) if any(stop in text[:end] for stop in stops)]
    whole = text[: ends[0]] if ends else text
    shown = [shown_so_far(whole[:end], stops) for end in range(len(whole) + 1)]
    assert all(cut(whole, stops).startswith(one) for one in shown)
    assert all(later.startswith(sooner) for sooner, later in pairwise(shown))


def test_a_text_is_cut_before_the_first_stop() -> None:
    assert cut("a house, a garden", ["garden", "house"]) == "a "
    assert cut("a house", []) == "a house"
    # The prefix may have one, but for one that it begins and the answer completes.
    assert cut("house: a house", ["house"], begun=6) == "house: a "
    assert cut("house: a house", [": a"], begun=6) == "house"


def test_an_unfinished_character_is_held_back() -> None:
    assert shown_so_far("Gr\N{REPLACEMENT CHARACTER}", []) == ""
    assert shown_so_far("Grü", ["ün"]) == "Gr"
