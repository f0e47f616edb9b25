"""HOT, COLD, BURST or PERIODIC: what kind of demand a key has, in constant space per key.

Demand is a property of the key: two fading counts, over 10 s and 600 s, of everybody's accesses.
Regularity is a property of one client's visits to the key: three dashboards that refresh every
30 s look random when they are mixed, so gaps are kept per (client, key). A key is PERIODIC while
most of its accesses come from regular visitors. A verdict changes only when three in a row say so.

It refuses to know what a key is (any 64-bit number), and forgets the ones not seen for longest.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple

from daycache_ray.words.types import AccessPattern


class PatternSettings(NamedTuple):
    """Where the lines are drawn; the defaults were tried on a synthetic trading day."""

    keys_max: int = 65_536
    visitors_max: int = 131_072
    """(client, key) pairs; each holds at most eight gaps."""
    fast_s: float = 10.0
    slow_s: float = 600.0
    warm_s: float = 60.0
    """A key younger than this counts as this old, so that two accesses are no demand yet."""
    hot_per_s: float = 0.05
    burst_ratio: float = 4.0
    burst_count: float = 6.0
    visit_s: float = 0.5
    """Accesses of one client closer than this are one visit."""
    gaps_min: int = 4
    variation_ratio: float = 0.15
    verdicts_needed: int = 3


class PatternStatistics(NamedTuple):
    """Counts of what is remembered, and of changed verdicts since the start."""

    keys_count: int
    visitors_count: int
    switches_count: int


class _Demand:
    __slots__ = ("fast", "first_s", "last_s", "pending", "pending_count", "period_s", "regular", "slow", "verdict")

    def __init__(self, now_s: float) -> None:
        self.first_s = now_s
        self.last_s = now_s
        self.fast = 0.0
        self.slow = 0.0
        self.regular = 0.0
        self.period_s = 0.0
        self.verdict = AccessPattern.COLD
        self.pending = AccessPattern.COLD
        self.pending_count = 0


class _Visitor:
    __slots__ = ("gaps", "last_s", "period_s")

    def __init__(self, now_s: float) -> None:
        self.last_s = now_s
        self.gaps: list[float] = []
        self.period_s = 0.0


class AccessPatterns:
    """Classifies keys from the stream of their accesses; memory is bounded by the settings."""

    def __init__(self, settings: PatternSettings | None = None) -> None:
        self._settings = settings or PatternSettings()
        assert self._settings.keys_max > 0
        assert self._settings.visitors_max > 0
        self._keys: OrderedDict[int, _Demand] = OrderedDict()
        self._visitors: OrderedDict[tuple[int, int], _Visitor] = OrderedDict()
        self._switches_count = 0

    def observe(self, key: int, client: int, now_s: float) -> AccessPattern:
        """Count one access of `client` and return the key's verdict; `now_s` should not run back."""
        demand = self._keys.get(key)
        if demand is None:
            demand = self._keys[key] = _Demand(now_s)
            if len(self._keys) > self._settings.keys_max:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(key)
        now_s = max(now_s, demand.last_s)
        elapsed_s = now_s - demand.last_s
        if elapsed_s > 0.0:
            demand.fast *= math.exp(-elapsed_s / self._settings.fast_s)
            demand.slow *= math.exp(-elapsed_s / self._settings.slow_s)
        demand.fast += 1.0
        demand.slow += 1.0
        demand.last_s = now_s
        period_s = self._visit((client, key), now_s)
        demand.regular += ((1.0 if period_s else 0.0) - demand.regular) / 3.0
        if period_s:
            demand.period_s = period_s
        self._judge(demand, self._raw_verdict(demand, now_s))
        return demand.verdict

    def classify(self, key: int, now_s: float) -> AccessPattern | None:
        """Return the verdict as of now, or None for a key that is not remembered."""
        demand = self._keys.get(key)
        if demand is None:
            return None
        quiet_s = now_s - demand.last_s
        if quiet_s <= self._settings.fast_s:
            return demand.verdict
        # Silence has no accesses that could vote: what has gone quiet is judged afresh.
        if demand.verdict is AccessPattern.PERIODIC and quiet_s <= 3.0 * demand.period_s:
            return demand.verdict
        raw = self._raw_verdict(demand, now_s)
        return AccessPattern.COLD if raw is AccessPattern.PERIODIC else raw

    def rate_per_s(self, key: int, now_s: float) -> float:
        """Return the key's accesses a second over the last ten minutes; 0.0 for an unknown key."""
        demand = self._keys.get(key)
        return 0.0 if demand is None else self._slow_rate(demand, now_s)

    def period_s(self, key: int) -> float:
        """Return the median gap of its last regular visitor, 0.0 where there is none."""
        demand = self._keys.get(key)
        return demand.period_s if demand is not None and demand.verdict is AccessPattern.PERIODIC else 0.0

    def visitor_period_s(self, client: int, key: int) -> float:
        """Return the period of one client's visits to the key, 0.0 while they are not regular."""
        visitor = self._visitors.get((client, key))
        return visitor.period_s if visitor is not None else 0.0

    def statistics(self) -> PatternStatistics:
        """Return what is remembered at the moment."""
        return PatternStatistics(len(self._keys), len(self._visitors), self._switches_count)

    def _visit(self, pair: tuple[int, int], now_s: float) -> float:
        visitor = self._visitors.get(pair)
        if visitor is None:
            self._visitors[pair] = _Visitor(now_s)
            if len(self._visitors) > self._settings.visitors_max:
                self._visitors.popitem(last=False)
            return 0.0
        self._visitors.move_to_end(pair)
        gap_s = now_s - visitor.last_s
        if gap_s < self._settings.visit_s:
            return visitor.period_s
        visitor.last_s = now_s
        gaps = visitor.gaps
        gaps.append(gap_s)
        if len(gaps) > 8:
            del gaps[0]
        if len(gaps) < self._settings.gaps_min:
            return 0.0
        median_s = sorted(gaps)[len(gaps) // 2]
        variation = variation_ratio(gaps)
        visitor.period_s = median_s if variation < self._settings.variation_ratio else 0.0
        return visitor.period_s

    def _slow_rate(self, demand: _Demand, now_s: float) -> float:
        settings = self._settings
        age_s = max(now_s - demand.first_s, settings.warm_s)
        fade = math.exp(-max(now_s - demand.last_s, 0.0) / settings.slow_s)
        return demand.slow * fade / (settings.slow_s * -math.expm1(-age_s / settings.slow_s))

    def _raw_verdict(self, demand: _Demand, now_s: float) -> AccessPattern:
        settings = self._settings
        if demand.regular >= 0.5:
            return AccessPattern.PERIODIC
        slow_per_s = self._slow_rate(demand, now_s)
        fast = demand.fast * math.exp(-max(now_s - demand.last_s, 0.0) / settings.fast_s)
        if fast >= settings.burst_count and fast / settings.fast_s > settings.burst_ratio * slow_per_s:
            return AccessPattern.BURST
        return AccessPattern.HOT if slow_per_s >= settings.hot_per_s else AccessPattern.COLD

    def _judge(self, demand: _Demand, raw: AccessPattern) -> None:
        if raw is demand.verdict:
            demand.pending_count = 0
            return
        demand.pending_count = demand.pending_count + 1 if raw is demand.pending else 1
        demand.pending = raw
        if demand.pending_count >= self._settings.verdicts_needed:
            demand.verdict = raw
            demand.pending_count = 0
            self._switches_count += 1


def variation_ratio(gaps: list[float]) -> float:
    """Return how much gaps differ: mean distance from their median without the worst, over the median.

    >>> variation_ratio([30.0, 30.0, 31.0, 300.0]) < 0.05
    True
    """
    assert len(gaps) >= 2, "one gap has no variation"
    median = sorted(gaps)[len(gaps) // 2]
    if median <= 0.0:
        return math.inf
    distances = sorted(abs(gap - median) for gap in gaps)[:-1]
    return sum(distances) / len(distances) / median
