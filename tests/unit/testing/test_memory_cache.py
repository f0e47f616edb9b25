"""The cache for other people's tests: its clock, its faults, its failovers, and that loaders never wait for time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from daycache_ray import (
    CacheConsistencyLevel,
    CacheOrchestrator,
    CacheRegion,
    ClusterConfig,
    DeadlineExceededError,
    InvalidArgumentError,
    LoadCycleError,
    LoadError,
    NotEnoughReplicasError,
    NotPrimaryError,
    RegionConfig,
    RegionFullError,
    ShardUnavailableError,
    UnknownOutcomeError,
    UnknownRegionError,
    UsageError,
)
from daycache_ray.testing import MemoryCluster, amemory_cache, memory_cache

SMALL = ClusterConfig(
    name="small",
    regions=(
        RegionConfig(name="evicting", replicas=1, memory_bytes=1 << 20),
        RegionConfig(name="keeping", level="strong", replicas=1, memory_bytes=1 << 20),
    ),
)


def upper(key: str) -> str:
    """Load a key from its own name."""
    return key.upper()


def test_the_clock_stands_until_it_is_moved() -> None:
    cache = memory_cache(started_at_s=1_000_000.0)
    region = cache.region(CacheRegion.MARKET_DATA)
    region.set("k", 1, ttl_s=3600)
    entry = region.get_entry("k")
    assert entry is not None
    assert entry.expires_at_s == pytest.approx(1_003_600.0)
    assert region.ttl("k") == 3600.0
    cache.advance(3599.5)
    assert region.ttl("k") == pytest.approx(0.5)
    assert region.get("k", level="strong") == 1
    cache.advance(0.5)
    assert region.get("k", level="strong") is None
    assert region.get("k") is None
    statistics = region.statistics()
    assert (statistics.entries_count, statistics.expirations_count) == (0, 1)
    assert cache.cluster.wall_s() == pytest.approx(1_003_600.0)
    with pytest.raises(InvalidArgumentError):
        cache.advance(-1.0)


def test_a_year_is_quick_and_keeps_the_rest() -> None:
    cache = memory_cache()
    region = cache.region("trading_positions")
    region.set("k", 1)
    cache.advance(365 * 86_400.0)
    assert region.get("k") == 1
    assert region.increment("k") == 2


def test_weak_writes_wait_for_the_clock() -> None:
    cache = memory_cache()
    mine, other = cache.region("market_data"), cache.service("default").region("market_data")
    mine.set("k", 1, level="weak")
    assert mine.get("k", level="weak") == 1
    assert other.get("k") is None
    cache.advance(0.001)
    assert other.get("k") == 1
    for number in range(64):
        mine.set(f"k{number}", number, level="weak")
    assert other.get("k63") == 63


def test_lost_weak_writes_are_counted() -> None:
    cache = memory_cache()
    region = cache.region("market_data")
    region.set_many({"a": 1, "b": 2}, level="weak")
    cache.primary_down("market_data")
    cache.advance(0.001)
    cache.primary_up("market_data")
    assert region.get_many(["a", "b"], level="strong") == {}
    assert region.statistics().weak_writes_lost_count == 2


def test_an_ordered_error_is_what_the_client_makes_of_it() -> None:
    cache = memory_cache()
    region = cache.region("trading_positions")
    cache.fail_next(NotEnoughReplicasError("1 of 2 in sync"))
    with pytest.raises(NotEnoughReplicasError):
        region.set("k", 1)
    cache.fail_next(NotPrimaryError)
    with pytest.raises(ShardUnavailableError):
        region.get("k")
    cache.fail_next(UnknownOutcomeError("the connection broke"), calls=2)
    with pytest.raises(UnknownOutcomeError, match="may have happened"):
        region.set("k", 1)
    with pytest.raises(DeadlineExceededError):
        region.get("k")
    before_s = cache.cluster.now_s()
    cache.fail_next(NotPrimaryError)
    with pytest.raises(ShardUnavailableError):
        region.get("k", deadline_s=0.25)
    assert 0.0 < cache.cluster.now_s() - before_s <= 0.25
    assert region.set("k", 1).lsn > 0
    with pytest.raises(InvalidArgumentError):
        cache.fail_next(ValueError("no error of ours"))  # type: ignore[arg-type]


def test_without_a_second_copy_a_primary_that_is_down_is_missed() -> None:
    cache = memory_cache()
    region, other = cache.region("market_data"), cache.region("analysis_results")
    region.set("k", 1)
    cache.primary_down("market_data")
    for call in (lambda: region.get("k"), lambda: region.set("k", 2), lambda: region.get_or_load("j", upper)):
        with pytest.raises(ShardUnavailableError, match="no primary"):
            call()
    assert other.get("k") is None
    cache.primary_up()
    assert region.get("k") == 1
    assert region.set("k", 2).epoch > 1
    with pytest.raises(UnknownRegionError, match="market_data"):
        cache.primary_down("orders")


@pytest.mark.parametrize("region_name", ["trading_positions", "market_data"])
def test_with_a_second_copy_it_takes_over(region_name: str) -> None:
    cache = memory_cache(copies=2)
    region = cache.region(region_name)
    first = region.set("k", 1)
    cache.advance(0.1)
    cache.primary_down(region_name)
    assert region.get("k") == 1
    assert region.get("k", level="strong") == 1
    with pytest.raises(NotEnoughReplicasError):
        region.set("k", 2, level="strong")
    cache.primary_up(region_name)
    cache.advance(5.0)
    assert region.set("k", 2, level="strong") > first
    # Time for the other copy to hear what is committed: alone it could not know.
    cache.advance(0.1)
    cache.primary_down(region_name)
    assert region.get("k", level="strong") == 2


def test_what_only_the_primary_had_is_lost_with_it() -> None:
    cache = memory_cache(copies=2)
    region = cache.region("market_data")
    region.set("k", 1)
    cache.primary_down("market_data")
    assert region.get("k", level="strong") is None


def test_a_full_region() -> None:
    cache = memory_cache(SMALL)
    evicting, keeping = cache.region("evicting"), cache.region("keeping")
    for number in range(40):
        evicting.set(f"k{number}", bytes(50_000))
    statistics = evicting.statistics()
    assert statistics.evictions_count > 0
    assert statistics.used_bytes <= statistics.limit_bytes
    assert evicting.get("k39") is not None
    assert evicting.get("k0") is None
    with pytest.raises(RegionFullError, match="evicts nothing"):
        for number in range(40):
            keeping.set(f"k{number}", bytes(50_000))


def test_a_loader_that_asks_for_its_own_key_is_not_waited_for() -> None:
    cache = memory_cache()
    region = cache.region("market_data")

    def load(key: str) -> Any:
        return region.get_or_load(key, load, deadline_s=2.0)

    with pytest.raises(LoadCycleError, match="'k' → 'k'"):
        region.get_or_load("k", load)
    assert region.get_or_load("k", lambda key: 1) == 1


def test_a_loader_may_use_the_cache_and_take_its_time() -> None:
    cache = memory_cache()
    region = cache.region("market_data")

    def load(key: str) -> Any:
        cache.advance(2.0)
        return region.get_or_load(f"other {key}", upper)

    assert region.get_or_load("k", load) == "OTHER K"

    def too_slow(key: str) -> Any:
        cache.advance(31.0)
        return 1

    with pytest.raises(LoadError, match="did not answer"):
        region.get_or_load("j", too_slow)
    assert region.get("j") is None


def test_threads_wait_for_the_one_that_loads() -> None:
    cache = memory_cache()
    region = cache.region("market_data")
    is_loading, go_on = threading.Event(), threading.Event()
    found: list[Any] = []

    def load(key: str) -> str:
        is_loading.set()
        assert go_on.wait(10)
        return "loaded"

    first = threading.Thread(target=lambda: found.append(region.get_or_load("k", load)))
    first.start()
    assert is_loading.wait(10)
    others = [
        threading.Thread(target=lambda: found.append(region.get_or_load("k", lambda key: "loaded twice")))
        for _ in range(4)
    ]
    for thread in others:
        thread.start()
    before_s = cache.cluster.now_s()
    go_on.set()
    for thread in (first, *others):
        thread.join(10)
    assert found == ["loaded"] * 5
    assert cache.cluster.now_s() == before_s


async def test_tasks_wait_for_the_one_that_loads() -> None:
    cache = amemory_cache()
    region = cache.region("market_data")
    loads: list[str] = []

    async def load(key: str) -> str:
        loads.append(key)
        for _ in range(10):
            await asyncio.sleep(0)
        return "loaded"

    assert await asyncio.gather(*(region.get_or_load("k", load) for _ in range(20))) == ["loaded"] * 20
    assert loads == ["k"]


async def test_a_task_that_gives_up_hands_its_load_on() -> None:
    cache = amemory_cache()
    region = cache.region("market_data")
    is_loading = asyncio.Event()

    async def never(key: str) -> str:
        is_loading.set()
        await asyncio.Event().wait()
        return ""

    first = asyncio.ensure_future(region.get_or_load("k", never))
    await is_loading.wait()
    second = asyncio.ensure_future(region.get_or_load("k", upper))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(LoadError):
        await second
    assert await region.get_or_load("k", upper) == "K"


async def test_the_orchestrator_takes_it() -> None:
    for cache in (memory_cache(), amemory_cache()):
        orchestrator = CacheOrchestrator(cache)
        await orchestrator.set(
            "AAPL_price",
            150.25,
            CacheRegion.MARKET_DATA,
            service_name="market-data-service",
            consistency_level=CacheConsistencyLevel.EVENTUAL,
        )
        found = await orchestrator.get("AAPL_price", CacheRegion.MARKET_DATA, service_name="market-data-service")
        assert found == 150.25
        assert await orchestrator.get("AAPL_price", CacheRegion.MARKET_DATA) is None


def test_two_faces_of_one_cluster() -> None:
    cluster = MemoryCluster()
    cache, twin = memory_cache(cluster=cluster), amemory_cache(cluster=cluster)
    cache.region("market_data").set("k", 1)

    async def look() -> Any:
        return await twin.region("market_data").get("k")

    assert asyncio.run(look()) == 1
    assert repr(cluster).startswith("<MemoryCluster 'memory', 3 shards, at ")


def test_it_has_no_actors() -> None:
    with pytest.raises(UsageError, match="real cluster"):
        memory_cache().region("market_data").shard_for("k")
