"""From batches of accesses to hints and to keys worth loading: the prefetcher without sockets and Ray.

One `RegionLearner` per region knows demand, probabilities and what prefetching gained there; one
`StreamLearner` per region and service knows what follows what. It refuses to load anything and to
read a clock; it writes the hint table, because that is a store into memory and no waiting.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from daycache_ray.protocol.governor import HarmCounts, HarmSwitch
from daycache_ray.protocol.prefetch import (
    Candidate,
    PrefetchMachine,
    PrefetchSettings,
    PrefetchStatistics,
    Receipt,
)
from daycache_ray.storage.hint_table import Hint, HintWriter, hint_hash, hint_seed
from daycache_ray.structures.access_patterns import AccessPatterns, PatternSettings
from daycache_ray.structures.access_probability import AccessProbability
from daycache_ray.structures.prediction.key_numbers import KeyNumbers
from daycache_ray.structures.prediction.predictor import Predictor
from daycache_ray.structures.store_keys import service_prefix, split_store_key, store_key
from daycache_ray.words.config import ClusterConfig, PredictionConfig, RegionConfig
from daycache_ray.words.operations import Accesses
from daycache_ray.words.types import AccessPattern, Instant

AGE_S_MAX = 60.0
"""A batch that says it is older than this comes from a clock that is wrong."""


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


class Wanted(NamedTuple):
    """A key to load: where it belongs, and the candidate that must be reported back."""

    region: str
    service: str
    key: bytes
    candidate: Candidate


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


class StreamLearner:
    """What follows what in one service's accesses to one region."""

    def __init__(self, region: str, service: str, settings: LearningSettings) -> None:
        self.region = region
        self.service = service
        self._seed = hint_seed(region)
        self._prefix = service_prefix(service.encode())
        self.numbers = KeyNumbers(keys_max=settings.keys_max)
        self.predictor = Predictor(contexts_max=settings.contexts_max, clients_max=settings.clients_max)
        self._settings = settings
        self._accesses_count = 0

    def observe(self, client: int, stored: bytes) -> None:
        """Learn that `client` asked for the key under the store key `stored`."""
        # Of a key too long for the store only the digest is known: it can be followed, not loaded.
        _, key = split_store_key(stored)
        if not key:
            return
        number = self.numbers.number_of(key.decode("utf-8", "surrogateescape"))
        self.predictor.observe(client, number)
        self._accesses_count += 1
        if self._accesses_count < self._settings.rank_first or self._accesses_count % self._settings.rank_every == 0:
            # Asked for, so that the next access teaches the ranker; the answer is not needed.
            self.predictor.ranking(client)

    def roll(self, client: int, steps: int, floor_ratio: float) -> dict[bytes, Candidate]:
        """Return what `client` will ask for, by key; only keys that a loader can be asked for as text."""
        found: dict[bytes, Candidate] = {}
        for rolled in self.predictor.roll(client, steps, floor_ratio):
            text = self.numbers.text_of(rolled.key)
            if not text:
                continue
            try:
                key = text.encode()
            except UnicodeEncodeError:
                continue
            found[key] = Candidate(
                hint_hash(store_key(key, self._prefix), self._seed), rolled.probability, rolled.step
            )
        return found


class AccessLearning:
    """All regions and streams of one cluster on one node."""

    def __init__(
        self, config: ClusterConfig, hints: HintWriter | None, now_s: float, settings: LearningSettings | None = None
    ) -> None:
        self._settings = settings or LearningSettings()
        self._hints = hints
        self._chain_steps = config.prediction.chain_steps
        self._regions = {
            region.name: RegionLearner(region, config.prediction, self._settings, now_s) for region in config.regions
        }
        self._streams: OrderedDict[tuple[str, str], StreamLearner] = OrderedDict()
        self.batches_count = 0
        self.ignored_batches_count = 0

    def learn(
        self, batch: Accesses, now: Instant, is_resident: Callable[[str, str, bytes], bool] | None = None
    ) -> tuple[Wanted, ...]:
        """Learn from a batch and return what to load now, nearest first.

        `is_resident(region, service, key)` says what is stored already and need not be loaded.
        """
        region = self._regions.get(batch.region)
        if region is None or len(batch.hits) != len(batch.keys) or not batch.keys:
            self.ignored_batches_count += 1
            return ()
        self.batches_count += 1
        service = "" if region.config.shared_between_services else batch.service
        stream = self._stream(batch.region, service)
        now_s = now.boot_ns / 1e9
        age_s = min(max(now.wall_ns / 1e9 - batch.at_ms / 1e3, 0.0), AGE_S_MAX)
        seed = hint_seed(batch.region)
        touched: dict[int, None] = {}
        # The whole batch happened before it was told: nothing may be loaded for what is in it.
        before: tuple[bytes, int] | None = None
        for stored, hit in zip(batch.keys, batch.hits, strict=True):
            # Who misses a key and looks again before loading it has asked once.
            repeated = not hit and before == (stored, hit)
            before = (stored, hit)
            if len(stored) < 4 or repeated:
                continue
            key_hash = hint_hash(stored, seed)
            region.observe(key_hash, batch.client, hit != 0, now_s - age_s)
            stream.observe(batch.client, stored)
            touched[key_hash] = None
        if self._hints is not None:
            for key_hash in touched:
                region.write_hint(self._hints, key_hash, now)
        if region.machine is None or age_s > self._settings.stale_s:
            return ()
        found = stream.roll(batch.client, self._chain_steps, region.machine.threshold_ratio)
        if is_resident is not None:
            found = {key: each for key, each in found.items() if not is_resident(batch.region, service, key)}
        keys = {candidate.key: key for key, candidate in found.items()}
        chosen = region.offer(found.values(), now_s)
        return tuple(Wanted(batch.region, service, keys[candidate.key], candidate) for candidate in chosen)

    def loaded(self, wanted: Wanted, took_s: float, now_s: float) -> None:
        """Note that a wanted key was loaded and stored; `took_s` is what its origin took."""
        region = self._regions[wanted.region]
        region.measured_load(took_s)
        if region.machine is not None:
            region.machine.loaded(wanted.candidate.key, now_s)

    def present(self, wanted: Wanted, now_s: float) -> None:
        """Note that a wanted key was there already, or that somebody else loads it."""
        machine = self._regions[wanted.region].machine
        if machine is not None:
            machine.present(wanted.candidate.key, now_s)

    def failed(self, wanted: Wanted, now_s: float) -> None:
        """Note that a wanted key could not be loaded."""
        machine = self._regions[wanted.region].machine
        if machine is not None:
            machine.failed(wanted.candidate.key, now_s)

    def tick(self, now: Instant) -> None:
        """Do what time demands; a few times a second."""
        for region in self._regions.values():
            region.tick(self._hints, now)
        if self._hints is not None:
            self._hints.say_alive(now.wall_ns // 1_000_000)

    def statistics(self, now_s: float) -> tuple[RegionPrediction, ...]:
        """Return what was learned of each region."""
        return tuple(region.statistics(now_s) for region in self._regions.values())

    def receipts(self, region: str) -> tuple[Receipt, ...]:
        """Return the last receipts of a region's prefetches; KeyError when there is no such region."""
        machine = self._regions[region].machine
        return machine.receipts() if machine is not None else ()

    def _stream(self, region: str, service: str) -> StreamLearner:
        stream = self._streams.get((region, service))
        if stream is None:
            stream = self._streams[region, service] = StreamLearner(region, service, self._settings)
            if len(self._streams) > self._settings.streams_max:
                self._streams.popitem(last=False)
        self._streams.move_to_end((region, service))
        return stream
