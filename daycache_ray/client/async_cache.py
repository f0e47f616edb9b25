"""A connection to a running cluster, for asyncio: `aconnect` and AsyncCache."""

from __future__ import annotations

import asyncio
from typing import Any

from typing_extensions import Self

from daycache_ray.client.async_region import AsyncRegion
from daycache_ray.client.cache import Desk, open_desk
from daycache_ray.client.tracing import traced
from daycache_ray.words.cluster_map import ClusterMap
from daycache_ray.words.types import CacheRegion, RegionStatistics

__all__ = ["AsyncCache", "AsyncRegion", "aconnect"]


class AsyncCache:
    """`Cache` with await. Belongs to the event loop on which it was connected."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._channels = desk.async_channels()
        self._regions: dict[str, AsyncRegion] = {}
        self._views: list[AsyncCache] = []

    def __repr__(self) -> str:
        return f"<AsyncCache {self._desk.describe()}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __reduce__(self) -> Any:
        raise TypeError(f"a cache does not travel: call await daycache.aconnect('{self.name}') in the other process")

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.cluster_map.name

    @property
    def service_name(self) -> str:
        """Under which name this cache asks."""
        return self._desk.session.service

    @property
    def cluster_map(self) -> ClusterMap:
        """The newest map of the cluster."""
        return self._desk.session.router.cluster_map

    @property
    def http_url(self) -> str | None:
        """Where the cluster's HTTP door is, or None where it was started without."""
        return self.cluster_map.http_url or None

    def region(self, name: CacheRegion | str) -> AsyncRegion:
        """Return a region of the cluster; raises as `Cache.region`."""
        core = self._desk.core(name)
        region = self._regions.get(core.config.name)
        if region is None:
            region = self._regions[core.config.name] = traced(AsyncRegion(core, self._channels))
        return region

    async def service(self, name: str) -> AsyncCache:
        """Return a cache on the same cluster that asks as another service; see `Cache.service`."""
        self._desk.session.check_open()
        view = AsyncCache(await asyncio.to_thread(self._desk.sibling, name))
        self._views.append(view)
        return view

    async def statistics(self) -> dict[str, RegionStatistics]:
        """Return the statistics of every region, by name."""
        regions = [self.region(region.name) for region in self.cluster_map.config.regions]
        answers: list[Any] = await asyncio.gather(*(region.statistics() for region in regions))
        return {region.name: answer for region, answer in zip(regions, answers, strict=True)}

    async def close(self) -> None:
        """Send WEAK writes that wait, and disconnect; the cluster runs on. Harmless when done twice."""
        for view in self._views:
            await view.close()
        await asyncio.to_thread(self._desk.close)
        await self._channels.close()


async def aconnect(name: str = "daycache", *, service: str = "default", address: str | None = None) -> AsyncCache:
    """Return an AsyncCache on a running cluster; takes and raises what `connect` does."""
    return AsyncCache(await asyncio.to_thread(open_desk, name, service, address))
