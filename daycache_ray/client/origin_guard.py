"""What stands between a region and one of its loaders: the queue, the breaker, and what was answered stale meanwhile.

One per loader and client. It refuses to know keys' places, fill leases and how a load is run.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

from daycache_ray.client.session import Session
from daycache_ray.origins.loading import KeyLoader, resolve_loader
from daycache_ray.origins.queued import QueuedLoader
from daycache_ray.structures.circuit_breaker import CircuitBreaker
from daycache_ray.structures.load_slots import LoadSlots
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import NoLoaderError, OriginDownError

LOADERS_MAX: Final = 64
"""Loaders given to calls whose guards a client remembers; only the region's own has one for good."""

STALE_KEYS_MAX: Final = 1_000
"""Keys answered stale that are loaded anew when the origin is back; those beyond it when they are asked for."""


class OriginGuard:
    """One loader of one region."""

    def __init__(self, loader: KeyLoader, config: RegionConfig, label: Any, session: Session) -> None:
        slots = None
        if config.load_concurrency_max is not None:
            slots = LoadSlots(config.load_concurrency_max, config.load_queue_max)
        self.loader = QueuedLoader(
            loader, label=label, slots=slots, window_s=config.load_window_s, queue_s=config.load_deadline_s
        )
        self._breaker = CircuitBreaker(
            config.breaker_failures_max, config.breaker_open_s, config.load_deadline_s, session.rng
        )
        self._stale: OrderedDict[Any, None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def openings_count(self) -> int:
        """How often the breaker has opened."""
        return self._breaker.openings_count

    def check(self, now_s: float) -> None:
        """Raise OriginDownError while the origin is left alone."""
        with self._lock:
            wait_s = self._breaker.wait_s(now_s)
        if wait_s > 0:
            raise self._down(wait_s)

    def take(self, now_s: float) -> None:
        """Go and ask the origin, perhaps as the probe; raises OriginDownError where somebody else is it."""
        with self._lock:
            wait_s = self._breaker.wait_s(now_s)
            if self._breaker.take(now_s):
                return
        raise self._down(wait_s)

    def succeeded(self) -> list[Any]:
        """The origin answered; return the keys to load anew where that ends an outage."""
        with self._lock:
            if not self._breaker.succeeded():
                return []
            keys = list(self._stale)
            self._stale.clear()
        return keys

    def failed(self, now_s: float) -> None:
        """The origin failed, or did not answer in time."""
        with self._lock:
            self._breaker.failed(now_s)

    def gave_up(self) -> None:
        """Whoever asked the origin was cancelled, or found no room in the queue: nothing is known of the origin."""
        with self._lock:
            self._breaker.gave_up()

    def answered_stale(self, keys: list[Any]) -> None:
        """Remember what is to be loaded anew when the origin is back."""
        with self._lock:
            for key in keys:
                self._stale[key] = None
                self._stale.move_to_end(key)
            while len(self._stale) > STALE_KEYS_MAX:
                self._stale.popitem(last=False)

    def _down(self, wait_s: float) -> OriginDownError:
        return OriginDownError(
            f"{self.loader!r} failed too often in a row and is left alone: try again in {wait_s:.3g} s, or give the "
            "region stale_for_s",
            retry_after_s=wait_s,
        )


class OriginGuards:
    """The guards of one region of one client."""

    def __init__(self, config: RegionConfig, label: Any, session: Session) -> None:
        self._config = config
        self._label = label
        self._session = session
        self._own: OriginGuard | None = None
        self._given: OrderedDict[Any, OriginGuard] = OrderedDict()
        self._lock = threading.Lock()
        self._remembers = (
            config.breaker_failures_max is not None
            or config.load_concurrency_max is not None
            or config.load_window_s > 0
        )

    @property
    def openings_count(self) -> int:
        """How often one of their breakers has opened."""
        with self._lock:
            guards = [*self._given.values(), *([self._own] if self._own is not None else [])]
        return sum(guard.openings_count for guard in guards)

    def of(self, loader: Any) -> OriginGuard:
        """Return the guard of a loader; None is the region's own.

        Raises:
            NoLoaderError: there is none.
            ConfigError: it is no loader.
        """
        if loader is None:
            return self._of_region()
        if not self._remembers:
            return self._made(loader)
        try:
            with self._lock:
                guard = self._given.get(loader)
                if guard is None:
                    guard = self._given[loader] = self._made(loader)
                    while len(self._given) > LOADERS_MAX:
                        self._given.popitem(last=False)
                self._given.move_to_end(loader)
                return guard
        except TypeError:  # no hash
            return self._made(loader)

    def _of_region(self) -> OriginGuard:
        if self._config.loader is None:
            raise NoLoaderError(
                f"region '{self._config.name}' has no loader: give one to the call or to its RegionConfig"
            )
        with self._lock:
            if self._own is None:
                self._own = self._made(self._config.loader)
            return self._own

    def _made(self, loader: Any) -> OriginGuard:
        return OriginGuard(resolve_loader(loader), self._config, self._label, self._session)
