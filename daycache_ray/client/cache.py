"""A connection to a running cluster, for threads: `connect`, regions, and what is shared by them."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from typing_extensions import Self

from daycache_ray.client import map_watch
from daycache_ray.client.access_stream import AccessStream
from daycache_ray.client.arguments import region_name, service_name
from daycache_ray.client.async_channels import AsyncChannels
from daycache_ray.client.channels import Channels
from daycache_ray.client.flusher import END_S, Flusher
from daycache_ray.client.map_watch import MapWatch
from daycache_ray.client.region import Region
from daycache_ray.client.region_core import RegionCore
from daycache_ray.client.removals import RemovalSubscription
from daycache_ray.client.session import Session, disown_all
from daycache_ray.client.tracing import traced
from daycache_ray.client.weak_writes import WeakWrites
from daycache_ray.words.cluster_map import ClusterMap
from daycache_ray.words.errors import CacheError
from daycache_ray.words.types import CacheRegion, RegionStatistics

__all__ = ["Cache", "Region", "connect"]


class Desk:
    """What a cache's two faces share: one session with its buffers and threads. Nobody's public name."""

    def __init__(self, watch: MapWatch, service: str) -> None:
        self.watch = watch
        self.session = Session(watch.router, service_name(service, watch.router.cluster_map.config))
        self.channels = Channels(self.session)
        self.stream = AccessStream(self.session)
        self.flusher = Flusher(self._flush)
        self._cores: dict[str, RegionCore] = {}
        self._lock = threading.Lock()
        watch.add(self.session)
        _live.add(self)

    def core(self, region: CacheRegion | str) -> RegionCore:
        """Return the region's parts; there is one set per session, so that all its users share counters."""
        self.session.check_open()
        name = region_name(region, self.session.config)
        with self._lock:
            core = self._cores.get(name)
            if core is None:
                core = RegionCore(self.session, self.session.config.region(name), WeakWrites(self.flusher.wake))
                core.follow = self.follow
                self._cores[name] = core
                self.stream.add(core.reads)
            return core

    def follow(self, subscription: RemovalSubscription) -> None:
        """Serve a listener until it is cancelled, or this is closed."""
        subscription.start(self.channels.run)

    def sibling(self, service: str) -> Desk:
        """Return a desk on the same cluster for another service; raises as `connect`."""
        return open_desk(self.session.config.name, service, None)

    def async_channels(self) -> AsyncChannels:
        """Return what performs this session's exchanges on the running event loop."""
        return AsyncChannels(self.session)

    def describe(self) -> str:
        """Return the sentence that a cache's repr is."""
        session = self.session
        state = f", which {session.closed_because}" if session.closed_because else ""
        regions = ", ".join(region.name for region in session.config.regions)
        return f"'{session.config.name}' as service '{session.service}', regions {regions}{state}"

    def close(self) -> None:
        """Send what waits, then answer nothing any more. Harmless when done twice."""
        with self._lock:
            if self.session.closed_because:
                return
        self.flusher.close()
        self.stream.close()
        self.session.close()
        self.channels.close()
        map_watch.release(self.watch)

    def abandon(self) -> None:
        """In a forked child: let go of what is the parent's without a word to anybody."""
        self.flusher.abandon()
        self.channels.close()

    def _flush(self) -> None:
        for core in list(self._cores.values()):
            for number in core.weak.busy_shards():
                self.channels.run(core.writes.flush(core.parts()[number], self.session.now_s() + END_S))


class Cache:
    """A connected client. Threads may share it; a forked child must connect again.

    >>> import daycache_ray
    >>> with daycache_ray.start() as cache:                       # doctest: +SKIP
    ...     cache.region("market_data").set("AAPL", 150.25, ttl_s=5)
    """

    def __init__(self, desk: Desk) -> None:
        self.stop_on_exit: Callable[[], object] | None = None
        """What `with` does at its end besides closing; `daycache.start` stops its cluster."""
        self._desk = desk
        self._regions: dict[str, Region] = {}
        self._views: list[Cache] = []

    def __repr__(self) -> str:
        return f"<Cache {self._desk.describe()}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        if self.stop_on_exit is not None:
            self.stop_on_exit()

    def __reduce__(self) -> Any:
        raise TypeError(f"a cache does not travel: call daycache.connect('{self.name}') in the other process")

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
        """The newest map of the cluster: its shards, their members, its configuration."""
        return self._desk.session.router.cluster_map

    @property
    def http_url(self) -> str | None:
        """Where the cluster's HTTP door is, or None where it was started without."""
        return self.cluster_map.http_url or None

    def region(self, name: CacheRegion | str) -> Region:
        """Return a region of the cluster.

        Raises:
            UnknownRegionError: there is none of that name; the message lists those there are.
            CacheClosedError: this cache was closed, or belongs to the parent process.
        """
        core = self._desk.core(name)
        region = self._regions.get(core.config.name)
        if region is None:
            region = self._regions[core.config.name] = traced(Region(core, self._desk.channels))
        return region

    def service(self, name: str) -> Cache:
        """Return a cache on the same cluster that asks as another service; closing this one closes it too.

        Raises:
            UnknownServiceError: the cluster lists its services and this is none of them.
        """
        self._desk.session.check_open()
        view = Cache(self._desk.sibling(name))
        self._views.append(view)
        return view

    def statistics(self) -> dict[str, RegionStatistics]:
        """Return the statistics of every region, by name."""
        return {region.name: self.region(region.name).statistics() for region in self.cluster_map.config.regions}

    def close(self) -> None:
        """Send WEAK writes that wait, and disconnect; the cluster runs on. Harmless when done twice."""
        for view in self._views:
            view.close()
        self._desk.close()


def connect(name: str = "daycache", *, service: str = "default", address: str | None = None) -> Cache:
    """Return a cache on a running cluster, from any process of its Ray cluster.

    Args:
        name: the cluster's name.
        service: who asks; keys of two services never meet, unless a region is shared.
        address: the Ray cluster as for `ray.init`; None: the one this process is in, else RAY_ADDRESS,
            else one on this machine.

    Raises:
        ClusterNotFoundError: no such cluster runs: `daycache.start()` one first.
        UnknownServiceError: the cluster lists its services and this is none of them.
        UnavailableError: its coordinator does not answer.
    """
    return Cache(open_desk(name, service, address))


def open_desk(name: str, service: str, address: str | None) -> Desk:
    """Return what a face of a cache needs; raises as `connect`."""
    watch = map_watch.acquire(name, address)
    try:
        return Desk(watch, service)
    except BaseException:
        map_watch.release(watch)
        raise


_live: weakref.WeakSet[Any] = weakref.WeakSet()


def _after_fork() -> None:
    disown_all()
    map_watch.abandon_watches()
    for desk in list(_live):
        desk.abandon()


os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _at_exit() -> None:
    for desk in list(_live):
        with contextlib.suppress(CacheError):
            desk.close()
