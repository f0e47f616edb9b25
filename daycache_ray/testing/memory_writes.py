"""A shard's write-behind on a clock that only its user moves: the writer is called when time has come, in the caller's
thread. What the flusher of a real replica does in a thread of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from daycache_ray.actors.behind import WritesBehind
from daycache_ray.actors.requests import RequestDesk
from daycache_ray.origins.writing import KeyWriter, resolve_writer
from daycache_ray.protocol.replica import ShardReplica
from daycache_ray.testing.memory_store import MemoryStore
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import CacheError
from daycache_ray.words.messages import OriginHas
from daycache_ray.words.types import Instant

POLL_NS: Final = 10_000_000
"""How often the clock stops on its way while something waits: no write is later than that."""


class MemoryWrites:
    """The tries of one seat."""

    def __init__(self) -> None:
        self._epoch = 0
        self._writer: KeyWriter | None = None
        self._is_calling = False

    def due(
        self,
        machine: ShardReplica,
        store: MemoryStore,
        desk: RequestDesk,
        region: RegionConfig,
        now: Instant,
        draining: bool,
    ) -> Iterator[OriginHas]:
        """Call the writer with batch after batch, as long as one is due; yield what the machine is to hear."""
        if self._is_calling:
            return  # The writer itself asked the cache.
        if desk.behind is None or self._epoch != machine.epoch:
            self._epoch = machine.epoch
            desk.behind = WritesBehind(store, region, now.boot_ns, random.Random(1))
        behind = desk.behind
        behind.machine.draining = draining
        while (batch := behind.next_batch(machine.held_lsn, now.boot_ns)) is not None:
            message = behind.ended(batch.problem or self._call(region, batch.values), now.boot_ns)
            if message is not None:
                yield message

    def next_due_ns(self, store: MemoryStore, now: Instant) -> int | None:
        """Return when to look again, None while nothing waits."""
        return now.boot_ns + POLL_NS if store.dirty_count else None

    def figures(self, store: MemoryStore, desk: RequestDesk, now: Instant) -> dict[str, Any]:
        """Return the fields of ShardStatistics that are about this."""
        found: dict[str, Any] = {"dirty_count": store.dirty_count, "dirty_bytes": store.dirty_bytes}
        behind = desk.behind
        if behind is not None:
            found["dirty_age_s"] = behind.age_s(now.boot_ns)
            found["dead_letters_count"] = len(behind.machine.dead)
            found["written_behind_count"] = behind.machine.written_count
            found["write_failures_count"] = behind.machine.failures_count
        return found

    def _call(self, region: RegionConfig, values: dict[str, Any]) -> CacheError | None:
        self._is_calling = True
        try:
            if self._writer is None:
                self._writer = resolve_writer(region.writer)
            self._writer.write_many(values)
        except CacheError as error:
            return error
        finally:
            self._is_calling = False
        return None
