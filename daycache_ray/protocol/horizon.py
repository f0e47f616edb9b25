"""The expiry horizon: time as an event in the log (R24).

The horizon is monotone, follows the primary's wall clock, and never jumps with it: it runs on the boot
clock and is slewed, otherwise one step of the wall clock by an hour would kill every entry for good.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from daycache_ray.words.types import Instant

SLEW_SHARE: Final = 8
"""The horizon gains or loses at most one part in eight on the boot clock until it agrees with the wall."""
START_JUMP_NS: Final = 10_000_000_000
"""A new primary may make up at once what a failover took; anything longer is slewed."""
BUCKET_BITS: Final = 27
"""Expiries are remembered in buckets of 2^27 ns = 134 ms: precise enough beside the horizon's period."""


class HorizonClock:
    """Says what the horizon would be now, and whether an entry may have passed it."""

    __slots__ = ("boot_ns", "buckets", "heap", "horizon_ns")

    def __init__(self) -> None:
        self.horizon_ns = 0
        self.boot_ns = 0
        self.buckets: set[int] = set()
        self.heap: list[int] = []

    def start(self, logged_ns: int, now: Instant) -> None:
        """Begin to run as a new primary, from the newest horizon in its log."""
        gap = now.wall_ns - logged_ns
        if logged_ns == 0:
            self.horizon_ns = now.wall_ns
        elif gap > 0:
            self.horizon_ns = logged_ns + min(gap, START_JUMP_NS)
        else:
            self.horizon_ns = logged_ns
        self.boot_ns = now.boot_ns

    def advance(self, now: Instant) -> int:
        """Return the horizon at `now`: between 7/8 and 9/8 of the time that passed, towards the wall."""
        elapsed = max(0, now.boot_ns - self.boot_ns)
        self.boot_ns = max(self.boot_ns, now.boot_ns)
        slew = elapsed // SLEW_SHARE
        low, high = self.horizon_ns + elapsed - slew, self.horizon_ns + elapsed + slew
        self.horizon_ns = min(max(now.wall_ns, low), high)
        return self.horizon_ns

    def note(self, expires_at_ns: int) -> None:
        """An entry with this expiry exists, or did."""
        bucket = expires_at_ns >> BUCKET_BITS
        if bucket not in self.buckets:
            self.buckets.add(bucket)
            heappush(self.heap, bucket)

    def next_ns(self) -> int | None:
        """Return the earliest horizon at which an entry may have expired, None when nothing expires."""
        return self.heap[0] << BUCKET_BITS if self.heap else None

    def passed(self, logged_ns: int) -> None:
        """A record with this horizon is in the log: forget the buckets that lie wholly before it."""
        bucket = logged_ns >> BUCKET_BITS
        while self.heap and self.heap[0] < bucket:
            self.buckets.discard(heappop(self.heap))
