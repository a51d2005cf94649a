"""Count the useful floating point operations of an answer from the model's shape and its lengths.

Padding, softmax, norms and table look-ups do not count as useful.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelShape:
    """A T5's shape; `inner` is heads times d_kv, `predictable` the tokens that it may write."""

    d_model: int
    inner: int
    d_ff: int
    gated: bool
    encoder_layers: int
    decoder_layers: int
    predictable: int

    @classmethod
    def of(cls, config: Mapping[str, Any], suppressed: int) -> ModelShape:
        """Read `config.json`; generation suppresses so many tokens."""
        return cls(
            d_model=config["d_model"],
            inner=config["num_heads"] * config["d_kv"],
            d_ff=config["d_ff"],
            gated=config["feed_forward_proj"].startswith("gated"),
            encoder_layers=config["num_layers"],
            decoder_layers=config["num_decoder_layers"],
            predictable=config["vocab_size"] - suppressed,
        )


def flops(shape: ModelShape, source: int, steps: int) -> int:
    """Return the operations to encode `source` tokens and to decode in `steps` steps."""
    projection = shape.d_model * shape.inner  # multiply-adds of q, k, v or o for one token
    feed_forward = (3 if shape.gated else 2) * shape.d_model * shape.d_ff
    token = 4 * projection + 2 * source * shape.inner + feed_forward
    encoder = shape.encoder_layers * source * token
    cross = shape.decoder_layers * source * 2 * projection  # keys and values, once
    # Step n attends to n positions of its own; products with keys, then with values.
    own = 2 * shape.inner * steps * (steps + 1) // 2
    step = (4 + 2) * projection + 2 * source * shape.inner + feed_forward
    decoder = shape.decoder_layers * (steps * step + own)
    head = steps * shape.d_model * shape.predictable
    return 2 * (encoder + cross + decoder + head)
