"""The mission's calls over a cache that only remembers what it was asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daycache_ray.client.async_cache import AsyncCache
from daycache_ray.client.cache import Cache
from daycache_ray.client.node_reads import FAR
from daycache_ray.client.orchestrator import CacheOrchestrator
from daycache_ray.words.types import CacheConsistencyLevel, CacheRegion, Version


class Calls:
    """A region of a service; writes down its calls."""

    def __init__(self, service: str, region: str, log: list[Any], near: Any = FAR) -> None:
        self._where = (service, region)
        self._log = log
        self._near = near

    def near_value(self, key: str, default: Any, level: Any) -> Any:
        """Return what memory would."""
        return self._near

    def set(self, *arguments: Any, **options: Any) -> Version:
        """Write a call down."""
        self._log.append((*self._where, "set", arguments, options["level"]))
        return Version(1, 2)

    def get(self, *arguments: Any, **options: Any) -> str:
        """Write a call down."""
        self._log.append((*self._where, "get", arguments, options["level"]))
        return "far away"

    def delete(self, *arguments: Any, **options: Any) -> bool:
        """Write a call down."""
        self._log.append((*self._where, "delete", arguments, options["level"]))
        return True


class FakeCache(Cache):
    """A cache without a cluster."""

    def __init__(self, service: str = "default", log: list[Any] | None = None, near: Any = FAR) -> None:
        self.log: list[Any] = [] if log is None else log
        self.is_closed = False
        self.opened: list[FakeCache] = []
        self._service = service
        self._near = near

    def __repr__(self) -> str:
        return "<FakeCache>"

    @property
    def service_name(self) -> str:
        """Who asks."""
        return self._service

    def region(self, name: Any) -> Any:
        """Return a region that writes down its calls."""
        return Calls(self._service, str(getattr(name, "value", name)), self.log, self._near)

    def service(self, name: str) -> FakeCache:
        """Return the same cache for another service."""
        self.opened.append(FakeCache(name, self.log, self._near))
        return self.opened[-1]

    def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True


async def test_the_missions_calls() -> None:
    cache = FakeCache()
    orchestrator = CacheOrchestrator(cache)
    version = await orchestrator.set(
        "AAPL_price",
        150.25,
        CacheRegion.MARKET_DATA,
        service_name="market-data-service",
        consistency_level=CacheConsistencyLevel.EVENTUAL,
    )
    found = await orchestrator.get("AAPL_price", CacheRegion.MARKET_DATA, service_name="market-data-service")
    removed = await orchestrator.delete("AAPL_price", "market_data", service_name="market-data-service")
    assert (version, found, removed) == (Version(1, 2), "far away", True)
    assert cache.log == [
        ("market-data-service", "market_data", "set", ("AAPL_price", 150.25), CacheConsistencyLevel.EVENTUAL),
        ("market-data-service", "market_data", "get", ("AAPL_price", None), None),
        ("market-data-service", "market_data", "delete", ("AAPL_price",), None),
    ]
    assert len(cache.opened) == 1
    assert repr(orchestrator) == "<CacheOrchestrator of <FakeCache>, services default, market-data-service>"


async def test_without_a_service_the_caches_own_asks() -> None:
    cache = FakeCache("trading-engine-service")
    await CacheOrchestrator(cache).set("a", 1, "orders")
    assert cache.log[0][0] == "trading-engine-service"
    assert cache.opened == []


async def test_what_memory_answers_needs_no_thread() -> None:
    cache = FakeCache(near=7)
    assert await CacheOrchestrator(cache).get("a", "orders") == 7
    assert cache.log == []


async def test_a_thousand_first_calls_connect_a_service_once() -> None:
    cache = FakeCache()
    orchestrator = CacheOrchestrator(cache)
    await asyncio.gather(*(orchestrator.set(f"k{n}", n, "orders", service_name="hft-service") for n in range(1_000)))
    assert len(cache.opened) == 1
    assert len(cache.log) == 1_000


def test_it_goes_from_one_event_loop_to_the_next() -> None:
    orchestrator = CacheOrchestrator(FakeCache())
    for _ in range(2):
        assert asyncio.run(orchestrator.get("a", "orders", service_name="hft-service")) == "far away"


async def test_close_disconnects_its_services_and_leaves_the_cache() -> None:
    cache = FakeCache()
    orchestrator = CacheOrchestrator(cache)
    await orchestrator.get("a", "orders", service_name="hft-service")
    await orchestrator.close()
    assert cache.opened[0].is_closed
    assert not cache.is_closed
    await orchestrator.get("a", "orders", service_name="hft-service")
    assert len(cache.opened) == 2


async def test_over_an_async_cache_calls_are_awaited() -> None:
    class AsyncCalls(Calls):
        async def set(self, *arguments: Any, **options: Any) -> Version:  # type: ignore[override]
            await asyncio.sleep(0)
            return super().set(*arguments, **options)

    class FakeAsyncCache(AsyncCache):
        def __init__(self, service: str, log: list[Any]) -> None:
            self.log = log
            self._service = service

        @property
        def service_name(self) -> str:
            return self._service

        def region(self, name: Any) -> Any:
            return AsyncCalls(self._service, str(name), self.log)

        async def service(self, name: str) -> FakeAsyncCache:
            opened.append(name)
            await asyncio.sleep(0)
            return FakeAsyncCache(name, self.log)

    log: list[Any] = []
    opened: list[str] = []
    orchestrator = CacheOrchestrator(FakeAsyncCache("default", log))
    calls = [orchestrator.set("a", 1, "orders", service_name="hft-service") for _ in range(100)]
    assert await asyncio.gather(*calls) == [Version(1, 2)] * 100
    assert log == [("hft-service", "orders", "set", ("a", 1), None)] * 100
    assert opened == ["hft-service"]


@pytest.mark.parametrize("region", ["orders", CacheRegion.ANALYSIS_RESULTS])
async def test_regions_by_name_and_by_member(region: Any) -> None:
    cache = FakeCache()
    await CacheOrchestrator(cache).delete("a", region)
    assert cache.log[0][1] == ("orders" if region == "orders" else "analysis_results")
