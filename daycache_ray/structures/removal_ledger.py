"""Counts what goes from a store by its cause, and keeps it for those who follow.

A follower is a client that fetches now and then what went. Each has a bounded queue of its own; what does not fit is
counted as lost, oldest first, and so is what was handed out and never arrived. While nobody follows, a removal costs
one addition and one look. Refuses to know values, roles and sockets.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from daycache_ray.words.records import HEADER_BYTES, Flag, LogRecord, RecordKind
from daycache_ray.words.removals import CAUSES, EVICTED, EXPIRED, EXPLICIT, REPLACED

QUEUE_COUNT_MAX: Final = 16_384
"""What one follower may have waiting: some MB."""

SILENCE_NS: Final = 60_000_000_000
"""A follower that has not asked for so long is forgotten."""

FOLLOWERS_MAX: Final = 64

_PUT, _DELETE, _EVICT = int(RecordKind.PUT), int(RecordKind.DELETE), int(RecordKind.EVICT)
_NEGATIVE, _LONG_KEY, _DIRTY = int(Flag.NEGATIVE), int(Flag.LONG_KEY), int(Flag.DIRTY)
_NO_ENTRY = int(Flag.NEGATIVE | Flag.TAG_ROW)
_CLEAN = int(RecordKind.CLEAN)
_EXPIRES_AT: Final = slice(16, 24)
_FLAGS_OFFSET: Final = 37

Went = tuple[bytes, int, int, int]
"""User key, epoch and LSN of the version that went, number of the cause."""


class Taken(NamedTuple):
    """What a follower gets: `begun` where it was not known before, and how many it has missed in all since then."""

    removals: list[Went]
    begun: bool
    given_count: int
    lost_count: int


class _Follower:
    __slots__ = ("asked_ns", "causes", "given_count", "lost_count", "owner", "waiting")

    def __init__(self, owner: bytes, causes: int) -> None:
        self.owner = owner
        self.causes = causes
        self.waiting: deque[Went] = deque()
        self.given_count = 0
        self.lost_count = 0
        self.asked_ns = 0


class RemovalLedger:
    """The removals of one replica's store, whatever its role, since its process began."""

    def __init__(self) -> None:
        self.counts = [0] * len(CAUSES)
        """By the number of the cause."""
        self._followers: dict[int, _Follower] = {}

    def note(self, cause: int, key: bytes, record: bytes) -> None:
        """The version of a store key that `record` (header first) held is no longer there.

        A remembered miss and the row of a tag are no entries, and not counted.
        """
        if record[_FLAGS_OFFSET] & _NO_ENTRY:
            return
        self.counts[cause] += 1
        if self._followers:
            self._tell(cause, key, record)

    def note_applied(self, record: LogRecord, key: bytes, old: bytes, horizon_ns: int) -> None:
        """A record of the log took `old` away; what was over at `horizon_ns` already is expired, not replaced."""
        kind = record.kind
        if kind == _CLEAN:
            return  # The entry is there as before, and a delete that waited was none.
        if kind == _PUT and record.flags & _NEGATIVE and record.flags & _DIRTY:
            cause = EXPLICIT
        elif kind == _PUT:
            expires_at_ns = int.from_bytes(old[_EXPIRES_AT], "little")
            cause = EXPIRED if 0 < expires_at_ns <= horizon_ns else REPLACED
        elif kind == _DELETE:
            cause = record.codec
        else:
            cause = (record.codec or EVICTED) if kind == _EVICT else EXPIRED
        self.note(cause, key, old)

    def take(self, follower: int, owner: bytes, causes: int, given_count: int, count_max: int, now_ns: int) -> Taken:
        """Return the oldest removals that wait for a follower, at most `count_max`, and forget them.

        Args:
            follower: a number that it chose for itself; an unknown one is followed from now on.
            owner: the prefix of store keys, behind the slot, of which it may hear.
            causes: bit i is set where it wants to hear of cause number i.
            given_count: how many it has got so far in all; where more were given, those were lost on the way.
            now_ns: a clock that does not step.
        """
        found = self._followers.get(follower)
        begun = found is None
        if found is None:
            self._forget_silent(now_ns)
            found = self._followers[follower] = _Follower(owner, causes)
        elif given_count < found.given_count:
            found.lost_count += found.given_count - given_count
            found.given_count = given_count
        found.asked_ns = now_ns
        waiting = found.waiting
        removals = [waiting.popleft() for _ in range(min(len(waiting), count_max))]
        found.given_count += len(removals)
        return Taken(removals, begun, found.given_count, found.lost_count)

    def forget(self, follower: int) -> None:
        """Keep nothing for this one any more."""
        self._followers.pop(follower, None)

    def fields(self) -> dict[str, int]:
        """Return the counts as the fields of ShardStatistics."""
        by_cause = {f"removed_{cause.value}_count": self.counts[number] for number, cause in enumerate(CAUSES)}
        return {**by_cause, "removal_followers_count": len(self._followers)}

    def forget_silent(self, now_ns: int) -> None:
        """Forget those that have not asked for a minute: their process has ended, most likely."""
        if self._followers:
            self._forget_silent(now_ns)

    def _forget_silent(self, now_ns: int) -> None:
        for number, follower in list(self._followers.items()):
            if now_ns - follower.asked_ns > SILENCE_NS:
                del self._followers[number]
        while len(self._followers) >= FOLLOWERS_MAX:
            del self._followers[min(self._followers, key=lambda one: self._followers[one].asked_ns)]

    def _tell(self, cause: int, key: bytes, record: bytes) -> None:
        went: Went | None = None
        for follower in self._followers.values():
            if follower.causes >> cause & 1 and key.startswith(follower.owner, 2):
                if went is None:
                    epoch, lsn = int.from_bytes(record[:8], "little"), int.from_bytes(record[8:16], "little")
                    went = (_full_key(key, record, len(follower.owner)), epoch, lsn, cause)
                if len(follower.waiting) >= QUEUE_COUNT_MAX:
                    follower.waiting.popleft()
                    follower.lost_count += 1
                follower.waiting.append(went)


def _full_key(key: bytes, record: bytes, owner_bytes: int) -> bytes:
    if record[_FLAGS_OFFSET] & _LONG_KEY:
        start = HEADER_BYTES + 2
        return record[start : start + int.from_bytes(record[HEADER_BYTES:start], "little")]
    return key[2 + owner_bytes :]
