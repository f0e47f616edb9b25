"""The prefetcher's hands: one session per service, through which keys are looked at and loaded.

Blocking; used from threads. It refuses to choose keys: what to load is decided in access_learning.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from daycache_ray.actors.access_learning import Wanted
from daycache_ray.client.ahead import RegionAheadLoads
from daycache_ray.client.channels import Channels
from daycache_ray.client.map_watch import MapWatch
from daycache_ray.client.region_core import RegionCore
from daycache_ray.client.session import Session
from daycache_ray.client.weak_writes import WeakWrites
from daycache_ray.words.errors import CacheError


class _ServiceLoads:
    """One service's session and its regions."""

    def __init__(self, watch: MapWatch, service: str) -> None:
        self.session = Session(watch.router, service)
        watch.add(self.session)
        self.channels = Channels(self.session)
        self.regions: dict[str, RegionAheadLoads] = {}

    def region(self, name: str) -> RegionAheadLoads:
        """Return the region's loads."""
        found = self.regions.get(name)
        if found is None:
            # Nothing is written WEAK here, so nothing waits to be flushed.
            core = RegionCore(self.session, self.session.config.region(name), WeakWrites(lambda _: None))
            found = self.regions[name] = RegionAheadLoads(core)
        return found


class AheadLoads:
    """Loads for all services of a cluster."""

    def __init__(self, watch: MapWatch) -> None:
        self._watch = watch
        self._services: dict[str, _ServiceLoads] = {}
        self._lock = threading.Lock()

    def is_resident(self, region: str, service: str, key: bytes) -> bool:
        """Return whether this node's shared memory has the key; False also where it cannot know."""
        try:
            return self._region(region, service).is_resident(key)
        except CacheError:
            return False

    def grouped(self, wanted: Sequence[Wanted]) -> Iterable[tuple[Wanted, ...]]:
        """Return what is to be loaded, cut into what one call of `fetch` should take.

        A loader that takes many keys gets all of them as one question; for others each key is a load
        of its own, so that a slow one holds up nobody.
        """
        if not wanted:
            return ()
        try:
            is_batched = self._region(wanted[0].region, wanted[0].service).is_batched
        except CacheError:
            is_batched = True
        return (tuple(wanted),) if is_batched else tuple((each,) for each in wanted)

    def fetch(self, group: Sequence[Wanted]) -> dict[bytes, float]:
        """Load a group of one region and service; return per key what it took, in seconds, or ahead.PRESENT.

        Raises:
            CacheError: the loader failed or no primary answered; nothing of the group is known to be stored.
        """
        first = group[0]
        loads = self._region(first.region, first.service)
        service = self._service(first.service)
        limit_s = service.session.config.region(first.region).load_deadline_s
        return service.channels.run(loads.ahead([wanted.key for wanted in group], limit_s))

    def close(self) -> None:
        """Hang up everywhere."""
        with self._lock:
            services, self._services = self._services, {}
        for service in services.values():
            service.session.close()
            service.channels.close()

    def _service(self, name: str) -> _ServiceLoads:
        with self._lock:
            found = self._services.get(name)
            if found is None:
                found = self._services[name] = _ServiceLoads(self._watch, name)
            return found

    def _region(self, region: str, service: str) -> RegionAheadLoads:
        return self._service(service).region(region)
