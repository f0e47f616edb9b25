"""Which entries that are still good are loaded anew behind the answer, and which are being so. Decides only."""

from __future__ import annotations

import math
import threading
from typing import Any, Final

from daycache_ray.client.arguments import REGION_TTL
from daycache_ray.client.records import Seen
from daycache_ray.client.session import Session
from daycache_ray.structures.early_refresh import is_early_expired, is_past_ratio
from daycache_ray.words.config import RegionConfig

REFRESHES_MAX: Final = 64
"""Refreshes of one region that one client has under way; entries beyond it are refreshed by a later reader."""

PAUSE_S: Final = 1.0
"""After a refresh of a key, successful or not, this client does not refresh it again for so long."""

KEYS_MAX: Final = 10_000


class Refreshes:
    """The refreshes of one region by one client. Threads share it."""

    def __init__(self, config: RegionConfig, session: Session) -> None:
        self._ratio = config.refresh_ahead_ratio
        self._beta = config.early_expiry_beta
        self._ttl_s = config.ttl_s
        self._session = session
        self._not_before_s: dict[bytes, float] = {}
        self._under_way_count = 0
        self._wanted: set[bytes] = set()
        self._lock = threading.Lock()
        self.is_on = self._ratio is not None or self._beta is not None

    def want(self, stored: bytes, expires_at_ns: int, cost_us: int, ttl_s: Any) -> bool:
        """Return whether to go and `begin` the refresh of an entry that was found."""
        if not expires_at_ns or not self._is_due(expires_at_ns, cost_us, ttl_s):
            return False
        with self._lock:
            if self._session.now_s() < self._not_before_s.get(stored, 0.0):
                return False
            self._wanted.add(stored)
        return True

    def begin(self, stored: bytes, seen: Seen, ttl_s: Any) -> bool:
        """Return whether an entry is to be refreshed now; then `end` must follow."""
        if not self.is_on or seen.is_negative or not seen.expires_at_ns:
            return False
        now_s = self._session.now_s()
        with self._lock:
            is_wanted = stored in self._wanted
            self._wanted.discard(stored)
            if now_s < self._not_before_s.get(stored, 0.0) or self._under_way_count >= REFRESHES_MAX:
                return False
            if not is_wanted and not self._is_due(seen.expires_at_ns, seen.cost_us, ttl_s):
                return False
            if len(self._not_before_s) >= KEYS_MAX:
                self._not_before_s = {key: at_s for key, at_s in self._not_before_s.items() if at_s > now_s}
            self._not_before_s[stored] = math.inf
            self._under_way_count += 1
            return True

    def end(self, stored: list[bytes]) -> None:
        """These were refreshed, or could not be."""
        with self._lock:
            self._under_way_count -= len(stored)
            self._not_before_s.update(dict.fromkeys(stored, self._session.now_s() + PAUSE_S))

    def _is_due(self, expires_at_ns: int, cost_us: int, ttl_s: Any) -> bool:
        left_s = (expires_at_ns - self._session.wall_ns()) / 1e9
        ttl_s = self._ttl_s if ttl_s is REGION_TTL else ttl_s
        if self._ratio is not None and ttl_s is not None and is_past_ratio(left_s, float(ttl_s), self._ratio):
            return True
        return self._beta is not None and is_early_expired(left_s, cost_us / 1e6, self._beta, self._session.rng)
