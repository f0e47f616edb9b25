"""What one connected client of one service knows: the map, what it has seen, what it has numbered.

Shared by the threads of a client. Refuses to know sockets and asyncio.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from itertools import count

from daycache_ray.client.node_reads import NodeShard
from daycache_ray.client.router import Router, Sequences, SessionToken
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import CacheClosedError
from daycache_ray.words.types import ShardId


class ShardSession:
    """What a session knows of one shard."""

    __slots__ = ("near", "sequences", "shard", "token")

    def __init__(self, shard: ShardId) -> None:
        self.shard = shard
        self.token = SessionToken()
        self.sequences = Sequences()
        self.near = NodeShard(shard, self.token)


class Session:
    """One client's view of one cluster."""

    def __init__(
        self,
        router: Router,
        service: str,
        *,
        now_s: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.router = router
        self.service = service
        self.client = secrets.randbits(62) + 1
        self.rng = random.Random(self.client)
        self.now_s = now_s
        self.wall_ns = wall_ns
        self.closed_because = ""
        self._parts: dict[ShardId, ShardSession] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._calls: dict[int, Callable[[], object]] = {}
        self._call_numbers = count(1)
        _live.add(self)

    @property
    def config(self) -> ClusterConfig:
        """The cluster's configuration."""
        return self.router.cluster_map.config

    def part(self, shard: ShardId) -> ShardSession:
        """Return what is known of a shard."""
        found = self._parts.get(shard)
        if found is None:
            with self._lock:
                found = self._parts.setdefault(shard, ShardSession(shard))
        return found

    def take_map(self, router: Router) -> None:
        """Go on with a newer map; near stores are looked up anew at the next read."""
        with self._changed:
            if router.cluster_map.version <= self.router.cluster_map.version:
                return
            self.router = router
            for part in self._parts.values():
                part.near.forget()
            self._changed.notify_all()
            calls, self._calls = self._calls, {}
        for call in calls.values():
            call()

    def call_on_map(self, map_version: int, call: Callable[[], object]) -> int:
        """Call once, from some thread, when the map is newer than `map_version`; `forget_call` takes the number."""
        with self._changed:
            number = next(self._call_numbers)
            if self.router.cluster_map.version <= map_version:
                self._calls[number] = call
                return number
        call()
        return number

    def forget_call(self, number: int) -> None:
        """Do not call any more."""
        with self._changed:
            self._calls.pop(number, None)

    def wait_newer(self, map_version: int, seconds: float) -> None:
        """Return after `seconds`, or as soon as the map is newer than `map_version`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.closed_because or self.router.cluster_map.version > map_version, max(0.0, seconds)
            )

    def check_open(self) -> None:
        """Raise CacheClosedError when this client was closed or belongs to another process."""
        if self.closed_because:
            raise CacheClosedError(f"this cache {self.closed_because}: call daycache.connect() again")

    def close(self, because: str = "was closed") -> None:
        """Answer nothing any more; near stores are given back."""
        with self._changed:
            if self.closed_because:
                return
            self.closed_because = because
            for part in self._parts.values():
                part.near.close()
            self._changed.notify_all()

    def look_near(self, part: ShardSession) -> bool:
        """Open the stores that this node has of a shard, if that was not done for this map yet."""
        self.check_open()
        router = self.router
        opened = part.near.look(router)
        if self.router is not router:
            part.near.forget()
        return opened

    def _disown(self) -> None:
        # In a forked child: locks may be held by threads that do not exist here, so take none.
        self.closed_because = "belongs to the process that forked this one"
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        for part in self._parts.values():
            part.near.abandon()


_live: weakref.WeakSet[Session] = weakref.WeakSet()


def disown_all() -> None:
    """In a forked child: close what belonged to the parent, without a word to anybody."""
    for session in list(_live):
        session._disown()
