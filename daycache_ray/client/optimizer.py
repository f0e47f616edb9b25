"""How likely a key is asked for again, how long it should live, what kind of demand it has: in microseconds.

The answers come from the node's hint table, which the prefetcher writes; where it has nothing to say,
from priors, and `explain` tells which. It refuses to ask anybody: no actor, no socket, no lock.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from daycache_ray.client.arguments import key_bytes
from daycache_ray.client.priors import prior_probability, prior_rate_per_s, region_name_of, ttl_s_for
from daycache_ray.storage.hint_table import Hint, HintReader, hint_hash, hint_seed
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.words.errors import InvalidArgumentError, StoreFormatError
from daycache_ray.words.limits import SERVICE_BYTES_MAX
from daycache_ray.words.types import AccessPattern, CacheOptimizationContext, Key

if TYPE_CHECKING:
    from daycache_ray.client.async_cache import AsyncCache
    from daycache_ray.client.cache import Cache
    from daycache_ray.words.config import RegionConfig

HINT_S: Final = 600.0
"""A hint older than this says nothing any more."""

FADE_S: Final = 300.0
"""A hint's weight against the prior falls by a factor e in this time."""

LOOK_S: Final = 1.0
"""How often a missing or replaced table is looked for again."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the optimizer says of one key, and where it has it from.

    `source` is "observed" when the prefetcher has seen the key, else "prior"; `reason` is a sentence.
    `age_s` is the age of the observation, None for a prior. `rate_per_s` counts accesses a second,
    `ttl_s` seconds.
    """

    key: bytes
    region: str
    service_name: str
    source: Literal["observed", "prior"]
    reason: str
    probability: float
    pattern: AccessPattern
    ttl_s: float
    rate_per_s: float
    period_s: float
    age_s: float | None


class AdaptiveCacheOptimizer:
    """Predicts accesses and suggests TTLs.

    >>> optimizer = AdaptiveCacheOptimizer()
    >>> context = CacheOptimizationContext("market-data-service", "market_data", current_hit_rate=0.85)
    >>> p = optimizer.predict_access_probability("AAPL_price", context)
    >>> 0.0 <= p <= 1.0, optimizer.calculate_optimal_ttl("AAPL_price", p, context) > 0.0
    (True, True)
    >>> optimizer.explain("AAPL_price", context).source
    'prior'
    """

    def __init__(self, cache: Cache | AsyncCache | None = None) -> None:
        """With a connected cache the answers are those of its cluster; without one they are priors."""
        self._cache = cache
        self._reader: HintReader | None = None
        self._look_at_s = 0.0
        self._places: dict[tuple[str, str], tuple[bytes, int]] = {}

    def predict_access_probability(self, key: Key, context: CacheOptimizationContext) -> float:
        """Return the probability, 0.0 .. 1.0, that the key is asked for again within its region's next requests.

        Raises:
            InvalidKeyError: the key is empty, too long, or neither str nor bytes.
            InvalidArgumentError: the context's hit rate or access time is no possible number.
        """
        _check(context)
        now_s = time.time()
        hint = self._hint(key_bytes(key), region_name_of(context.region), context.service_name, now_s)
        return _probability(hint, context, now_s)

    def calculate_optimal_ttl(self, key: Key, probability: float, context: CacheOptimizationContext) -> float:
        """Return the TTL in seconds that costs least waiting and fewest old answers; above 0.

        `probability` (0.0 .. 1.0) that the key is asked for is the caller's, mostly from
        `predict_access_probability`; a more likely key never gets a shorter life. A region's own
        `ttl_s` is the longest answer. Formula and sources: structures.ttl_mathematics.

        Raises:
            InvalidKeyError: the key is empty, too long, or neither str nor bytes.
            InvalidArgumentError: the probability or the context is no possible number.
        """
        _check(context)
        if not 0.0 <= probability <= 1.0:
            raise InvalidArgumentError(f"probability is {probability!r}; write a number from 0.0 to 1.0")
        hint = self._hint(key_bytes(key), region_name_of(context.region), context.service_name, time.time())
        return self._ttl_s(hint, probability, context)

    def classify(self, key: Key, context: CacheOptimizationContext | None = None) -> AccessPattern:
        """Return what kind of demand the key has; COLD where nobody has seen it.

        Without a context the key is looked for in all regions of the cache, under the cache's service,
        and the region in which it was seen last decides.

        Raises:
            InvalidKeyError: the key is empty, too long, or neither str nor bytes.
        """
        raw = key_bytes(key)
        now_s = time.time()
        if context is not None:
            hint = self._hint(raw, region_name_of(context.region), context.service_name, now_s)
            return hint.pattern if hint is not None else AccessPattern.COLD
        if self._cache is None:
            return AccessPattern.COLD
        service = self._cache.service_name
        hints = [self._hint(raw, region, service, now_s) for region in self._cache.cluster_map.shards]
        newest = max((hint for hint in hints if hint is not None), key=lambda hint: hint.updated_ms, default=None)
        return newest.pattern if newest is not None else AccessPattern.COLD

    def explain(self, key: Key, context: CacheOptimizationContext) -> Explanation:
        """Return all answers about a key at once, with their source; raises as the single questions do."""
        _check(context)
        raw = key_bytes(key)
        now_s = time.time()
        region = region_name_of(context.region)
        hint = self._hint(raw, region, context.service_name, now_s)
        probability = _probability(hint, context, now_s)
        return Explanation(
            key=raw,
            region=region,
            service_name=context.service_name,
            source="prior" if hint is None else "observed",
            reason=self._reason(hint),
            probability=probability,
            pattern=hint.pattern if hint is not None else AccessPattern.COLD,
            ttl_s=self._ttl_s(hint, probability, context),
            rate_per_s=hint.rate_per_s if hint is not None else prior_rate_per_s(context),
            period_s=hint.period_s if hint is not None else 0.0,
            age_s=max(now_s - hint.updated_ms / 1000.0, 0.0) if hint is not None else None,
        )

    def _reason(self, hint: Hint | None) -> str:
        if hint is not None:
            return "the prefetcher has seen it asked for"
        if self._cache is None:
            return "there is no cache to observe: AdaptiveCacheOptimizer(cache) learns from one"
        if self._reader is None:
            return "no prefetcher has written hints on this node"
        return "it was not asked for lately"

    def _hint(self, key: bytes, region: str, service: str, now_s: float) -> Hint | None:
        reader = self._reader
        if now_s - self._look_at_s > LOOK_S:
            reader = self._look(now_s)
        if reader is None:
            return None
        place = self._places.get((region, service))
        if place is None:
            if len(self._places) > 1_024:
                self._places.clear()
            config = self._region_config(region)
            shared = config is not None and config.shared_between_services
            prefix = service_prefix(b"" if shared else service.encode())
            place = self._places[region, service] = prefix, hint_seed(region)
        hint = reader.get(hint_hash(store_key(key, place[0]), place[1]))
        if hint is None or now_s - hint.updated_ms / 1000.0 > HINT_S:
            return None
        return hint

    def _look(self, now_s: float) -> HintReader | None:
        self._look_at_s = now_s
        reader = self._reader
        if reader is not None and not reader.retired:
            return reader
        self._reader = None
        if self._cache is None:
            return None
        try:
            self._reader = HintReader(Path(self._cache.cluster_map.directory) / "hints")
        except (OSError, StoreFormatError):
            # No prefetcher runs on this node: that is no error, there are priors.
            self._reader = None
        return self._reader

    def _ttl_s(self, hint: Hint | None, probability: float, context: CacheOptimizationContext) -> float:
        config = self._region_config(region_name_of(context.region))
        return ttl_s_for(
            context,
            probability,
            hint.rate_per_s if hint is not None else prior_rate_per_s(context),
            reload_s=hint.reload_s if hint is not None else 0.0,
            region_ttl_s=config.ttl_s if config is not None else None,
        )

    def _region_config(self, region: str) -> RegionConfig | None:
        if self._cache is None:
            return None
        return next((known for known in self._cache.cluster_map.config.regions if known.name == region), None)


def _probability(hint: Hint | None, context: CacheOptimizationContext, now_s: float) -> float:
    prior = prior_probability(context)
    if hint is None:
        return prior
    # The prefetcher rewrites hints while it lives; one that it left alone fades into the prior.
    weight = math.exp(-max(now_s - hint.updated_ms / 1000.0, 0.0) / FADE_S)
    return min(max(prior + (hint.probability - prior) * weight, 0.0), 1.0)


def _check(context: CacheOptimizationContext) -> None:
    service: object = context.service_name
    if not isinstance(service, str) or not 1 <= len(service.encode("utf-8", "replace")) <= SERVICE_BYTES_MAX:
        raise InvalidArgumentError(f"service_name is {service!r}; write a str of 1 to {SERVICE_BYTES_MAX} bytes")
    if not 0.0 <= context.current_hit_rate <= 1.0:
        text = f"current_hit_rate is {context.current_hit_rate!r}"
        raise InvalidArgumentError(f"{text}; write a ratio from 0.0 to 1.0 (0.85 for 85 %)")
    if not 0.0 <= context.avg_access_time_ms < math.inf:
        text = f"avg_access_time_ms is {context.avg_access_time_ms!r}"
        raise InvalidArgumentError(f"{text}; write milliseconds from 0.0 on")
