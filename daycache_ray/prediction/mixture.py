"""Mixes what several predictors say, each weighed by how well it did where the tables were as sure as now.

Multiplicative weights (Herbster, Warmuth 1998, with a fixed share so that one that was bad may come
back), one set per bucket of the first predictor's confidence. The surprise of the mixture over a time
is at most that of its best member plus a bounded margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

BUCKETS_COUNT: Final = 10
_SHARE: Final = 0.01
_LEAST: Final = 1e-6


class Mixture:
    """`members_count` predictors, the first of which says how sure it is.

    `rate`, 0 .. 1: how fast weights follow a block's mean surprise; weights move once per block.
    """

    def __init__(self, members_count: int = 2, *, rate: float = 0.5) -> None:
        assert members_count >= 1
        assert 0.0 < rate <= 1.0
        self._rate = rate
        self._weights = np.full((BUCKETS_COUNT, members_count), 1.0 / members_count)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The weights, (buckets of confidence, members), each row adding up to 1: a copy."""
        return self._weights.copy()

    def blend(self, said: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Return the mixture of the members' probabilities, each (n, classes)."""
        assert len(said) == self._weights.shape[1]
        weights = self._weights[_buckets(said[0])]
        mixed: npt.NDArray[np.float32] = np.einsum("nm,mnc->nc", weights, np.stack(said)).astype(np.float32)
        return mixed

    def learn(self, said: Sequence[npt.NDArray[np.float32]], truth: npt.NDArray[np.int64]) -> None:
        """Move the weights by what the members said of the classes that came, `truth` (n,)."""
        assert len(said) == self._weights.shape[1]
        buckets = _buckets(said[0])
        rows = np.arange(len(truth))
        surprise = np.stack([-np.log(np.maximum(member[rows, truth], _LEAST)) for member in said], axis=1)
        for bucket in np.unique(buckets):
            here = surprise[buckets == bucket].sum(axis=0) * self._rate
            weights = self._weights[bucket] * np.exp(here.min() - here)
            weights /= weights.sum()
            self._weights[bucket] = (1.0 - _SHARE) * weights + _SHARE / len(weights)


def _buckets(said: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    sure = said[:, :-1].max(axis=1)
    buckets: npt.NDArray[np.int64] = np.minimum((sure * BUCKETS_COUNT).astype(np.int64), BUCKETS_COUNT - 1)
    return buckets
