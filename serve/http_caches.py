"""One AsyncCache per service that asks over HTTP, opened when it first asks, closed when others need the place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from daycache_ray.words.errors import BackpressureError

SERVICES_MAX: Final = 64
"""Caches open at a time. Anybody may name a service, and each has buffers and threads of its own."""

IDLE_S: Final = 60.0
"""A cache that nobody asked for so long is in no call any more: deadlines over HTTP are shorter."""


class CachePool:
    """The caches of one process; belongs to one event loop."""

    def __init__(
        self,
        connect: Callable[[str], Awaitable[Any]],
        *,
        services_max: int = SERVICES_MAX,
        idle_s: float = IDLE_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._services_max = services_max
        self._idle_s = idle_s
        self._now_s = now_s
        self._caches: dict[str, Any] = {}
        self._asked_at_s: dict[str, float] = {}
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<CachePool of {len(self._caches)} services>"

    async def get(self, service: str) -> Any:
        """Return the service's cache.

        Raises:
            BackpressureError: too many services ask at the moment.
            UnknownServiceError, ClusterNotFoundError, UnavailableError: as daycache.aconnect.
        """
        cache = self._caches.get(service)
        if cache is None:
            async with self._opening:
                cache = self._caches.get(service)
                if cache is None:
                    await self._make_room()
                    cache = self._caches[service] = await self._connect(service)
        self._asked_at_s[service] = self._now_s()
        return cache

    async def close(self) -> None:
        """Close every cache."""
        caches, self._caches = list(self._caches.values()), {}
        self._asked_at_s.clear()
        for cache in caches:
            await cache.close()

    async def _make_room(self) -> None:
        if len(self._caches) < self._services_max:
            return
        oldest = min(self._caches, key=lambda service: self._asked_at_s.get(service, 0.0))
        wait_s = self._asked_at_s.get(oldest, 0.0) + self._idle_s - self._now_s()
        if wait_s > 0:
            raise BackpressureError(
                f"{self._services_max} services ask at the moment, and no more fit; use one of theirs, or try again",
                retry_after_s=wait_s,
            )
        self._asked_at_s.pop(oldest, None)
        await self._caches.pop(oldest).close()
