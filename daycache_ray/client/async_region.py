"""A region as asyncio uses it: what shared memory answers needs no hop, the rest is awaited."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from daycache_ray.client.arguments import REGION_TTL, RegionTtl
from daycache_ray.client.async_channels import AsyncChannels
from daycache_ray.client.bounded_reads import limit_of
from daycache_ray.client.cached import AsyncCachedDecorator
from daycache_ray.client.dead_letters import AsyncDeadLetterCalls
from daycache_ray.client.invalidation import AsyncInvalidation
from daycache_ray.client.lifetimes import Moment, lifetime
from daycache_ray.client.node_reads import FAR
from daycache_ray.client.region_core import RegionCore, prefix_bytes, texts
from daycache_ray.client.region_reads import ABSENT
from daycache_ray.client.removals import AsyncListener, RemovalSubscription
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.removals import RemovalCause
from daycache_ray.words.types import Entry, Key, Level, PriorityName, RegionStatistics, Version


class AsyncRegion(AsyncInvalidation, AsyncDeadLetterCalls):
    """`Region` with await: same names, arguments, answers and errors. Of one event loop."""

    def __init__(self, core: RegionCore, channels: AsyncChannels) -> None:
        self._core = core
        self._reads = core.reads
        self._writes = core.writes
        self._letters = core.letters
        self.near_value = core.reads.near_value
        self._channels = channels
        self._run = channels.run
        self._run_all = channels.run_all

    def __repr__(self) -> str:
        return f"<AsyncRegion {self._core.describe()}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a region does not travel: call await daycache.aconnect() and region('{self.name}') in the other process"
        )

    @property
    def name(self) -> str:
        """The region's name."""
        return self._core.config.name

    @property
    def config(self) -> RegionConfig:
        """What the region was configured with."""
        return self._core.config

    async def get(
        self,
        key: Key,
        default: Any = None,
        *,
        level: Level | None = None,
        max_staleness_s: float | None = None,
        on_stale: str = "raise",
        deadline_s: float | None = None,
    ) -> Any:
        """See Region.get."""
        if max_staleness_s is not None:
            limit = limit_of(max_staleness_s, on_stale)
            return await self._run(self._core.bounded.value(key, default, level, limit, deadline_s))
        value = self.near_value(key, default, level)
        if value is not FAR:
            return value
        return await self._run(self._reads.value(key, default, level, deadline_s))

    async def get_entry(
        self,
        key: Key,
        *,
        level: Level | None = None,
        max_staleness_s: float | None = None,
        on_stale: str = "raise",
        deadline_s: float | None = None,
    ) -> Entry | None:
        """See Region.get_entry."""
        if max_staleness_s is not None:
            limit = limit_of(max_staleness_s, on_stale)
            return await self._run(self._core.bounded.entry(key, level, limit, deadline_s))
        return await self._run(self._reads.entry(key, level, deadline_s))

    async def get_many(
        self,
        keys: Iterable[Key],
        *,
        level: Level | None = None,
        max_staleness_s: float | None = None,
        on_stale: str = "raise",
        deadline_s: float | None = None,
    ) -> dict[Key, Any]:
        """See Region.get_many; shards are asked at the same time."""
        if max_staleness_s is not None:
            limit = limit_of(max_staleness_s, on_stale)
            return await self._run_all(self._core.bounded.many(keys, level, limit, deadline_s))
        found, exchanges = self._reads.many(keys, level, deadline_s)
        if exchanges:
            found.update(await self._run_all(exchanges))
        return found

    async def set(
        self,
        key: Key,
        value: Any,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        expires_at: Moment | None = None,
        tags: Iterable[str] = (),
        level: Level | None = None,
        priority: PriorityName = "normal",
        deadline_s: float | None = None,
    ) -> Version:
        """See Region.set."""
        until = lifetime(ttl_s, expires_at)
        return await self._run(self._writes.set(key, value, until, level, deadline_s, tags, priority))

    async def set_many(
        self,
        values: Mapping[Key, Any],
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        expires_at: Moment | None = None,
        tags: Iterable[str] = (),
        level: Level | None = None,
        priority: PriorityName = "normal",
        deadline_s: float | None = None,
    ) -> dict[Key, Version]:
        """See Region.set_many; shards are written at the same time."""
        until = lifetime(ttl_s, expires_at)
        return await self._run_all(self._writes.set_many(values, until, level, deadline_s, tags, priority))

    async def add(
        self,
        key: Key,
        value: Any,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        tags: Iterable[str] = (),
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> bool:
        """See Region.add."""
        return await self._run(self._writes.add(key, value, ttl_s, level, deadline_s, tags))

    async def delete(self, key: Key, *, level: Level | None = None, deadline_s: float | None = None) -> bool:
        """See Region.delete."""
        return await self._run(self._writes.delete(key, level, deadline_s))

    async def exists(self, key: Key, *, level: Level | None = None, deadline_s: float | None = None) -> bool:
        """See Region.exists."""
        return await self._run(self._reads.exists(key, level, deadline_s))

    async def touch(
        self,
        key: Key,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        *,
        expires_at: Moment | None = None,
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> bool:
        """See Region.touch."""
        return await self._run(self._writes.touch(key, lifetime(ttl_s, expires_at), level, deadline_s))

    async def ttl(self, key: Key, *, level: Level | None = None, deadline_s: float | None = None) -> float | None:
        """See Region.ttl."""
        return await self._run(self._reads.ttl_s(key, level, deadline_s))

    async def increment(
        self,
        key: Key,
        by: float = 1,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> int | float:
        """See Region.increment."""
        return await self._run(self._writes.increment(key, by, ttl_s, level, deadline_s))

    async def compare_and_set(
        self,
        key: Key,
        value: Any,
        expected: Version | None,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        tags: Iterable[str] = (),
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> Version:
        """See Region.compare_and_set."""
        return await self._run(self._writes.compare_and_set(key, value, expected, ttl_s, level, deadline_s, tags))

    async def get_or_load(
        self,
        key: Key,
        loader: Any = None,
        *,
        default: Any = None,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        tags: Iterable[str] = (),
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> Any:
        """See Region.get_or_load; an async loader is awaited, a plain one runs in a thread."""
        value = self._core.loads.near_value(key, level, ttl_s)
        if value is not FAR and value is not ABSENT:
            return value
        is_known = value is ABSENT
        return await self._run(
            self._core.loads.one(key, loader, default, ttl_s, level, deadline_s, counted=is_known, tags=tags)
        )

    async def get_or_load_many(
        self,
        keys: Iterable[Key],
        loader: Any = None,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        tags: Iterable[str] = (),
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> dict[Key, Any]:
        """See Region.get_or_load_many."""
        return await self._run(self._core.loads.many(keys, loader, ttl_s, level, deadline_s, tags))

    @contextlib.asynccontextmanager
    async def view(
        self, key: Key, *, level: Level | None = None, deadline_s: float | None = None
    ) -> AsyncIterator[Any]:
        """See Region.view."""
        yield await self._run(self._reads.view(key, level, deadline_s))

    async def scan(self, prefix: Key = "", *, deadline_s: float | None = None) -> AsyncIterator[Key]:
        """See Region.scan."""
        raw = prefix_bytes(prefix)
        self._core.session.check_open()
        for part in self._core.parts():
            cursor = b""
            while True:
                page = await self._run(self._core.scan_page(part, raw, cursor, deadline_s))
                for key in texts(page.keys):
                    yield key
                cursor = page.cursor
                if not cursor:
                    break

    def cached(
        self,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        key: Callable[..., Key] | None = None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        level: Level | None = None,
    ) -> AsyncCachedDecorator:
        """See Region.cached; a plain function becomes one to await, and runs in a thread."""
        self._core.check_cached(ttl_s, level, tags)
        return AsyncCachedDecorator(self, {"ttl_s": ttl_s, "key": key, "tags": tags, "level": level})

    async def flush(self, *, deadline_s: float | None = None) -> None:
        """See Region.flush."""
        self._core.session.check_open()
        for number in self._core.weak.busy_shards():
            part = self._core.parts()[number]
            await self._run(self._writes.flush(part, self._core.deadline_at_s(deadline_s)))

    async def on_removed(
        self, listener: AsyncListener, causes: Iterable[RemovalCause | str] | None = None
    ) -> RemovalSubscription:
        """See Region.on_removed; the listener is called in this event loop, and awaited where it is to be."""
        subscription = RemovalSubscription(self._core, listener, causes)
        subscription.deliver_in(asyncio.get_running_loop())
        for exchange in subscription.exchanges():
            await self._run(exchange)
        self._core.follow(subscription)
        return subscription

    async def statistics(self, *, deadline_s: float | None = None) -> RegionStatistics:
        """See Region.statistics."""
        exchanges = [self._core.shard_statistics(part, deadline_s) for part in self._core.parts()]
        return self._core.statistics(await self._run_all(exchanges))

    async def shard_for(self, key: Key) -> Any:
        """See Region.shard_for; await the calls of the handle: `await handle.get.remote(key)`."""
        name = self._core.primary_actor_name(key)
        return await self._channels.actor_handle(name)
