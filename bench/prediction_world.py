"""A cache in front of an origin, driven by a trace: once plain, once with keys loaded ahead.

The capacity counts everything that is held, prefetched keys included, so both worlds have the same
memory. In a timed trace a load takes the origin's time: who comes before it has arrived waits for the
rest, and two who want the same key load it once. In an untimed one loads arrive at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from daycache_ray.structures.eviction.gdsf import Gdsf
from daycache_ray.structures.eviction.lru import Lru
from daycache_ray.structures.eviction.policy import EvictionPolicy
from daycache_ray.structures.eviction.sieve import Sieve
from daycache_ray.structures.prediction.probation import Probation

OUTSTANDING_MAX = 64
"""Prefetches on their way at once."""
PROBATION_SHARE = 0.1
"""Part of the capacity in which prefetched keys may wait for their first use."""
PROBATION_LEAST = 8
"""Room for one chain, in caches of which a tenth would be less, unless it were more than a quarter."""

EVICTIONS: dict[str, Callable[[], EvictionPolicy[int]]] = {"lru": Lru, "sieve": Sieve, "gdsf": Gdsf}


class Outcomes(Protocol):
    """Hears what became of each prefetched key."""

    def saved(self) -> None: ...
    def wasted(self) -> None: ...


@dataclass
class Counts:
    """What happened so far; waiting is the sum over all requests."""

    requests: int = 0
    misses: int = 0
    waited_us: int = 0
    issued: int = 0
    saved: int = 0
    late: int = 0

    @property
    def miss_ratio(self) -> float:
        """Requests that had to load by themselves, per request."""
        return self.misses / max(self.requests, 1)

    @property
    def wasted(self) -> int:
        """Loads made ahead that nobody has used."""
        return self.issued - self.saved


class World:
    """One cache; see the module. `outcomes` is told of every prefetched key's end."""

    def __init__(self, *, capacity: int, eviction: str, timed: bool, outcomes: Outcomes | None = None) -> None:
        assert capacity >= 2
        self.counts = Counts()
        self._capacity = capacity
        self._timed = timed
        self._outcomes = outcomes
        self._main: EvictionPolicy[int] = EVICTIONS[eviction]()
        places = max(int(capacity * PROBATION_SHARE), min(PROBATION_LEAST, capacity // 4), 1)
        self._probation = Probation(keys_max=places)
        self._ready_us: dict[int, int] = {}
        """When a load on its way arrives, for loads of both kinds."""
        self._ahead: set[int] = set()
        """Those of them that nobody has asked for yet."""
        self._arrivals: list[tuple[int, int]] = []

    def request(self, key: int, now_us: int, cost_us: int) -> None:
        """Somebody asks for `key`, whose load takes `cost_us`."""
        counts = self.counts
        counts.requests += 1
        if self._arrivals and self._arrivals[0][0] <= now_us:
            self._arrive(now_us)
        main = self._main
        ready_us = self._ready_us.get(key)
        if ready_us is not None:
            counts.waited_us += ready_us - now_us
            if key in self._ahead:
                self._ahead.remove(key)
                counts.late += 1
                self._used(key, cost_us)
            elif key in main:
                main.touch(key)
        elif key in main:
            main.touch(key)
        elif self._probation.take(key):
            self._used(key, cost_us)
        else:
            counts.misses += 1
            counts.waited_us += cost_us
            self._hold(key, cost_us)
            if self._timed:
                self._ready_us[key] = now_us + cost_us
                heappush(self._arrivals, (now_us + cost_us, key))

    def prefetch(self, key: int, now_us: int, cost_us: int) -> None:
        """Load `key` ahead unless it is here, on its way, or too many are."""
        if key in self._probation:
            self._probation.renew(key)
            return
        if key in self._main or key in self._ready_us:
            return
        if len(self._ahead) >= OUTSTANDING_MAX:
            return
        self.counts.issued += 1
        if self._timed:
            self._ready_us[key] = now_us + cost_us
            self._ahead.add(key)
            heappush(self._arrivals, (now_us + cost_us, key))
        else:
            self._wait(key)

    def _arrive(self, now_us: int) -> None:
        while self._arrivals and self._arrivals[0][0] <= now_us:
            _, key = heappop(self._arrivals)
            del self._ready_us[key]
            if key in self._ahead:
                self._ahead.remove(key)
                self._wait(key)

    def _wait(self, key: int) -> None:
        gone = self._probation.insert(key)
        if gone is not None and self._outcomes is not None:
            self._outcomes.wasted()
        self._make_room(0)

    def _used(self, key: int, cost_us: int) -> None:
        self.counts.saved += 1
        if self._outcomes is not None:
            self._outcomes.saved()
        self._hold(key, cost_us)

    def _hold(self, key: int, cost_us: int) -> None:
        if key in self._main:
            return
        self._make_room(1)
        self._main.insert(key, cost_us=cost_us)

    def _make_room(self, wanted: int) -> None:
        main, probation = self._main, self._probation
        while len(main) and len(main) + len(probation) + wanted > self._capacity:
            main.evict()
