"""The rows that a GPU's memory holds."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from engine.bundle import Architecture, Limits
from engine.contracts import OutOfMemory
from engine.memory import row_bytes, rows_that_fit


def test_rows_fit_into_nine_tenths_of_what_is_free(caplog: pytest.LogCaptureFixture) -> None:
    assert rows_that_fit(100, 10_000, wanted=64) == 64
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert rows_that_fit(100, 5_000, wanted=64) == 45
    assert "holds 45 rows of the 64 asked for" in caplog.text


def test_a_card_that_holds_no_row_is_refused() -> None:
    with pytest.raises(OutOfMemory, match="80 MB are free on the GPU; expected 111 MB for one row"):
        rows_that_fit(100_000_000, 80_000_000, wanted=8)


class Decoder:
    """A session that has only the types and the vocabulary."""

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="token", type="tensor(int64)"),
                SimpleNamespace(name="key.0", type="tensor(float16)")]  # fmt: skip

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="logits", shape=["batch", 1, 32_128])]


def test_a_row_of_flan_t5_large_in_fp16() -> None:
    """A token's keys and values take 2 x 24 layers x 16 heads x 64 numbers of 2 bytes."""
    large = Architecture(24, 16, 64, 783_000_000, 0, 1, 0)
    row = row_bytes(large, Limits(512, 128), Decoder())
    assert row == 98_304 * (2 * 512 + 192) + 16 * 32_128
