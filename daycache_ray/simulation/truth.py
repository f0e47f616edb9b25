"""What has really happened: the one log that all replicas must agree on, and what each key showed when.

Every replica's settled records go through here; the first to settle an LSN says what it is, all others
must say the same. A violated rule raises Violation with the evidence.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import msgspec

from daycache_ray.words.records import Flag, LogRecord, RecordKind


class Violation(AssertionError):
    """The simulated system broke a promise."""


class Shown(NamedTuple):
    """What a key shows from `lsn` on; `record` None: nothing."""

    lsn: int
    record: LogRecord | None


class Place(NamedTuple):
    """A point in the history of a key: after the record at `lsn`, and with `half` after its expiry."""

    lsn: int
    half: int = 0


class Truth:
    """The settled log, key by key."""

    def __init__(self) -> None:
        self.records: dict[int, LogRecord] = {}
        self.top_lsn = 0
        self.commit_lsn = 0
        self.horizon_ns = 0
        self.history: dict[bytes, list[Shown]] = {}
        self.requests: dict[tuple[int, int], int] = {}

    def settle(self, record: LogRecord, who: str) -> None:
        """A replica says that `record` can never be cut any more (invariants 3, 9)."""
        known = self.records.get(record.lsn)
        if known is not None:
            if known is not record and known != record:
                raise Violation(f"{who} settled {_text(record)}, but it was settled before as {_text(known)}")
            return
        if record.lsn != self.top_lsn + 1:
            raise Violation(f"{who} settled {_text(record)}, but the last settled one is {self.top_lsn}")
        self.records[record.lsn] = record
        self.top_lsn = record.lsn
        if record.client:
            request = (record.client, record.sequence)
            if request in self.requests:
                raise Violation(
                    f"request {request} was applied twice: at {self.requests[request]} and at {record.lsn}, {who}"
                )
            self.requests[request] = record.lsn
        if record.kind == RecordKind.HORIZON:
            if record.expires_at_ns:
                if record.expires_at_ns < self.horizon_ns:
                    raise Violation(f"{who}: the horizon went back at {record.lsn}")
                self.horizon_ns = record.expires_at_ns
        elif record.key:
            self._fold(record)

    def _fold(self, record: LogRecord) -> None:
        history = self.history.setdefault(record.key, [])
        before = history[-1].record if history else None
        if record.kind == RecordKind.PUT:
            history.append(Shown(record.lsn, record))
        elif record.kind == RecordKind.DELETE or (
            before is not None and (before.epoch, before.lsn) == (record.target_epoch, record.target_lsn)
        ):
            is_value = record.kind == RecordKind.CLEAN and before is not None and not before.flags & Flag.NEGATIVE
            shown = msgspec.structs.replace(before, flags=before.flags & ~Flag.DIRTY) if is_value and before else None
            history.append(Shown(record.lsn, shown))

    def shows(self, key: bytes, lsn: int) -> LogRecord | None:
        """Return what a key shows when exactly the log up to `lsn` is applied."""
        history = self.history.get(key)
        if not history:
            return None
        place = bisect_right(history, lsn, key=lambda shown: shown.lsn) - 1
        return history[place].record if place >= 0 else None

    def shown_within(self, key: bytes, version: tuple[int, int] | None, low_lsn: int, high_lsn: int) -> bool:
        """Whether the key showed this version, or nothing, at some point of the log from low to high."""
        history = self.history.get(key, [])
        place = bisect_right(history, low_lsn, key=lambda shown: shown.lsn) - 1
        if place < 0 and version is None:
            return True
        for shown in history[max(0, place) :]:
            if shown.lsn > high_lsn:
                return False
            found = (shown.record.epoch, shown.record.lsn) if shown.record is not None else None
            if found == version:
                return True
        return False

    def absent_since(self, key: bytes, floor: Place) -> Place | None:
        """Return the first place from `floor` on at which the key showed nothing; None: never."""
        history = self.history.get(key, [])
        place = bisect_right(history, floor.lsn, key=lambda shown: shown.lsn) - 1
        if place < 0 or history[place].record is None or (floor.half and history[place].lsn == floor.lsn):
            return floor
        for shown in history[place:]:
            if shown.record is None:
                return Place(shown.lsn)
            if 0 < shown.record.expires_at_ns <= self.horizon_ns:
                return Place(shown.lsn, 1)
        return None


def _text(record: LogRecord) -> str:
    kind = RecordKind(record.kind).name
    return f"{record.lsn} of epoch {record.epoch} ({kind} {record.key!r}, client {record.client}.{record.sequence})"
