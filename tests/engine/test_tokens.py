"""A bundle's tokenizer: the short way for tokenizers of words gives what the library gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from engine.bundle import TOKENIZER
from engine.tokens import TextCodec
from service.settings import Settings

PATH = Settings().model / TOKENIZER
CODEC, LIBRARY = TextCodec(PATH), Tokenizer.from_file(str(PATH))
VOCABULARY = sorted(LIBRARY.get_vocab())

words = st.one_of(st.sampled_from(VOCABULARY), st.text(max_size=4))
texts = st.lists(st.tuples(words, st.sampled_from([" ", "  ", "", "\t", "\x1f", "\u2003"]))).map(
    lambda pairs: "".join(word + gap for word, gap in pairs)
)


@given(texts)
def test_any_text_has_the_librarys_ids(text: str) -> None:
    assert list(CODEC.encode(text)) == LIBRARY.encode(text).ids


@given(st.lists(st.integers(0, len(VOCABULARY) + 5)))
def test_any_ids_have_the_librarys_text(ids: list[int]) -> None:
    assert CODEC.decode(ids) == LIBRARY.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("step", ["normalizer", "decoder"])
def test_a_tokenizer_that_does_more_is_left_to_the_library(tmp_path: Path, step: str) -> None:
    described = json.loads(PATH.read_text())
    steps = {"normalizer": {"type": "Lowercase"}, "decoder": {"type": "Fuse"}}
    path = tmp_path / TOKENIZER
    path.write_text(json.dumps({**described, step: steps[step]}))
    word = VOCABULARY[-1]
    library, codec = Tokenizer.from_file(str(path)), TextCodec(path)
    for text in (word, word.upper()):
        ids = library.encode(text).ids
        assert list(codec.encode(text)) == ids
        assert codec.decode(ids) == library.decode(ids, skip_special_tokens=True)


@given(texts)
def test_what_words_do_not_know_is_named(text: str) -> None:
    unknown_id = LIBRARY.token_to_id("<unk>")
    ids = CODEC.encode(text)
    unknown = CODEC.unknown(text, ids)
    assert bool(unknown) == (unknown_id in ids)
    assert all(word in text for word in unknown)


def test_what_pieces_do_not_know_is_named_once_and_in_order() -> None:
    codec = TextCodec(Path(__file__).parents[1] / "t5_tokenizer.json")
    text = "a {b} ~ 日本 {"
    assert codec.unknown(text, codec.encode(text)) == ("{", "}", "~", "日本")
    assert codec.unknown("a house", codec.encode("a house")) == ()
    house = codec.encode("a house")[-2]
    assert codec.spelling(house) == " house"
    assert codec.spelling(codec.size + 5) == ""
