"""The pieces of a stream make up its answer: the text, and its tokens one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.contracts import Answer, Decoding, Hypothesis, Progress, Prompt
from service.contracts import Answered, Timings
from service.generating.generator import GenerationRequest, Generator
from service.generating.unfinished import Ending, Piece
from tests.service.text import CODEC, TEXT, manifest_of

_UNKNOWN = 2  # it has no text
ids = st.lists(
    st.one_of(st.just(_UNKNOWN), st.integers(_UNKNOWN, CODEC.size - 1)), min_size=1, max_size=12
)


def streamed(
    bundle: Path,
    whole: Hypothesis,
    reads: list[int],
    *,
    forced: int = 0,
    stop: tuple[str, ...] = (),
) -> tuple[list[Piece], Ending]:
    """Return the pieces of `whole`, of which so many tokens are known after each of `reads`."""

    async def stream(
        prompt: Prompt, timeout_s: float, *, wait: bool
    ) -> AsyncGenerator[Progress | Answered, None]:
        for begin, end in zip([0, *reads], reads, strict=False):
            parts = (whole.tokens, whole.logprobs, whole.alternatives)
            yield Progress(*(part[begin:end] for part in parts))  # type: ignore[arg-type]
        yield Answered(Answer((whole,)), Timings(0.0, 0.0))

    async def submit(prompt: Prompt, timeout_s: float, *, wait: bool = False) -> Answered:
        raise AssertionError("streams are not submitted")

    async def main() -> list[Piece | Ending]:
        generator = Generator(manifest_of(bundle), CODEC, submit, stream)
        request = GenerationRequest(
            TEXT, Decoding(stop=stop), forced=tuple(whole.tokens[:forced]), details=True
        )
        return [item async for item in generator.stream(request, timeout_s=1.0)]

    *pieces, ending = asyncio.run(main())
    assert isinstance(ending, Ending)
    return [piece for piece in pieces if isinstance(piece, Piece)], ending


def hypothesis(tokens: list[int], *, ended: bool = False, stopped: bool = False) -> Hypothesis:
    count = len(tokens) + ended
    return Hypothesis(
        tokens,
        [-place / 8 for place in range(count)],
        [0] * count,
        [-9.0] * count,
        [[(place + 5, -place / 4)] for place in range(count)],
        stopped=stopped,
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ids, st.data())
def test_pieces_make_up_the_answer(bundle: Path, tokens: list[int], data: st.DataObject) -> None:
    text = CODEC.decode(tokens)
    begin = data.draw(st.integers(0, len(text)))
    stop = tuple(filter(None, [text[begin : begin + data.draw(st.integers(0, 3))]]))
    stopped = bool(stop)
    for length in range(1, len(tokens) + 1) if stopped else ():
        if stop[0] in CODEC.decode(tokens[:length]):
            tokens = tokens[:length]
            break
    reads = sorted(data.draw(st.sets(st.integers(1, len(tokens)), max_size=12)))
    if stopped:  # the engine ends with the token that completes the stop text
        reads = [read for read in reads if read < len(tokens)]
    whole = hypothesis(tokens, ended=not stopped, stopped=stopped)
    pieces, ending = streamed(bundle, whole, reads, stop=stop)
    best = ending.written.best
    parts = [*pieces, ending.rest]
    assert "".join(part.text for part in parts) == best.text
    assert tuple(token for part in parts for token in part.tokens) == best.tokens
    shown, begun = 0, 0
    for piece in pieces:
        shown += len(piece.text)
        for token in piece.tokens:
            assert begun < shown, "a token without a text waits for more text"
            begun += len(token.text)
        assert begun <= shown, "no token comes before its text"


def test_each_piece_has_its_token_at_once(bundle: Path) -> None:
    tokens = list(CODEC.encode(TEXT)[:-1])
    pieces, ending = streamed(bundle, hypothesis(tokens, ended=True), [1, 2, 3, 4, 5], forced=1)
    assert [(piece.text, len(piece.tokens)) for piece in pieces] == [
        ("The", 1), (" house", 1), (" is", 1), (" small", 1), (".", 1),
    ]  # fmt: skip
    known = [token.logprob for piece in pieces for token in piece.tokens]
    assert known == [None, -0.125, -0.25, -0.375, -0.5], "the prefix has none"
    (end,) = ending.rest.tokens
    assert (ending.rest.text, end.text, end.logprob) == ("", "", -0.625)


@pytest.mark.parametrize(
    ("stop", "pieces"),
    [
        ("small?", [("The", 1), (" house", 1), (" i", 0), ("s ", 1), ("small.", 2)]),
        ("se is smart", [("The", 1), (" hou", 0), ("se is small", 3), (".", 1)]),
    ],
)
def test_a_token_waits_until_its_text_is_settled(
    bundle: Path, stop: str, pieces: list[tuple[str, int]]
) -> None:
    """The generator holds back a text that may begin the stop text."""
    tokens = list(CODEC.encode(TEXT)[:-1])
    found, ending = streamed(bundle, hypothesis(tokens, ended=True), [1, 2, 3, 4, 5], stop=(stop,))
    assert [(piece.text, len(piece.tokens)) for piece in found] == pieces
    assert [token.id for piece in found for token in piece.tokens] == tokens
    assert (ending.rest.text, len(ending.rest.tokens)) == ("", 1)
