"""The network behind Serve in a running cluster: asked, taught, compared; and gone, which costs nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

import daycache_ray as daycache
from daycache_ray import ClusterConfig, PredictionConfig, RegionConfig
from daycache_ray.words.naming import NAMESPACE, predictor_application_name, prefetcher_name, trainer_name

# Serve's own models warn when they are imported.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

NAME = "netted"


def wait_until(condition: Callable[[], Any], deadline_s: float = 120.0) -> Any:
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
        return f"value of {key}"

    config = ClusterConfig(
        name=NAME,
        regions=[RegionConfig(name="market", replicas=1, loader=origin, prefetch=True, ttl_s=0.5)],
        prediction=PredictionConfig(network=True, network_deadline_s=2.0, holdout_ratio=0.0),
        spare_actors=0,
    )
    with daycache.start(config) as cache:
        wait_until(lambda: cache.cluster_map.prefetcher_socket_path)
        yield cache


def statistics():
    import ray

    return ray.get(ray.get_actor(prefetcher_name(NAME), namespace=NAMESPACE).statistics.remote(), timeout=60)


def trained():
    import ray

    return ray.get(ray.get_actor(trainer_name(NAME), namespace=NAMESPACE).statistics.remote(), timeout=60)


def ask_around(region, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        symbol = rng.randrange(40)
        for kind in ("quote", "candle", "signal"):
            region.get_or_load(f"{kind}:S{symbol}")


def test_the_network_is_asked_taught_and_compared_and_its_death_leaves_the_tables(cache):
    from ray import serve

    region = cache.region("market")
    seeds = iter(range(1_000_000))

    def compared() -> bool:
        ask_around(region, next(seeds))
        return any(contest.compared_count >= 20 for contest in statistics().network.contests)

    wait_until(compared)

    def taught() -> bool:
        ask_around(region, next(seeds))
        return trained().version >= 1

    wait_until(taught)
    handle = serve.get_app_handle(predictor_application_name(NAME))
    wait_until(lambda: handle.version.remote().result(timeout_s=60) >= 1)
    before = statistics()
    assert before.network.switch.on
    assert before.network.batches_count < before.network.questions_count, "questions go out together"

    serve.delete(predictor_application_name(NAME), _blocking=True)

    def switched_off() -> bool:
        ask_around(region, next(seeds))
        return not statistics().network.switch.on

    wait_until(switched_off)
    off = statistics()
    assert off.network.switch.dead_count + off.network.switch.slow_count >= 3
    assert off.network.last_trouble
    ask_around(region, next(seeds))
    wait_until(lambda: statistics().accesses_count > off.accesses_count)
    after = statistics()
    assert after.pid == before.pid, "the prefetcher lived on"
    assert after.regions[0].prefetch.issued_count > before.regions[0].prefetch.issued_count
