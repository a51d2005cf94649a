"""The buckets of relative positions against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from model_export.position_buckets import buckets_of


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("buckets", [8, 32, 64, 100])
@pytest.mark.parametrize("farthest", [64, 128, 256, 1000])
def test_every_distance_has_transformers_bucket(
    bidirectional: bool, buckets: int, farthest: int
) -> None:
    """Powers of two of the first shared distance fall on the edges of buckets."""
    distances = np.arange(-2_000, 2_001)
    expected = T5Attention._relative_position_bucket(
        torch.from_numpy(distances), bidirectional, buckets, farthest
    )
    found = buckets_of(distances, bidirectional=bidirectional, buckets=buckets, farthest=farthest)
    np.testing.assert_array_equal(found, expected.numpy())
