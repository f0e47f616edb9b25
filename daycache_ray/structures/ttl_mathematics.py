"""How long an entry should live: one closed formula over access rate, change rate and three costs.

Accesses come at random with rate a, the value changes at random with rate u, and an entry that was
loaded lives T seconds. Of all accesses the part 1 / (1 + aT) are misses (Jung, Berger, Balakrishnan:
Modeling TTL-based Internet caches, INFOCOM 2003) and of the hits about uT/2 see an old value, the
first term of 1 - (1 - exp(-uT)) / (uT) (Cho, Garcia-Molina: Effective page refresh policies, ACM
TODS 28, 2003). With m the cost of a reload that somebody waits for, s of an old answer, and h of
holding the entry for a second, a second costs

    (a m + h a T + s a a u T T / 2) / (1 + a T)

whose minimum is where a T T / 2 + T = (m - h / a) / (s u). So a much asked entry lives about
sqrt(2 m / (s u a)): often refreshed, because each refresh serves many. A rarely asked one lives
m / (s u), or not at all when holding it until it is asked (h / a) costs more than the reload. The
probability p that it is asked for at all scales what a reload is worth: m p stands in m's place.

It refuses to know keys, regions and clocks.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

RATE_PER_S_MIN: Final = 1e-6
"""Below one access in eleven days the formula says nothing that a bound does not say better."""


class TtlBounds(NamedTuple):
    """The shortest and longest life that a region's policy allows, in seconds."""

    least_s: float
    most_s: float


class EntryCosts(NamedTuple):
    """What things cost, all in one unit: seconds of waiting.

    `reload_s` is what a miss waits for the origin; `stale_s` what one answer with an old value is
    worth avoiding; `hold_s_per_s` what a second in memory costs.
    """

    reload_s: float
    stale_s: float
    hold_s_per_s: float


def optimal_ttl_s(
    rate_per_s: float, probability: float, change_per_s: float, costs: EntryCosts, bounds: TtlBounds
) -> float:
    """Return the TTL in seconds with the least cost; see the module for formula and sources.

    `rate_per_s` accesses and `change_per_s` changes of the value, both >= 0; `probability` 0 .. 1
    that the entry is asked for at all. Never falls as the probability rises.

    >>> costs = EntryCosts(reload_s=0.1, stale_s=0.05, hold_s_per_s=0.0)
    >>> bounds = TtlBounds(0.05, 3600.0)
    >>> round(optimal_ttl_s(2.0, 1.0, 1.0, costs, bounds), 3)
    1.0
    >>> optimal_ttl_s(2.0, 1.0, 0.0, costs, bounds)
    3600.0
    """
    assert 0.0 <= probability <= 1.0, "a probability"
    assert rate_per_s >= 0.0, "a rate"
    assert change_per_s >= 0.0, "a rate"
    assert 0.0 < bounds.least_s <= bounds.most_s, "bounds in order"
    rate = max(rate_per_s, RATE_PER_S_MIN)
    gain_s = probability * costs.reload_s - costs.hold_s_per_s / rate
    if gain_s <= 0.0:
        return bounds.least_s
    loss_per_s = costs.stale_s * change_per_s
    if loss_per_s <= gain_s / bounds.most_s / (1.0 + rate * bounds.most_s / 2.0):
        return bounds.most_s
    reach_s = gain_s / loss_per_s
    # (sqrt(1 + 2 a r) - 1) / a, written so that small a r does not cancel.
    ttl_s = 2.0 * reach_s / (math.sqrt(1.0 + 2.0 * rate * reach_s) + 1.0)
    return min(max(ttl_s, bounds.least_s), bounds.most_s)


def cost_per_s(ttl_s: float, rate_per_s: float, probability: float, change_per_s: float, costs: EntryCosts) -> float:
    """Return what a second with this TTL costs, in seconds of waiting; `optimal_ttl_s` minimises it."""
    assert ttl_s >= 0.0
    assert rate_per_s > 0.0
    a = rate_per_s
    stale = costs.stale_s * a * a * change_per_s * ttl_s * ttl_s / 2.0
    return (a * probability * costs.reload_s + costs.hold_s_per_s * a * ttl_s + stale) / (1.0 + a * ttl_s)


def rate_for_probability(probability: float, horizon_s: float) -> float:
    """Return the rate of random accesses of which at least one falls into `horizon_s` with `probability`.

    >>> round(rate_for_probability(0.5, 10.0), 4)
    0.0693
    """
    assert 0.0 <= probability <= 1.0
    assert horizon_s > 0.0
    return -math.log1p(-min(probability, 1.0 - 1e-9)) / horizon_s
