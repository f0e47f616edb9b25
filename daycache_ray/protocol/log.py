"""A shard's log in memory: records with LSN and epoch, and whether another's records fit on it.

It knows nothing of roles, time or stores. Records up to `base_lsn` are gone: they are settled, and a
member that still needs them gets a copy of the store.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from daycache_ray.words.records import LogRecord

RECORD_BYTES: Final = 128
"""Rough memory of a record besides its key and value."""
TRIM_STEP_RECORDS: Final = 64
"""Between two looks at what could be trimmed, when a slow member holds the log back."""
TERMS_KEPT: Final = 64
"""Changes of primary that a session token may be older than and still be recognised."""


class Verdict(NamedTuple):
    """What a follower does with a batch of records.

    `matched`: its log will hold the sender's up to `lsn`; else `lsn` is where the sender goes on from.
    `cut_lsn` >= 0: first drop everything after it. `fresh`: then append these.
    """

    matched: bool
    lsn: int
    cut_lsn: int = -1
    fresh: tuple[LogRecord, ...] = ()
    needs_copy: bool = False


class Log:
    """Records `base_lsn + 1 ... last_lsn`, contiguous; epochs never fall."""

    __slots__ = ("base_epoch", "base_lsn", "kept_bytes", "last_epoch", "last_lsn", "records", "terms", "trim_at_lsn")

    def __init__(self, base_lsn: int, base_epoch: int, records: Sequence[LogRecord] = ()) -> None:
        self.reset(base_lsn, base_epoch)
        for record in records:
            self.append(record)

    def reset(self, base_lsn: int, base_epoch: int) -> None:
        """Forget everything; the next record is `base_lsn + 1`."""
        assert base_lsn >= 0
        assert base_epoch >= 0
        self.base_lsn = base_lsn
        self.base_epoch = base_epoch
        self.records: list[LogRecord] = []
        self.last_lsn = base_lsn
        self.last_epoch = base_epoch
        self.kept_bytes = 0
        self.trim_at_lsn = 0
        self.terms: list[tuple[int, int]] = [(base_lsn, base_epoch)]

    def append(self, record: LogRecord) -> None:
        """Put one record at the end."""
        assert record.lsn == self.last_lsn + 1, f"record {record.lsn} after {self.last_lsn}"
        epoch = record.epoch
        if epoch != self.last_epoch:
            assert epoch > self.last_epoch, f"epoch {epoch} after {self.last_epoch}"
            self.last_epoch = epoch
            self.terms.append((record.lsn, epoch))
            if len(self.terms) > TERMS_KEPT:
                del self.terms[0]
        self.records.append(record)
        self.last_lsn = record.lsn
        self.kept_bytes += len(record.value) + len(record.key) + RECORD_BYTES

    def epoch_at(self, lsn: int) -> int | None:
        """Return the epoch of the record at `lsn`, None when it is trimmed or not there yet."""
        if lsn == self.last_lsn:
            return self.last_epoch
        if lsn == self.base_lsn:
            return self.base_epoch
        if self.base_lsn < lsn < self.last_lsn:
            return self.records[lsn - self.base_lsn - 1].epoch
        return None

    def epoch_of(self, lsn: int) -> int | None:
        """Return the epoch in which `lsn` was written, also after trimming; None when not known."""
        if lsn > self.last_lsn:
            return None
        place = bisect_right(self.terms, (lsn, 1 << 62)) - 1
        return self.terms[place][1] if place >= 0 else None

    def at(self, lsn: int) -> LogRecord:
        """Return the record at `lsn`, which must be there."""
        return self.records[lsn - self.base_lsn - 1]

    def after(self, lsn: int, up_to_lsn: int) -> list[LogRecord]:
        """Return the records after `lsn` up to and with `up_to_lsn`, as far as they are kept."""
        base = self.base_lsn
        return self.records[max(0, lsn - base) : max(0, up_to_lsn - base)]

    def batch(self, after_lsn: int, records_max: int, bytes_max: int) -> tuple[LogRecord, ...]:
        """Return the next records for a follower: at least one if there is one, within both limits."""
        start = after_lsn - self.base_lsn
        assert start >= 0, "a follower below the base needs a copy"
        found = self.records[start : start + records_max]
        size = 0
        for count, record in enumerate(found):
            size += len(record.value) + RECORD_BYTES
            if size > bytes_max and count:
                return tuple(found[:count])
        return tuple(found)

    def truncate(self, lsn: int) -> list[LogRecord]:
        """Drop everything after `lsn` and return what was dropped."""
        assert self.base_lsn <= lsn <= self.last_lsn
        place = lsn - self.base_lsn
        dropped = self.records[place:]
        del self.records[place:]
        self.last_lsn = lsn
        self.last_epoch = self.records[-1].epoch if self.records else self.base_epoch
        self.kept_bytes -= _bytes_of(dropped)
        while self.terms and self.terms[-1][0] > lsn:
            self.terms.pop()
        return dropped

    def trim(self, up_to_lsn: int, records_kept: int, bytes_kept: int) -> None:
        """Forget old records, none after `up_to_lsn`, once there are twice as many as are kept."""
        if len(self.records) < 2 * records_kept and self.kept_bytes < 2 * bytes_kept:
            return
        if self.last_lsn < self.trim_at_lsn:
            return
        self.trim_at_lsn = self.last_lsn + TRIM_STEP_RECORDS
        kept, size = 0, 0
        for record in reversed(self.records):
            size += len(record.value) + len(record.key) + RECORD_BYTES
            if kept >= records_kept or size > bytes_kept:
                break
            kept += 1
        count = min(len(self.records) - kept, up_to_lsn - self.base_lsn)
        if count <= 0:
            return
        dropped = self.records[:count]
        self.base_lsn = dropped[-1].lsn
        self.base_epoch = dropped[-1].epoch
        self.kept_bytes -= _bytes_of(dropped)
        del self.records[:count]

    def judge(
        self, previous_lsn: int, previous_epoch: int, records: tuple[LogRecord, ...], settled_lsn: int
    ) -> Verdict:
        """Say what to do with `records`, which follow (`previous_lsn`, `previous_epoch`) in a primary's log.

        Nothing is cut unless a record of another epoch stands in its place: a late, shorter message of
        the same epoch must not cost what was already acknowledged (R10). Settled records are never cut.
        """
        if previous_lsn == self.last_lsn and previous_epoch == self.last_epoch:
            return Verdict(True, previous_lsn + len(records), -1, records)
        if previous_lsn > self.last_lsn:
            return Verdict(False, self.last_lsn)
        end = previous_lsn + len(records)
        if previous_lsn < self.base_lsn:
            skip = self.base_lsn - previous_lsn
            if skip > len(records):
                return Verdict(True, end)
            if records[skip - 1].epoch != self.base_epoch:
                return Verdict(False, 0, needs_copy=True)
            records = records[skip:]
            previous_lsn = self.base_lsn
        elif self.epoch_at(previous_lsn) != previous_epoch:
            return Verdict(False, settled_lsn, needs_copy=previous_lsn <= settled_lsn)
        place = previous_lsn - self.base_lsn
        for number, record in enumerate(records):
            if place + number >= len(self.records):
                return Verdict(True, end, -1, records[number:])
            if self.records[place + number].epoch != record.epoch:
                cut = record.lsn - 1
                if cut < settled_lsn:
                    return Verdict(False, 0, needs_copy=True)
                return Verdict(True, end, cut, records[number:])
        return Verdict(True, end)


def _bytes_of(records: Iterable[LogRecord]) -> int:
    return sum(len(record.value) + len(record.key) + RECORD_BYTES for record in records)
