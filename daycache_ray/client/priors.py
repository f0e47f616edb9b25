"""What is believed of a key before anybody has seen it asked for: by region, service and how it goes.

The numbers are those of a trading day: market data is asked for often and changes often, positions
must not be old, analyses are dear and rarely asked for. Regions of a user's own get the middle. They
are starting points and nothing more; a hint, once there is one, takes their place.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from daycache_ray.structures.ttl_mathematics import EntryCosts, TtlBounds, optimal_ttl_s
from daycache_ray.words.types import CacheOptimizationContext, CacheRegion


class Prior(NamedTuple):
    """Beliefs about a region's typical key; `bounds` hold where the region's policy has no TTL."""

    probability: float
    rate_per_s: float
    change_per_s: float
    costs: EntryCosts
    bounds: TtlBounds


_HOLD_S_PER_S: Final = 1e-6

PRIORS: Final[dict[str, Prior]] = {
    CacheRegion.MARKET_DATA.value: Prior(
        0.60, 2.0, 0.2, EntryCosts(0.02, 0.02, _HOLD_S_PER_S), TtlBounds(0.05, 60.0)
    ),
    CacheRegion.TRADING_POSITIONS.value: Prior(
        0.50, 0.5, 0.05, EntryCosts(0.05, 0.20, _HOLD_S_PER_S), TtlBounds(0.05, 30.0)
    ),
    CacheRegion.ANALYSIS_RESULTS.value: Prior(
        0.40, 0.02, 1 / 600, EntryCosts(0.5, 0.10, _HOLD_S_PER_S), TtlBounds(1.0, 3_600.0)
    ),
}
OTHER: Final = Prior(0.30, 0.1, 1 / 120, EntryCosts(0.05, 0.05, _HOLD_S_PER_S), TtlBounds(0.1, 600.0))

SERVICE_RATE: Final[dict[str, float]] = {
    "hft-service": 4.0,
    "trading-engine-service": 2.0,
    "market-data-service": 2.0,
    "analysis-service": 0.5,
}
"""How much more often than others these services ask."""


def region_name_of(region: CacheRegion | str) -> str:
    """Return a region's name as text."""
    return region.value if isinstance(region, CacheRegion) else region


def prior_of(region: CacheRegion | str) -> Prior:
    """Return the beliefs about a region's keys."""
    return PRIORS.get(region_name_of(region), OTHER)


def prior_rate_per_s(context: CacheOptimizationContext) -> float:
    """Return how often a key of the context's region is asked for by its service."""
    return prior_of(context.region).rate_per_s * SERVICE_RATE.get(context.service_name, 1.0)


def prior_probability(context: CacheOptimizationContext) -> float:
    """Return how likely a key is asked for again soon.

    A region in which much is hit is one in which keys come back, so the hit rate moves the odds: by a
    factor e at 1.0, by 1 / e near 0.0. Services that ask more often count for more. A hit rate of
    exactly 0.0 is the default of the context and says nothing.

    >>> low = CacheOptimizationContext("s", "market_data", current_hit_rate=0.2)
    >>> high = CacheOptimizationContext("s", "market_data", current_hit_rate=0.9)
    >>> 0.0 < prior_probability(low) < prior_probability(high) < 1.0
    True
    """
    prior = prior_of(context.region)
    odds_log = math.log(prior.probability / (1.0 - prior.probability))
    if context.current_hit_rate > 0.0:
        odds_log += 2.0 * (min(context.current_hit_rate, 1.0) - 0.5)
    odds_log += 0.25 * math.log(SERVICE_RATE.get(context.service_name, 1.0))
    return 1.0 / (1.0 + math.exp(-odds_log))


def reload_s_of(context: CacheOptimizationContext) -> float:
    """Return what a miss is believed to wait for its origin, in seconds.

    The mean access is hits that cost nearly nothing and misses that cost a reload, so a reload is the
    mean over the share of misses; a tenth to ten times of what the region is believed to cost.
    """
    believed_s = prior_of(context.region).costs.reload_s
    if not context.avg_access_time_ms > 0.0:
        return believed_s
    misses_ratio = max(1.0 - min(max(context.current_hit_rate, 0.0), 1.0), 0.01)
    return min(max(context.avg_access_time_ms / 1000.0 / misses_ratio, believed_s / 10.0), believed_s * 10.0)


def bounds_of(region: CacheRegion | str, region_ttl_s: float | None) -> TtlBounds:
    """Return the TTLs that a region allows: its own `ttl_s` is the longest where it has one."""
    bounds = prior_of(region).bounds
    if region_ttl_s is None:
        return bounds
    return TtlBounds(min(bounds.least_s, region_ttl_s), region_ttl_s)


def ttl_s_for(
    context: CacheOptimizationContext,
    probability: float,
    rate_per_s: float,
    *,
    reload_s: float,
    region_ttl_s: float | None,
) -> float:
    """Return the TTL of a key that is asked for at `rate_per_s`; see structures.ttl_mathematics.

    `reload_s` is what its origin was seen to take; 0.0 where nobody has seen it.
    """
    prior = prior_of(context.region)
    costs = prior.costs._replace(reload_s=reload_s if reload_s > 0.0 else reload_s_of(context))
    return optimal_ttl_s(rate_per_s, probability, prior.change_per_s, costs, bounds_of(context.region, region_ttl_s))
