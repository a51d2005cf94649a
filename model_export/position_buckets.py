"""Map relative positions to the buckets that T5 learns a bias for.

Near distances have a bucket each, farther ones share buckets that grow with the logarithm of the
distance, and all beyond the farthest share the last. Source: Raffel et al. 2020, section 2.1, and
`T5Attention._relative_position_bucket` of transformers, whose rounding in fp32 this keeps.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def buckets_of(
    distances: npt.NDArray[np.int64], *, bidirectional: bool, buckets: int, farthest: int
) -> npt.NDArray[np.int64]:
    """Return the bucket of each key position minus query position.

    `bidirectional` is for encoders, where half of the `buckets` are for keys after the query. In
    decoders these count as distance 0. `farthest` is the distance of the last bucket.
    """
    if bidirectional:
        buckets //= 2
        first = np.where(distances > 0, buckets, 0)
        away = np.abs(distances)
    else:
        first = np.zeros_like(distances)
        away = np.maximum(-distances, 0)
    exact = buckets // 2
    ratio = (np.maximum(away, 1) / exact).astype(np.float32)
    # Logarithms of fp64, rounded: those of NumPy in fp32 are off by a unit at some powers of two.
    logarithm = np.log(ratio.astype(np.float64)).astype(np.float32)
    steps = logarithm / np.float32(math.log(farthest / exact)) * np.float32(buckets - exact)
    shared = np.minimum(exact + steps.astype(np.int64), buckets - 1)
    return first + np.where(away < exact, away, shared)
