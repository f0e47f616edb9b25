"""Memory comes back after a mass removal, while clients read and write."""

from __future__ import annotations

import time

import daycache_ray as daycache
from daycache_ray import ClusterConfig, RegionConfig

DEADLINE_S = 60.0
COUNT = 40_000


def test_memory_comes_back_under_load(embedded_ray: str) -> None:
    region = RegionConfig(name="orders", replicas=2, memory_bytes=96 << 20)
    config = ClusterConfig(name="shrinking", regions=(region,), prediction={"enabled": False}, spare_actors=0)
    with daycache.start(config) as cache:
        orders = cache.region("orders")
        for start in range(0, COUNT, 1_000):
            orders.set_many({f"k{number}": bytes(1_000) for number in range(start, start + 1_000)})
        full = orders.statistics().shards[0].mapped_bytes
        assert full > COUNT * 1_000
        for number in range(COUNT):
            if number % 20:
                orders.delete(f"k{number}")
        end_s = time.monotonic() + DEADLINE_S
        rounds = 0
        while True:
            rounds += 1
            orders.set("round", rounds)
            assert orders.get("round", level="strong") == rounds
            assert orders.get(f"k{rounds * 20 % COUNT}") == bytes(1_000)
            found = orders.statistics().shards[0].mapped_bytes
            if found < full / 2:
                break
            assert time.monotonic() < end_s, f"{found} of {full} bytes are still mapped"
        assert orders.get("k20") == bytes(1_000)
        assert orders.get("k21") is None
        assert len(list(orders.scan("k"))) == COUNT // 20
        orders.set("after", 1)
        assert orders.get("after", level="strong") == 1
