"""Tokenizers that are built here against transformers', and as a bundle decodes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer, ByT5Tokenizer

from engine.tokens import TextCodec
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.reading import tokenizer_of
from model_export.checkpoint.tokenizer import bytes_tokenizer
from tests.conftest import shared_folder
from tests.model_export.family import TOKENIZER, VOCABULARY, change, write_byte_level, write_pieces

CONFIG = {
    "model_type": "t5", "vocab_size": VOCABULARY, "d_model": 8, "d_kv": 8, "d_ff": 8,
    "num_layers": 1, "num_heads": 1, "decoder_start_token_id": 0,
}  # fmt: skip
TEXTS = [
    "Solve 24 = 1601*c - 1605*c for c.", "two  spaces,\ttabs\nand lines ", "", " ", "é ﬁ ½ ｆｕ",
    "summarize: <extra_id_0> and </s> inside", "数学 und Übung", "a\u00a0b\u200bc",
]  # fmt: skip


def write_config(folder: Path, **settings: object) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **settings}))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def fill(folder: Path) -> None:
        write_config(folder)
        write_pieces(folder / "spiece.model")

    return shared_folder(tmp_path_factory, "pieces", fill)


@given(text=st.text(max_size=40) | st.sampled_from(TEXTS))
def test_pieces_alone_give_the_published_tokenizer(pieces: Path, text: str) -> None:
    """`tokenizer.json` and `spiece.model` of one model give the same ids for any text."""
    ours, published = tokenizer_of(pieces), Tokenizer.from_file(str(TOKENIZER))
    assert ours.encode(text).ids == published.encode(text).ids


def test_pieces_alone_give_the_published_texts(pieces: Path) -> None:
    ours, published = tokenizer_of(pieces), Tokenizer.from_file(str(TOKENIZER))
    assert ours.get_vocab() == published.get_vocab()
    for start in range(0, 3_425, 25):
        ids = list(range(start, start + 25))
        assert ours.decode(ids) == published.decode(ids)


def test_sentinels_are_as_many_as_said_or_fit(pieces: Path, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes((pieces / "spiece.model").read_bytes())
    write_config(tmp_path, vocab_size=3_330)  # room for 5: mT5 has 12 to spare and no sentinels
    assert tokenizer_of(tmp_path).get_vocab_size() == 3_325
    write_config(tmp_path, vocab_size=4_000)
    (tmp_path / "tokenizer_config.json").write_text('{"extra_ids": 300}')  # UMT5's number
    assert tokenizer_of(tmp_path).token_to_id("<extra_id_0>") == 3_624


def test_a_model_of_another_algorithm_is_refused(pieces: Path, tmp_path: Path) -> None:
    data = (pieces / "spiece.model").read_bytes()
    (tmp_path / "spiece.model").write_bytes(data + b"\x12\x02\x18\x02")  # TrainerSpec: BPE
    write_config(tmp_path)
    with pytest.raises(CheckpointError, match=r"of type 2; expected Unigram, or a tokenizer\.json"):
        tokenizer_of(tmp_path)


@given(text=st.text(max_size=40))
def test_bytes_are_byt5s(text: str) -> None:
    ours, theirs = bytes_tokenizer(), ByT5Tokenizer()
    if any(token in text for token in theirs.all_special_tokens):
        return
    ids = theirs(text).input_ids
    assert ours.encode(text).ids == ids
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True) == text


def test_byt5_has_no_file(tmp_path: Path) -> None:
    write_config(tmp_path, vocab_size=384, tokenizer_class="ByT5Tokenizer")
    tokenizer = tokenizer_of(tmp_path)
    assert tokenizer.get_vocab_size() == 384
    for number in (0, 124):
        token = f"<extra_id_{number}>"
        assert tokenizer.token_to_id(token) == ByT5Tokenizer().convert_tokens_to_ids(token)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def fill(folder: Path) -> None:
        write_config(folder, vocab_size=512, eos_token_id=2)
        write_byte_level(folder)

    return shared_folder(tmp_path_factory, "code", fill)


@given(text=st.text(max_size=40) | st.sampled_from(TEXTS))
def test_byte_level_pairs_are_transformers(code: Path, text: str) -> None:
    ours, theirs = tokenizer_of(code), AutoTokenizer.from_pretrained(code)
    ids = theirs(text).input_ids
    assert ours.encode(text).ids == ids
    kept = [id_ for id_ in ids if id_ not in theirs.all_special_ids]
    assert ours.decode(ids) == theirs.decode(kept, clean_up_tokenization_spaces=False)


def test_listed_tokens_must_follow_the_vocabulary(code: Path, tmp_path: Path) -> None:
    for path in code.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    change(tmp_path / "added_tokens.json", **{"<extra_id_99>": 450, "<extra_id_98>": None})
    with pytest.raises(CheckpointError, match=r"<extra_id_97> should have the id \d+"):
        tokenizer_of(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(CheckpointError, match=r"merges\.txt: merge 1 is not two tokens"):
        tokenizer_of(tmp_path)


@pytest.mark.parametrize("kind", ["pieces", "bytes", "code"])
def test_a_bundle_reads_and_writes_it(kind: str, tmp_path: Path, pieces: Path, code: Path) -> None:
    """The `tokenizer.json` that export writes is all that it needs."""
    built = {"pieces": pieces, "code": code}
    tokenizer = tokenizer_of(built[kind]) if kind in built else bytes_tokenizer()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    codec = TextCodec(tmp_path / "tokenizer.json")
    text = "Solve x + 1 = 3 for x."
    assert codec.encode(text) == tuple(tokenizer.encode(text).ids)
    assert codec.decode(codec.encode(text)) == text


def test_lengths_and_padding_of_a_published_file_are_not_kept(tmp_path: Path) -> None:
    write_config(tmp_path)
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert len(tokenizer_of(tmp_path).encode("Solve x + 1 = 3 for x.").ids) not in (4, 16)
