"""Accesses of a real client reach a real prefetcher: hits nobody waited for, and an optimizer that has seen them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import daycache_ray as daycache
from daycache_ray import CacheOptimizationContext, ClusterConfig, PredictionConfig, RegionConfig
from daycache_ray.words.naming import NAMESPACE, prefetcher_name

NAME = "foresight"
SERVICE = "market-data-service"
KINDS = ("quote", "candle", "signal", "risk")


def wait_until(condition: Callable[[], Any], deadline_s: float = 30.0) -> Any:
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s} s")


@pytest.fixture(scope="module")
def cache(embedded_ray):
    def origin(key: str) -> str:
        # By value: the actors cannot import this file.
        import time

        time.sleep(0.02)
        return f"value of {key}"

    config = ClusterConfig(
        name=NAME,
        regions=[
            RegionConfig(name="market", replicas=1, loader=origin, prefetch=True, ttl_s=1.0),
            RegionConfig(name="plain", replicas=1),
        ],
        prediction=PredictionConfig(holdout_ratio=0.0),
        spare_actors=0,
    )
    with daycache.start(config, service=SERVICE) as cache:
        wait_until(lambda: cache.cluster_map.prefetcher_socket_path)
        yield cache


def prefetcher():
    import ray

    return ray.get_actor(prefetcher_name(NAME), namespace=NAMESPACE)


def statistics():
    import ray

    return ray.get(prefetcher().statistics.remote(), timeout=30)


def region_of(counted, name: str):
    return next(region for region in counted.regions if region.region == name)


def walk(region, rounds: int, first: int = 0) -> None:
    """One symbol after the other, four keys each, at a trader's pace: expired by the time it comes round.

    The pauses are the traffic itself, there is nothing to wait for.
    """
    for number in range(first, first + rounds):
        for kind in KINDS:
            assert region.get_or_load(f"{kind}:S{number * 7 % 20}") == f"value of {kind}:S{number * 7 % 20}"
            time.sleep(0.03)


def test_a_chain_is_loaded_ahead_and_counted(cache):
    region = cache.region("market")
    walk(region, 60)
    before = region.statistics()
    walk(region, 20, first=60)
    after = region.statistics()
    prefetch = wait_until(lambda: (found := region_of(statistics(), "market").prefetch).useful_count >= 20 and found)
    assert after.prefetched_count > before.prefetched_count
    hits = after.hits_count - before.hits_count
    assert hits >= 20, "three of four keys follow from the first; expired, they were loaded again in time"
    assert prefetch.saved_s > 0.2
    assert prefetch.useful_count > prefetch.wasted_count
    assert prefetch.failed_count == 0


def test_each_prefetch_has_a_receipt(cache):
    import ray

    receipts = wait_until(lambda: ray.get(prefetcher().receipts.remote("market"), timeout=30))
    assert {receipt.outcome.value for receipt in receipts} & {"useful", "late"}
    assert all(receipt.ended_s >= receipt.issued_s for receipt in receipts)


def test_the_optimizer_answers_from_what_was_seen(cache):
    region = cache.region("plain")
    optimizer = daycache.AdaptiveCacheOptimizer(cache)
    context = CacheOptimizationContext(SERVICE, "plain")
    assert optimizer.explain("hot", context).source == "prior"
    prior_ttl_s = optimizer.calculate_optimal_ttl("hot", 0.9, context)
    region.set("hot", 1)
    for _ in range(400):
        region.get("hot")
    explained = wait_until(lambda: (found := optimizer.explain("hot", context)).source == "observed" and found)
    region.get("once")
    once = wait_until(lambda: (found := optimizer.explain("once", context)).source == "observed" and found)
    assert explained.rate_per_s > 10 * once.rate_per_s
    assert explained.probability > once.probability
    assert optimizer.classify("hot").value in ("hot", "burst")
    assert optimizer.classify("once").value == "cold"
    assert optimizer.calculate_optimal_ttl("hot", 0.9, context) != prior_ttl_s
    started_s = time.perf_counter()
    for _ in range(2_000):
        optimizer.predict_access_probability("hot", context)
    assert (time.perf_counter() - started_s) / 2_000 < 200e-6, "microseconds, not a message"


def test_a_dead_prefetcher_is_missed_by_nobody_and_comes_back(cache):
    import ray

    region = cache.region("market")
    optimizer = daycache.AdaptiveCacheOptimizer(cache)
    context = CacheOptimizationContext(SERVICE, "market")
    region.get_or_load("quote:S1")
    wait_until(lambda: optimizer.explain("quote:S1", context).source == "observed")
    pid = statistics().pid
    ray.kill(prefetcher())
    walk(region, 2)
    assert optimizer.explain("quote:S1", context).source == "observed", "the hints outlive their writer"

    def revived() -> bool:
        try:
            return statistics().pid != pid
        except (ValueError, AttributeError, ray.exceptions.RayError):
            return False

    wait_until(revived)

    def heard() -> bool:
        region.get_or_load("quote:S2")
        return region_of(statistics(), "market").accesses_count > 0

    wait_until(heard)
