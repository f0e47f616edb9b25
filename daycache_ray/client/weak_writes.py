"""The send buffer of WEAK writes of one region: what was promised to nobody yet.

A later write of the same key takes the earlier one's place. Whoever flushes takes the waiting
operations of a shard and says afterwards that they have landed; what did not is counted as lost.
Refuses to know how they are sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from daycache_ray.words.operations import Operation

FLUSH_COUNT: Final = 64
"""Waiting operations of one shard that are sent at once."""

FLUSH_S: Final = 0.001
"""How long a WEAK write waits for others."""

WAITING_MAX: Final = 16_384
"""Operations of one shard that may wait; beyond it a WEAK write is sent like an EVENTUAL one."""


class WeakWrites:
    """Buffered writes by shard number and store key; threads share it."""

    def __init__(self, wake: Callable[[bool], None]) -> None:
        """`wake(now)` is called when something waits; `now` when enough waits to be sent at once."""
        self.lost_count = 0
        self._wake = wake
        self._waiting: dict[int, dict[bytes, Operation]] = {}
        self._flying: dict[int, dict[bytes, Operation]] = {}
        self._lock = threading.Lock()

    def add(self, shard_number: int, operation: Operation) -> bool:
        """Take an operation; False when too many wait already."""
        with self._lock:
            waiting = self._waiting.setdefault(shard_number, {})
            if len(waiting) >= WAITING_MAX:
                return False
            # Out and in again: the order of the last writes is the order of sending.
            waiting.pop(operation.key, None)
            waiting[operation.key] = operation
            count = len(waiting)
        if count == 1 or count == FLUSH_COUNT:
            self._wake(count >= FLUSH_COUNT)
        return True

    def is_idle(self) -> bool:
        """Return whether no WEAK write was ever made; cheap."""
        return not self._waiting and not self._flying

    def shards(self) -> list[int]:
        """Return the numbers of the shards that something waits for."""
        return [number for number, waiting in list(self._waiting.items()) if waiting]

    def busy_shards(self) -> list[int]:
        """Return the numbers of the shards with operations that wait or are under way."""
        return sorted({*self.shards(), *list(self._flying)})

    def holds(self, shard_number: int, stored: bytes) -> bool:
        """Return whether a write of this key waits or is under way."""
        return self.operation(shard_number, stored) is not None

    def operation(self, shard_number: int, stored: bytes) -> Operation | None:
        """Return the newest write of this key that has not landed."""
        waiting = self._waiting.get(shard_number)
        found = waiting.get(stored) if waiting else None
        if found is None:
            flying = self._flying.get(shard_number)
            found = flying.get(stored) if flying else None
        return found

    def is_flying(self, shard_number: int) -> bool:
        """Return whether somebody is sending this shard's operations."""
        return bool(self._flying.get(shard_number))

    def take(self, shard_number: int) -> list[Operation]:
        """Return what waits for a shard, to be sent; nothing while earlier ones are under way."""
        with self._lock:
            waiting = self._waiting.get(shard_number)
            if not waiting or self._flying.get(shard_number):
                return []
            self._flying[shard_number] = waiting
            self._waiting[shard_number] = {}
            return list(waiting.values())

    def landed(self, shard_number: int, lost_count: int = 0) -> None:
        """The operations that were taken have been applied, but for `lost_count` of them."""
        with self._lock:
            self._flying.pop(shard_number, None)
            self.lost_count += lost_count
