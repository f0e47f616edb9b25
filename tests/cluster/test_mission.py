"""The six things that the cache is for, by the mission's own calls, on a real cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

import daycache_ray as daycache
from daycache_ray import (
    AdaptiveCacheOptimizer,
    AsyncCache,
    Cache,
    CacheConsistencyLevel,
    CacheOptimizationContext,
    CacheOrchestrator,
    CacheRegion,
    ClusterConfig,
)

SERVICES = ("market-data-service", "trading-engine-service", "hft-service", "analysis-service")
ITEM_COUNT = 50_000
ITEM_BYTES_MAX = 300
"""What an item of 100 bytes may cost in one copy: its key and service (32), header (40), eviction order, tree."""


@pytest.fixture(scope="module")
def cache(embedded_ray: str) -> Iterator[Cache]:
    with daycache.start(ClusterConfig(name="mission")) as found:
        yield found


@pytest.fixture
async def async_cache(cache: Cache) -> AsyncCache:
    return await daycache.aconnect(cache.name)


async def eventually(condition: Callable[[], object], deadline_s: float = 10.0) -> None:
    """Return when a condition holds; fail at the deadline."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true in time"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("face", ["sync", "async"])
async def test_basic_operations(cache: Cache, async_cache: AsyncCache, face: str) -> None:
    async with async_cache:
        orchestrator = CacheOrchestrator(cache if face == "sync" else async_cache)
        for region in CacheRegion:
            version = await orchestrator.set(
                "AAPL_price",
                150.25,
                region,
                service_name="market-data-service",
                consistency_level=CacheConsistencyLevel.EVENTUAL,
            )
            assert version.lsn > 0
            assert await orchestrator.get("AAPL_price", region, service_name="market-data-service") == 150.25
            assert await orchestrator.delete("AAPL_price", region, service_name="market-data-service") is True
            assert await orchestrator.get("AAPL_price", region, service_name="market-data-service") is None
            assert await orchestrator.delete("AAPL_price", region, service_name="market-data-service") is False
        await orchestrator.close()


@pytest.mark.parametrize("face", ["sync", "async"])
async def test_a_thousand_concurrent_operations(cache: Cache, async_cache: AsyncCache, face: str) -> None:
    async with async_cache:
        orchestrator = CacheOrchestrator(cache if face == "sync" else async_cache)
        regions = list(CacheRegion)

        async def one(number: int) -> bool:
            region, service = regions[number % 3], SERVICES[number % 4]
            value = {"number": number, "face": face}
            await orchestrator.set(f"key-{number}", value, region, service_name=service)
            return await orchestrator.get(f"key-{number}", region, service_name=service) == value

        assert all(await asyncio.gather(*(one(number) for number in range(1_000))))
        await orchestrator.close()


async def test_adaptation(cache: Cache) -> None:
    await eventually(lambda: cache.cluster_map.prefetcher_socket_path, 60)
    market = cache.service("market-data-service").region(CacheRegion.MARKET_DATA)
    optimizer = AdaptiveCacheOptimizer(cache)
    context = CacheOptimizationContext("market-data-service", CacheRegion.MARKET_DATA, 0.85, 2.5)
    hot, cold = "HOT_analysis", "COLD_analysis"
    market.set_many({hot: 1, cold: 1})
    before = optimizer.predict_access_probability(hot, context)

    def ask_and_look() -> bool:
        for _ in range(20):
            market.get(hot)
        return optimizer.explain(hot, context).source == "observed"

    market.get(cold)
    await eventually(ask_and_look, 30)
    for _ in range(50):
        ask_and_look()
        await asyncio.sleep(0.01)
    await eventually(lambda: optimizer.predict_access_probability(hot, context) > before)
    p_hot = optimizer.predict_access_probability(hot, context)
    p_cold = optimizer.predict_access_probability(cold, context)
    assert p_hot > p_cold
    assert optimizer.calculate_optimal_ttl(hot, p_hot, context) > 0


async def test_services_are_isolated(cache: Cache) -> None:
    orchestrator = CacheOrchestrator(cache)
    for service in SERVICES:
        await orchestrator.set("same-key", service, CacheRegion.TRADING_POSITIONS, service_name=service)
    for service in SERVICES:
        assert await orchestrator.get("same-key", CacheRegion.TRADING_POSITIONS, service_name=service) == service
    await orchestrator.delete("same-key", CacheRegion.TRADING_POSITIONS, service_name=SERVICES[0])
    found = [await orchestrator.get("same-key", CacheRegion.TRADING_POSITIONS, service_name=s) for s in SERVICES]
    assert found == [None, *SERVICES[1:]]
    await orchestrator.close()


def test_memory_per_item(cache: Cache) -> None:
    region = cache.service("analysis-service").region(CacheRegion.ANALYSIS_RESULTS)
    member = cache.cluster_map.shards["analysis_results"][0].primary
    assert member is not None

    def fill(first: int) -> None:
        for start in range(first, first + ITEM_COUNT, 1_000):
            region.set_many({f"item-{number:08d}": b"x" * 100 for number in range(start, start + 1_000)})

    # Twice: by then the log has its full length, and the second half shows what an item costs.
    fill(0)
    before_bytes, before = disk_bytes(member.directory), region.statistics()
    fill(ITEM_COUNT)
    after = region.statistics()
    taken_bytes = (disk_bytes(member.directory) - before_bytes) / ITEM_COUNT
    accounted_bytes = (after.used_bytes - before.used_bytes) / ITEM_COUNT
    assert after.entries_count - before.entries_count == ITEM_COUNT
    assert accounted_bytes < ITEM_BYTES_MAX, f"an item is accounted with {accounted_bytes:.0f} bytes"
    # Files are allocated ahead of what is used, in steps of megabytes; beyond that the budget must be true.
    assert taken_bytes < 2 * accounted_bytes, f"an item takes {taken_bytes:.0f} bytes, accounted {accounted_bytes:.0f}"


def disk_bytes(directory: str) -> int:
    """Return what the files below a directory take, holes not counted."""
    return sum(path.stat().st_blocks * 512 for path in Path(directory).rglob("*") if path.is_file())


@ray.remote
class Reader:
    """Another process of the cluster."""

    def __init__(self, name: str, service: str) -> None:
        self._region = daycache.connect(name, service=service).region("trading_positions")

    def get(self, key: str, level: str) -> object:
        """Return what this process sees."""
        return self._region.get(key, level=level)


def test_consistency_levels(cache: Cache) -> None:
    service = "trading-engine-service"
    mine = cache.service(service).region(CacheRegion.TRADING_POSITIONS)
    reader = Reader.remote(cache.name, service)  # type: ignore[attr-defined]
    # STRONG: whoever reads after the answer sees it, in every process.
    for number in range(20):
        mine.set("position", number, level="strong")
        assert mine.get("position", level="strong") == number
        assert ray.get(reader.get.remote("position", "strong"), timeout=60) == number
    # EVENTUAL: the writer sees it at once, nobody ever goes back, and all come to see it.
    seen = -1
    for number in range(20):
        mine.set("quote", number, level="eventual")
        assert mine.get("quote", level="eventual") == number
        found = ray.get(reader.get.remote("quote", "eventual"))
        assert found is None or isinstance(found, int)
        assert found is None or found >= seen
        seen = seen if found is None else found
    end_s = time.monotonic() + 10
    while ray.get(reader.get.remote("quote", "eventual")) != 19:
        assert time.monotonic() < end_s, "an EVENTUAL write did not reach another process"
    # WEAK: its writer sees it, it lands by itself, and it says that it has no version yet.
    assert mine.set("tick", 1, level="weak").lsn == 0
    assert mine.get("tick", level="weak") == 1
    while ray.get(reader.get.remote("tick", "weak")) != 1:
        assert time.monotonic() < end_s, "a WEAK write did not land"
    ray.kill(reader)
