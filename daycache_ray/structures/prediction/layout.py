"""Which weight of the ranker stands for which piece of evidence, and its value before anything is learned.

Evidence is one-hot: "the order-2 table has seen this context 9 to 15 times, and this key in half of
them" is one number, and so one weight. Adding the weights of a candidate's evidence is its score.
"""

from __future__ import annotations

import math
from typing import Final

from daycache_ray.structures.prediction.successor_tables import TOTAL_MAX

TABLES: Final = ("order3", "order2", "order1", "private1", "types3", "delta2", "delta1")
WIDTHS: Final = (8, 8, 8, 6, 4, 4, 4)
"""Successors that each table keeps per context."""
PRIORS: Final = (1.0, 1.0, 0.5, 0.3, 0.2, 0.2, 0.1)
"""How far a table is believed before its weights are learned."""

BUCKETS: Final = 64
TRANSFER_AT: Final = len(TABLES) * BUCKETS
STRIDE_AT: Final = TRANSFER_AT + 32
NEXT_AT: Final = STRIDE_AT + 8
RECENCY_AT: Final = NEXT_AT + 1
TOPS_AT: Final = RECENCY_AT + 128
NEWEST_AT: Final = TOPS_AT + 256
REPEAT_AT: Final = NEWEST_AT + 256
NONE_AT: Final = REPEAT_AT + 8
"""From here: evidence that none of the candidates comes, a bucket per table or its absence."""
SET_SIZE: Final = NONE_AT + len(TABLES) * (BUCKETS + 1) + 1
SETS: Final = 4
"""A set of weights for each longest context that is known: none, 1, 2 or 3 keys."""

_TOTAL_EDGES: Final = (1, 2, 3, 5, 8, 15, 31)
_SHARE_EDGES: Final = (0.04, 0.1, 0.2, 0.35, 0.5, 0.75, 0.95)


def _bucket(total: int, count: int) -> int:
    seen = sum(total > edge for edge in _TOTAL_EDGES)
    share = sum(count > edge * total for edge in _SHARE_EDGES)
    return seen * 8 + share


BUCKET_OF: Final = tuple(_bucket(total, count) for total in range(TOTAL_MAX + 1) for count in range(TOTAL_MAX + 1))
"""The bucket of (total, count) at total * (TOTAL_MAX + 1) + count."""


def log_share(bucket: int) -> float:
    """Return a typical log probability, escape included, for a bucket: always below zero."""
    total = (1, 2, 3, 4.5, 7, 12, 23, 48)[bucket // 8]
    share = (0.02, 0.07, 0.15, 0.28, 0.43, 0.63, 0.86, 1.0)[bucket % 8]
    return math.log((share * total + 0.02) / (total + 0.5))


def first_weights() -> list[float]:
    """Return the weights from which the ranker starts: a plain blend of the tables."""
    one: list[float] = [0.0] * SET_SIZE
    for table, prior in enumerate(PRIORS):
        for bucket in range(BUCKETS):
            # against a floor of one in a thousand, so that evidence of any kind is better than none
            one[table * BUCKETS + bucket] = prior * (log_share(bucket) + 7.0) * 0.5
    for bucket in range(32):
        one[TRANSFER_AT + bucket] = 0.3 * (bucket // 4)
    one[-1] = 3.0
    return one * SETS
