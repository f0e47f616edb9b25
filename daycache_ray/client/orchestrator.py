"""The mission's own calls: one object over all regions and services of a connected cache."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

from daycache_ray.client.arguments import REGION_TTL, RegionTtl
from daycache_ray.client.async_cache import AsyncCache
from daycache_ray.client.cache import Cache
from daycache_ray.client.node_reads import FAR
from daycache_ray.words.types import CacheRegion, Key, Level, Version


class CacheOrchestrator:
    """Sets, gets and deletes by region and service, from asyncio.

    Over an AsyncCache calls are awaited; over a Cache what shared memory cannot answer runs in a thread,
    so it may be used from one event loop after the other. Services are connected on their first call and
    closed with `close`, or with the cache.

    >>> orchestrator = CacheOrchestrator(cache)                                # doctest: +SKIP
    >>> await orchestrator.set("AAPL_price", 150.25, CacheRegion.MARKET_DATA,
    ...     service_name="market-data-service", consistency_level="eventual")  # doctest: +SKIP
    """

    def __init__(self, cache: Cache | AsyncCache) -> None:
        self._cache = cache
        self._services: dict[str, Any] = {cache.service_name: cache}
        self._connecting = threading.Lock()
        self._pending: dict[str, asyncio.Future[AsyncCache]] = {}

    def __repr__(self) -> str:
        return f"<CacheOrchestrator of {self._cache!r}, services {', '.join(sorted(self._services))}>"

    async def set(
        self,
        key: Key,
        value: Any,
        region: CacheRegion | str,
        *,
        service_name: str | None = None,
        consistency_level: Level | None = None,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        deadline_s: float | None = None,
    ) -> Version:
        """Write a value as a service and return its version; see Region.set.

        Args:
            service_name: who writes; None: the service of the cache.
            consistency_level: None: the region's own.
        """
        where = await self._region(region, service_name)
        version: Version = await _call(
            where.set, key, value, ttl_s=ttl_s, level=consistency_level, deadline_s=deadline_s
        )
        return version

    async def get(
        self,
        key: Key,
        region: CacheRegion | str,
        default: Any = None,
        *,
        service_name: str | None = None,
        consistency_level: Level | None = None,
        deadline_s: float | None = None,
    ) -> Any:
        """Return a value that this service sees, or `default`; see Region.get."""
        where = await self._region(region, service_name)
        value = where.near_value(key, default, consistency_level)
        if value is not FAR:
            return value
        return await _call(where.get, key, default, level=consistency_level, deadline_s=deadline_s)

    async def delete(
        self,
        key: Key,
        region: CacheRegion | str,
        *,
        service_name: str | None = None,
        consistency_level: Level | None = None,
        deadline_s: float | None = None,
    ) -> bool:
        """Remove an entry of this service; return whether there was one."""
        where = await self._region(region, service_name)
        existed: bool = await _call(where.delete, key, level=consistency_level, deadline_s=deadline_s)
        return existed

    async def close(self) -> None:
        """Disconnect the services that this orchestrator connected; the cache itself stays open."""
        services, self._services = self._services, {self._cache.service_name: self._cache}
        for cache in services.values():
            if cache is not self._cache:
                await _call(cache.close)

    async def _region(self, region: CacheRegion | str, service_name: str | None) -> Any:
        name = self._cache.service_name if service_name is None else service_name
        known: Any = self._services.get(name)
        if known is None:
            if isinstance(self._cache, AsyncCache):
                known = await self._connect_async(self._cache, name)
            else:
                known = await asyncio.to_thread(self._connect, self._cache, name)
        return known.region(region)

    async def _connect_async(self, cache: AsyncCache, name: str) -> AsyncCache:
        # All who come while a service is being connected wait for the same connection.
        connecting = self._pending.get(name)
        if connecting is None:
            connecting = self._pending[name] = asyncio.ensure_future(cache.service(name))
            connecting.add_done_callback(lambda _: self._pending.pop(name, None))
        connected = await asyncio.shield(connecting)
        self._services[name] = connected
        return connected

    def _connect(self, cache: Cache, name: str) -> Cache:
        with self._connecting:
            if name not in self._services:
                self._services[name] = cache.service(name)
            connected: Cache = self._services[name]
            return connected


async def _call(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    if inspect.iscoroutinefunction(method):
        return await method(*arguments, **options)
    return await asyncio.to_thread(method, *arguments, **options)
