"""Whether an entry that is still good should be loaded anew, so that nobody ever waits for it. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


def is_past_ratio(left_s: float, ttl_s: float, ratio: float) -> bool:
    """Return whether more than `ratio` of a TTL is over.

    Args:
        left_s: seconds that the entry has left.
        ttl_s: seconds that it had in the beginning, above 0.
        ratio: 0 … 1.

    >>> is_past_ratio(1.9, 10, 0.8), is_past_ratio(2.1, 10, 0.8)
    (True, False)
    """
    assert ttl_s > 0
    assert 0 < ratio < 1
    return left_s < ttl_s * (1.0 - ratio)


def is_early_expired(left_s: float, load_s: float, beta: float, rng: random.Random) -> bool:
    """Return whether this reader should act as if the entry had expired already.

    The probability rises towards the end, and the dearer the load the earlier: with beta 1 it is exp(-left / load).
    Readers that decide by themselves then seldom load at the same time.

    Args:
        left_s: seconds that the entry has left, from 0.
        load_s: seconds that its load took, from 0; 0 is unknown and never early.
        beta: 1 is optimal where load times are exponentially distributed, more is earlier.
        rng: where the decision comes from.

    Source: Vattani, Chierichetti, Lowenstein, Optimal Probabilistic Cache Stampede Prevention (VLDB 2015), XFetch.
    """
    assert load_s >= 0
    assert beta > 0
    if left_s <= 0:
        return True
    return -load_s * beta * math.log(1.0 - rng.random()) >= left_s and load_s > 0
