"""Who is asked, when it is tried again, and what a session has seen. Decides; sends nothing.

The cluster map is replaced as a whole; whoever asks for a member takes the newest. Clocks and
random numbers are arguments.
"""

from __future__ import annotations

import random
import threading
from typing import Final, NamedTuple

from daycache_ray.words.cluster_map import ClusterMap, MemberAddress, ShardMap
from daycache_ray.words.errors import (
    BackpressureError,
    CacheError,
    DeadlineExceededError,
    NotPrimaryError,
    RetryableError,
    ShardUnavailableError,
    StaleEpochError,
    UnknownOutcomeError,
)
from daycache_ray.words.types import ShardId

PAUSE_S_MIN: Final = 0.005
PAUSE_S_MAX: Final = 0.200

ATTEMPT_S: Final = 1.0
"""How long one attempt waits for its answer before the client looks for another primary: longer than
a STRONG write waits for a silent member to be dropped, much shorter than the default deadline."""

ATTEMPT_BYTES_PER_S: Final = 50e6
"""What the slowest connection is trusted to carry; large messages get more time."""


class Router:
    """One cluster map as seen from one node."""

    __slots__ = ("_primaries", "cluster_map", "node_id")

    def __init__(self, cluster_map: ClusterMap, node_id: str) -> None:
        self.cluster_map = cluster_map
        self.node_id = node_id
        self._primaries: dict[ShardId, MemberAddress | None] = {}

    def shard(self, shard: ShardId) -> ShardMap:
        """Return what the map says of a shard; KeyError or IndexError when there is no such shard."""
        return self.cluster_map.shards[shard.region][shard.number]

    def shard_count(self, region: str) -> int:
        """Return how many shards a region has."""
        return len(self.cluster_map.shards[region])

    def primary(self, shard: ShardId) -> MemberAddress | None:
        """Return who orders a shard's writes and answers its STRONG reads; None while nobody does."""
        try:
            return self._primaries[shard]
        except KeyError:
            found = self._primaries[shard] = self.shard(shard).primary
            return found

    def any_member(self, shard: ShardId, attempt: int) -> MemberAddress | None:
        """Return who is asked in the n-th attempt to read from any copy: the primary first, then in turn."""
        shard_map = self.shard(shard)
        members = sorted(
            shard_map.members, key=lambda member: (member.seat != shard_map.primary_seat, not member.in_sync)
        )
        return members[attempt % len(members)] if members else None

    def near_members(self, shard: ShardId) -> tuple[MemberAddress, ...]:
        """Return the members on this node, the primary first: their stores can be read from memory."""
        shard_map = self.shard(shard)
        near = [member for member in shard_map.members if member.node_id == self.node_id]
        return tuple(sorted(near, key=lambda member: (member.seat != shard_map.primary_seat, not member.in_sync)))


class Pause(NamedTuple):
    """Wait `seconds`, or less when a map newer than `map_version` arrives and `wakes` is set."""

    seconds: float
    map_version: int
    wakes: bool


class Retry:
    """Decides for one request whether and when it is tried again. `now_s` is any monotonic clock."""

    def __init__(self, shard: ShardId, deadline_at_s: float, *, writes: bool, rng: random.Random) -> None:
        self.deadline_at_s = deadline_at_s
        self._shard = shard
        self._writes = writes
        self._rng = rng
        self.attempts_count = 0
        self._failures_count = 0
        self._map_version = 0
        self._may_have_happened = False

    def after(self, error: CacheError, now_s: float, map_version: int) -> Pause:
        """Return the pause before the next attempt.

        Raises:
            CacheError: the error itself where a repetition cannot help; at the deadline what the
                caller must know: UnknownOutcomeError when a write may have happened, otherwise the
                refusal, ShardUnavailableError or DeadlineExceededError.
        """
        if isinstance(error, UnknownOutcomeError):
            self._may_have_happened = True
        elif not isinstance(error, (RetryableError, ShardUnavailableError)):
            raise error
        self.attempts_count += 1
        if map_version != self._map_version:
            # Who was told of a new map may ask before the primary was: patience begins anew.
            self._map_version, self._failures_count = map_version, 0
        self._failures_count += 1
        pause_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2 ** min(self._failures_count - 1, 10))
        pause_s *= 0.5 + self._rng.random() / 2
        if isinstance(error, BackpressureError):
            pause_s = max(pause_s, min(float(error.fields.get("retry_after_s", 0.0)), 1.0))
        if now_s + pause_s >= self.deadline_at_s:
            raise self._final(error) from error
        # A copy that came back is a new map, so too few copies are worth waking for; a full queue is not.
        wakes = not isinstance(error, BackpressureError)
        return Pause(pause_s, map_version, wakes)

    def _final(self, error: CacheError) -> CacheError:
        tried = f"{self.attempts_count} attempts on {self._shard}"
        if self._may_have_happened and self._writes:
            text = f"no answer after {tried}, and the write may have happened ({error})"
            return UnknownOutcomeError(f"{text}: read the key, or repeat the write if it is idempotent")
        if isinstance(error, (NotPrimaryError, StaleEpochError, ShardUnavailableError)):
            return ShardUnavailableError(f"no primary answered after {tried}: {error}")
        if isinstance(error, UnknownOutcomeError):
            return DeadlineExceededError(f"no answer after {tried}: {error}")
        return error


def attempt_s(left_s: float, size_bytes: int = 0) -> float:
    """Return how long one attempt may wait for its answer when `left_s` seconds are left.

    >>> attempt_s(5.0), attempt_s(0.3), attempt_s(-1.0)
    (1.0, 0.3, 0.001)
    """
    longest_s = ATTEMPT_S + size_bytes / ATTEMPT_BYTES_PER_S
    return max(0.001, left_s if left_s < longest_s else longest_s)


class SessionToken:
    """The newest state of a shard that this session has seen: (epoch, LSN). Only rises.

    A copy may answer an EVENTUAL read of the session only if it is known to hold all of it (R26).
    """

    __slots__ = ("_lock", "epoch", "lsn")

    def __init__(self) -> None:
        self.epoch = 0
        self.lsn = 0
        self._lock = threading.Lock()

    def observe(self, epoch: int, lsn: int) -> None:
        """Note that the state at `lsn` of `epoch` was seen; older ones change nothing."""
        with self._lock:
            if epoch > self.epoch:
                self.epoch, self.lsn = epoch, lsn
            elif epoch == self.epoch and lsn > self.lsn:
                self.lsn = lsn


class Sequences:
    """Numbers the writes of one client on one shard, so that a repeated message is applied once."""

    def __init__(self) -> None:
        self._next = 1
        self._waiting: dict[int, int] = {}
        self._lock = threading.Lock()

    def take(self, count: int) -> int:
        """Return the first of `count` numbers that belong to one message until `done`."""
        with self._lock:
            first = self._next
            self._next += count
            self._waiting[first] = first
            return first

    def done(self, first: int) -> None:
        """The message that began with `first` was answered, or nobody waits for it any more."""
        with self._lock:
            self._waiting.pop(first, None)

    def unanswered(self) -> int:
        """Return the lowest number whose answer is still awaited; the next one where there is none."""
        with self._lock:
            return next(iter(self._waiting), self._next)
