"""One region as the prefetcher knows it: its demand, its probabilities, and what prefetching gained there.

It refuses to load anything and to read a clock; it writes the hint table, because that is a store into
memory and no waiting.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from daycache_ray.protocol.governor import HarmCounts, HarmSwitch
from daycache_ray.protocol.prefetch import Candidate, PrefetchMachine, PrefetchSettings, PrefetchStatistics
from daycache_ray.storage.hint_table import Hint, HintWriter
from daycache_ray.structures.access_patterns import AccessPatterns, PatternSettings
from daycache_ray.structures.access_probability import AccessProbability
from daycache_ray.words.config import PredictionConfig, RegionConfig
from daycache_ray.words.types import AccessPattern, Instant


class LearningSettings(NamedTuple):
    """How much is remembered: about 30 MB per stream and 40 MB per region when all of it is full."""

    keys_max: int = 32_768
    contexts_max: int = 1 << 14
    streams_max: int = 12
    clients_max: int = 1_024
    stale_s: float = 1.0
    """What follows a batch that is older than this has been asked for by now: nothing is loaded for it."""
    sweep_count: int = 256
    """Hints of quiet keys that a tick writes anew."""
    rank_every: int = 8
    """One access in so many teaches the ranker; all of the first `rank_first` do."""
    rank_first: int = 2_000


@dataclass(frozen=True, slots=True)
class RegionPrediction:
    """What is learned of one region. `prefetch` is None where the region does not prefetch.

    `probability_error_ratio` is the mean distance between what was said and what happened.
    """

    region: str
    accesses_count: int
    keys_count: int
    base_ratio: float
    probability_error_ratio: float
    prefetch_allowed: bool
    switched_off_reason: str
    switched_off_count: int
    prefetch: PrefetchStatistics | None


class RegionLearner:
    """Demand, probabilities and receipts of one region."""

    def __init__(
        self, config: RegionConfig, prediction: PredictionConfig, settings: LearningSettings, now_s: float
    ) -> None:
        self.config = config
        self.accesses_count = 0
        self._settings = settings
        self._patterns = AccessPatterns(PatternSettings(keys_max=settings.keys_max, visitors_max=settings.keys_max))
        self._probability = AccessProbability(keys_max=settings.keys_max)
        self._hinted: OrderedDict[int, None] = OrderedDict()
        self._reload_s = 0.0
        self._harm = HarmSwitch()
        self.machine: PrefetchMachine | None = None
        if config.prefetch:
            self.machine = PrefetchMachine(
                PrefetchSettings(
                    threshold_ratio=config.prefetch_threshold_ratio,
                    per_s_max=config.prefetch_per_s_max,
                    holdout_ratio=prediction.holdout_ratio,
                    window_s=min(config.ttl_s or 60.0, 60.0),
                    # A load that hangs is given up by its shell first; this is for shells that died.
                    load_deadline_s=config.load_deadline_s + 5.0,
                    tracked_max=settings.keys_max,
                ),
                now_s,
            )

    def observe(self, key_hash: int, client: int, hit: bool, at_s: float) -> None:
        """Count one access."""
        self.accesses_count += 1
        if self.machine is not None:
            self.machine.accessed(key_hash, hit, at_s)
        self._patterns.observe(key_hash, client, at_s)
        self._probability.observe(key_hash)

    def offer(self, candidates: Iterable[Candidate], now_s: float) -> tuple[Candidate, ...]:
        """Return the candidates to load now; none while the region's prefetching is switched off."""
        if self.machine is None or not self._harm.allowed(now_s):
            return ()
        return self.machine.offer(candidates, now_s)

    def measured_load(self, took_s: float) -> None:
        """Note what the origin took for one key."""
        self._reload_s = took_s if self._reload_s == 0.0 else self._reload_s + (took_s - self._reload_s) / 16.0

    def write_hint(self, hints: HintWriter, key_hash: int, now: Instant) -> None:
        """Write what is known of a key now."""
        now_s = now.boot_ns / 1e9
        probability = self._probability.probability(key_hash)
        if probability is None:
            return
        hints.put(
            key_hash,
            Hint(
                probability=probability,
                pattern=self._patterns.classify(key_hash, now_s) or AccessPattern.COLD,
                reload_s=self._reload_s,
                rate_per_s=self._patterns.rate_per_s(key_hash, now_s),
                period_s=self._patterns.period_s(key_hash),
                updated_ms=now.wall_ns // 1_000_000,
            ),
        )
        self._hinted[key_hash] = None
        self._hinted.move_to_end(key_hash)
        if len(self._hinted) > self._settings.keys_max:
            self._hinted.popitem(last=False)

    def tick(self, hints: HintWriter | None, now: Instant) -> None:
        """End what waited too long, judge what was gained, and write some hints of quiet keys anew."""
        now_s = now.boot_ns / 1e9
        if self.machine is not None:
            self.machine.tick(now_s)
            counted = self.machine.statistics()
            self._harm.judge(
                HarmCounts(
                    counted.useful_count + counted.late_count,
                    counted.wasted_count,
                    counted.prefetched_asked_count,
                    counted.prefetched_missed_count,
                    counted.holdout_asked_count,
                    counted.holdout_missed_count,
                ),
                now_s,
            )
        if hints is not None:
            for _ in range(min(self._settings.sweep_count, len(self._hinted))):
                key_hash, _unused = self._hinted.popitem(last=False)
                self.write_hint(hints, key_hash, now)

    def statistics(self, now_s: float) -> RegionPrediction:
        """Return what was learned so far."""
        learned = self._probability.statistics()
        return RegionPrediction(
            region=self.config.name,
            accesses_count=self.accesses_count,
            keys_count=learned.keys_count,
            base_ratio=learned.base_ratio,
            probability_error_ratio=learned.calibration_error_ratio,
            prefetch_allowed=self.machine is not None and self._harm.allowed(now_s),
            switched_off_reason=self._harm.reason,
            switched_off_count=self._harm.switched_off_count,
            prefetch=self.machine.statistics() if self.machine is not None else None,
        )
