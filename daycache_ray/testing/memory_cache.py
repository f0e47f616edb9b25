"""A cache for the tests of those who use one: no Ray, no sockets, no waiting.

The surface is the client's own, and behind it run the very machines that replicas run; only the shells around them
are others: dictionaries instead of shared memory, calls instead of sockets, a clock that stands until a test moves it.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from daycache_ray.client.arguments import service_name
from daycache_ray.client.async_cache import AsyncCache
from daycache_ray.client.cache import Cache, Desk
from daycache_ray.client.flusher import END_S
from daycache_ray.client.region_core import RegionCore
from daycache_ray.client.region_reads import RegionReads
from daycache_ray.client.removals import RemovalSubscription
from daycache_ray.client.session import Session, ShardSession
from daycache_ray.testing.memory_channels import AsyncMemoryChannels, MemoryChannels
from daycache_ray.testing.memory_cluster import STARTED_AT_S, MemoryCluster
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import CacheError
from daycache_ray.words.operations import Removed
from daycache_ray.words.removals import Removal


class MemoryFlusher:
    """Sends WEAK writes when 64 wait; what waits longer is sent when the clock moves."""

    def __init__(self, desk: MemoryDesk) -> None:
        self._desk = desk

    def wake(self, now: bool) -> None:
        """Something waits; `now`: send it at once."""
        if now:
            self._desk.flush()

    def close(self) -> None:
        """Send the rest."""
        self._desk.flush()

    def abandon(self) -> None:
        """There is no thread."""


class NoStream:
    """Nobody learns from the accesses of a test."""

    def add(self, reads: RegionReads) -> None:
        """Keep them where they are."""

    def close(self) -> None:
        """Nothing is open."""


class MemoryDesk(Desk):
    """What the faces of a cache in memory share."""

    def __init__(self, cluster: MemoryCluster, service: str) -> None:
        self.cluster = cluster
        self.session = Session(
            cluster.router,
            service_name(service, cluster.config),
            now_s=cluster.now_s,
            wall_ns=lambda: cluster.now().wall_ns,
        )
        self.channels: Any = MemoryChannels(cluster)
        self.flusher: Any = MemoryFlusher(self)
        self.stream: Any = NoStream()
        self._cores: dict[str, RegionCore] = {}
        self._lock = threading.Lock()
        self._subscriptions: list[RemovalSubscription] = []
        cluster.add(self.session, self.flush)
        cluster.after_advance(self.deliver_removals)

    def follow(self, subscription: RemovalSubscription) -> None:
        """Deliver to a listener whenever the clock was moved."""
        self._subscriptions.append(subscription)

    def deliver_removals(self) -> None:
        """Deliver what went, where there is a primary to ask."""
        self._subscriptions = [one for one in self._subscriptions if one.is_active]
        for subscription in self._subscriptions:
            for part in subscription.parts():
                while removals := self._removals(subscription, part):
                    subscription.deliver(removals)

    def _removals(self, subscription: RemovalSubscription, part: ShardSession) -> list[Removal]:
        member = self.cluster.router.primary(part.shard)
        if member is None or self.session.closed_because:
            return []
        with self.cluster.lock:
            answer = self.cluster.send(member, subscription.build(part), 0).value
        return subscription.take(part, answer) if isinstance(answer, Removed) else []

    def sibling(self, service: str) -> MemoryDesk:
        """Return a desk of the same cluster for another service."""
        return MemoryDesk(self.cluster, service)

    def async_channels(self) -> Any:
        """Return what performs exchanges for asyncio."""
        return AsyncMemoryChannels(self.cluster)

    def close(self) -> None:
        """Send what waits, then answer nothing any more."""
        if not self.session.closed_because:
            self.flusher.close()
            self.session.close()

    def flush(self) -> None:
        """Send the WEAK writes that wait; what fails is counted as lost."""
        for core in list(self._cores.values()):
            for number in core.weak.busy_shards():
                with contextlib.suppress(CacheError):
                    self.channels.run(core.writes.flush(core.parts()[number], self.session.now_s() + END_S))


class MemoryCache(Cache):
    """A `Cache` on a cluster of its own in this process; `cluster` has the clock and the faults."""

    def __init__(self, desk: MemoryDesk) -> None:
        super().__init__(desk)
        self.cluster = desk.cluster
        self.advance = desk.cluster.advance
        self.fail_next = desk.cluster.fail_next
        self.primary_down = desk.cluster.primary_down
        self.primary_up = desk.cluster.primary_up


class AsyncMemoryCache(AsyncCache):
    """An `AsyncCache` on a cluster of its own in this process; `cluster` has the clock and the faults."""

    def __init__(self, desk: MemoryDesk) -> None:
        super().__init__(desk)
        self.cluster = desk.cluster
        self.advance = desk.cluster.advance
        self.fail_next = desk.cluster.fail_next
        self.primary_down = desk.cluster.primary_down
        self.primary_up = desk.cluster.primary_up


def memory_cache(
    config: ClusterConfig | None = None,
    *,
    service: str = "default",
    copies: int = 1,
    started_at_s: float = STARTED_AT_S,
    cluster: MemoryCluster | None = None,
) -> MemoryCache:
    """Return a cache that behaves as a connected one and lives in this process alone.

    Calls, levels, answers and errors are those of a cluster, because the same code gives them. What differs:
    every read asks the primary (`served_by` is never "memory"), nothing is prefetched, listeners to removals hear
    of them when the clock is moved, and where a region is full what was written longest ago goes.

    Args:
        config: its regions; None: the three built-in ones.
        service: who asks.
        copies: replicas of each shard, 1 or more, at most what a region is configured with.
        started_at_s: where the clock begins, in seconds since 1970.
        cluster: one that exists already, in place of `config`, `copies` and `started_at_s`.

    >>> cache = memory_cache()
    >>> prices = cache.region("market_data")
    >>> _ = prices.set("AAPL", 150.25, ttl_s=5)
    >>> prices.get("AAPL")
    150.25
    >>> cache.advance(5.0)
    >>> prices.get("AAPL", default="over")
    'over'
    """
    return MemoryCache(_desk(config, service, copies, started_at_s, cluster))


def amemory_cache(
    config: ClusterConfig | None = None,
    *,
    service: str = "default",
    copies: int = 1,
    started_at_s: float = STARTED_AT_S,
    cluster: MemoryCluster | None = None,
) -> AsyncMemoryCache:
    """Return an AsyncCache in memory; see `memory_cache`. It is made without await and of no event loop."""
    return AsyncMemoryCache(_desk(config, service, copies, started_at_s, cluster))


def _desk(
    config: ClusterConfig | None, service: str, copies: int, started_at_s: float, cluster: MemoryCluster | None
) -> MemoryDesk:
    if cluster is None:
        cluster = MemoryCluster(config, copies=copies, started_at_s=started_at_s)
    return MemoryDesk(cluster, service)
