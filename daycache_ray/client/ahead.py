"""Loads before anybody asks: the same fill leases, loaders and stores as for a reader who waits, marked.

A prefetch never waits for another's load and never takes a key from somebody who holds it: where the
lease is not free at once the key is left alone. Decides; neither sends nor loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from daycache_ray.client.arguments import REGION_TTL
from daycache_ray.client.exchanges import Exchange
from daycache_ray.client.loading import RegionLoads
from daycache_ray.client.node_reads import FAR
from daycache_ray.client.region_core import RegionCore
from daycache_ray.client.region_reads import Place
from daycache_ray.client.region_writes import UNSENT, RegionWrites
from daycache_ray.words.operations import Level, Operation, OperationKind
from daycache_ray.words.records import Flag
from daycache_ray.words.types import Version

PRESENT: Final = -1.0
"""In place of a load's seconds: there was nothing to load."""


class MarkedWrites(RegionWrites):
    """Writes whose records say that they were loaded before anybody asked."""

    def put_operation(
        self,
        place: Place,
        value: Any,
        ttl_s: Any,
        kind: OperationKind = OperationKind.SET,
        expected: Version = UNSENT,
        flags: int = 0,
        cost_us: int = 0,
        tags: Any = (),
        priority: int = 0,
    ) -> Operation:
        """Return the operation that writes `value`, marked; raises as RegionWrites does."""
        marked = flags | Flag.PREFETCHED
        return super().put_operation(place, value, ttl_s, kind, expected, marked, cost_us, tags, priority)


class RegionAheadLoads(RegionLoads):
    """Loads ahead of one region by one session."""

    def __init__(self, core: RegionCore) -> None:
        super().__init__(core.reads, MarkedWrites(core.reads, core.weak))

    @property
    def is_batched(self) -> bool:
        """Whether many keys cost one question to the region's origin; raises ConfigError for a wrong loader."""
        return self._guards.of(None).loader.is_batched

    def is_resident(self, key: bytes) -> bool:
        """Return whether this node's shared memory has the key; False also where it cannot know."""
        place = self._reads.place(key)
        if not self._session.look_near(place.part):
            return False
        record = place.part.near.read(place.stored, place.bucket, Level.WEAK)
        return record is not None and record is not FAR

    def ahead(self, keys: Sequence[bytes], deadline_s: float) -> Exchange[dict[bytes, float]]:
        """Load and store those of `keys` whose lease is free; return what each took, in seconds, or PRESENT.

        Keys that the origin lacks are absent from the answer. Raises LoadError when the loader does.
        """
        session = self._session
        guard = self._guards.of(None)
        deadline_at_s = session.now_s() + deadline_s
        guard.check(session.now_s())
        held, others = yield from self._fills.take([(key, self._reads.place(key)) for key in keys], deadline_at_s)
        fetched = {key: PRESENT for key, _ in others}
        if held:
            started_s = session.now_s()
            loaded = yield from self._load(held, guard, REGION_TTL, deadline_at_s)
            took_s = (session.now_s() - started_s) / len(held)
            fetched.update(dict.fromkeys(loaded, took_s))
        return fetched
