"""A replica's store in the simulated world: dictionaries that perform the store effects of the machine.

It survives a crash of its node and not a wipe. A turn's store effects are one transaction: the node
performs all of them or none. What the real store does in LMDB is told in words.effects; this one is
the plainest thing that does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from daycache_ray.structures.tags import TAGGED, Cover, cover_of, is_row_key, rows_of
from daycache_ray.words.effects import Append, Apply, Commit, FinishCopy, LoadItems, ResetStore, Truncate
from daycache_ray.words.records import HEADER, HEADER_BYTES, Flag, LogRecord, RecordKind, Recovered

LOG_RECORDS_KEPT = 400
STORE_EFFECTS = frozenset({Append, Apply, Commit, FinishCopy, LoadItems, ResetStore, Truncate})


class StoredEntry(NamedTuple):
    """What a key shows."""

    epoch: int
    lsn: int
    expires_at_ns: int
    codec: int
    flags: int
    value: bytes
    priority: int = 0


class SimulatedSnapshot:
    """A frozen copy of the visible entries, handed out in key order."""

    def __init__(self, items: list[tuple[bytes, bytes]]) -> None:
        self.items = items
        self.place = 0

    def next_items(self, bytes_max: int) -> tuple[tuple[bytes, bytes], ...]:
        """Return some further items, () at the end."""
        found = self.items[self.place : self.place + max(1, bytes_max // 100)]
        self.place += len(found)
        return tuple(found)

    def close(self) -> None:
        """Nothing is held."""


class SimulatedStore:
    """The store of one seat; `without` switches off the rules that a store has a part in."""

    def __init__(self, store_id: int, without: frozenset[str] = frozenset()) -> None:
        self.store_id = store_id
        self.without = without
        self.entries: dict[bytes, StoredEntry] = {}
        self.removed: dict[bytes, int] = {}
        """LSN of removals that are not final yet: an older record must not bring the key back (R19)."""
        self.undo: list[tuple[int, bytes, StoredEntry | None, int]] = []
        self.records: list[LogRecord] = []
        self.base_lsn = self.base_epoch = 0
        self.epoch = self.commit_lsn = self.horizon_ns = self.applied_lsn = 0
        self.copy: dict[bytes, StoredEntry] | None = None
        self._performers: dict[Any, Callable[[Any], None]] = {
            Append: self._append,
            Apply: self._apply,
            Truncate: self._truncate,
            Commit: self._commit,
            ResetStore: self._reset,
            LoadItems: self._load,
            FinishCopy: self._finish,
        }

    # ------------------------------------------------------------------ what the machine sees

    def get(self, key: bytes) -> bytes | None:
        """Return the visible record with its header."""
        entry = self.entries.get(key)
        return packed(entry) if entry is not None else None

    def payload(self, key: bytes) -> bytes | None:
        """Return the visible value."""
        entry = self.entries.get(key)
        return entry.value if entry is not None else None

    def fresh_count(self, row_key: bytes) -> int:
        """Return how many visible entries have the tag of a row and are not hidden by it."""
        return sum(
            row_key in rows and cover_of((row_key,), entry.lsn, self.get) is None
            for key, entry in self.entries.items()
            if entry.flags & TAGGED
            for rows in (rows_of(key, entry.flags, entry.value),)
        )

    def cover(self, key: bytes, entry: StoredEntry) -> Cover | None:
        """Return why an entry is hidden by the rows of its tags; None: it is not."""
        rows = rows_of(key, entry.flags, entry.value) if entry.flags & TAGGED else ()
        return cover_of(rows, entry.lsn, self.get)

    def swept(self, settled_lsn: int, over_ns: int) -> list[tuple[bytes, int, int]]:
        """Return what rows hide, what is over since `over_ns` at the latest, and settled rows that hide nothing."""
        found = []
        needed: set[bytes] = set()
        for key, entry in self.entries.items():
            cover = None if is_row_key(key) else self.cover(key, entry)
            if cover is not None:
                needed.update(rows_of(key, entry.flags, entry.value))
                if cover.over_at_ns <= over_ns and not entry.flags & Flag.DIRTY:
                    found.append((key, entry.epoch, entry.lsn))
        for key, entry in self.entries.items():
            if is_row_key(key) and key not in needed and entry.lsn <= settled_lsn:
                found.append((key, entry.epoch, entry.lsn))
        return found

    def open_snapshot(self) -> SimulatedSnapshot:
        """Return everything visible now."""
        return SimulatedSnapshot([(key, packed(entry)) for key, entry in sorted(self.entries.items())])

    def recovered(self) -> Recovered:
        """Return what a new machine starts from."""
        self.copy = None
        return Recovered(
            self.store_id, self.epoch, self.commit_lsn, self.base_lsn, self.base_epoch, self.horizon_ns,
            tuple(self.records), self.applied_lsn,
        )  # fmt: skip

    # ------------------------------------------------------------------ effects

    def performs(self, effect: Any) -> bool:
        """Whether this is an effect for a store."""
        return type(effect) in STORE_EFFECTS

    def perform(self, effect: Any) -> None:
        """Do what a store effect says."""
        self._performers[type(effect)](effect)

    @property
    def last_lsn(self) -> int:
        """The end of the stored log."""
        return self.base_lsn + len(self.records)

    def epoch_at(self, lsn: int) -> int | None:
        """Return the epoch of a stored record, None when it is not there (any more)."""
        if lsn == self.base_lsn:
            return self.base_epoch
        if self.base_lsn < lsn <= self.last_lsn:
            return self.records[lsn - self.base_lsn - 1].epoch
        return None

    def holds(self, lsn: int, epoch: int) -> bool:
        """Whether this log contains the record, or has settled and trimmed it."""
        return lsn <= self.base_lsn or self.epoch_at(lsn) == epoch

    def _append(self, effect: Append) -> None:
        for record in effect.records:
            assert record.lsn == self.last_lsn + 1, f"record {record.lsn} stored after {self.last_lsn}"
            self.records.append(record)

    def _apply(self, effect: Apply) -> None:
        for record in effect.records:
            self._show(record, effect.undoable)

    def _show(self, record: LogRecord, undoable: bool) -> None:
        key = record.key
        entry = self.entries.get(key)
        seen = max(entry.lsn if entry is not None else 0, self.removed.get(key, 0))
        self.applied_lsn = max(self.applied_lsn, record.lsn)
        if seen >= record.lsn and "R19" not in self.without:
            return
        if undoable:
            self.undo.append((record.lsn, key, entry, self.removed.get(key, 0)))
        if record.kind == RecordKind.PUT:
            self.entries[key] = StoredEntry(
                record.epoch, record.lsn, record.expires_at_ns, record.codec, record.flags, record.value,
                record.priority,
            )  # fmt: skip
            return
        if record.kind in (RecordKind.EVICT, RecordKind.EXPIRE, RecordKind.CLEAN) and "R38" not in self.without:
            target = (record.target_epoch, record.target_lsn)
            if entry is None or (entry.epoch, entry.lsn) != target:
                return
            if record.kind == RecordKind.CLEAN and not entry.flags & Flag.NEGATIVE:
                self.entries[key] = entry._replace(flags=entry.flags & ~Flag.DIRTY)
                self.removed[key] = record.lsn
                return
        self.entries.pop(key, None)
        self.removed[key] = record.lsn

    def _truncate(self, effect: Truncate) -> None:
        del self.records[effect.lsn - self.base_lsn :]
        while self.undo and self.undo[-1][0] > effect.lsn:
            _, key, entry, removed = self.undo.pop()
            if "R21" in self.without:
                continue
            if entry is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = entry
            if removed:
                self.removed[key] = removed
            else:
                self.removed.pop(key, None)
        self.applied_lsn = min(self.applied_lsn, effect.lsn)

    def _commit(self, effect: Commit) -> None:
        self.commit_lsn, self.epoch, self.horizon_ns = effect.lsn, effect.epoch, effect.horizon_ns
        self.applied_lsn = max(self.applied_lsn, effect.lsn)
        if self.undo and self.undo[0][0] <= effect.lsn:
            self.undo = [one for one in self.undo if one[0] > effect.lsn]
        if self.removed:
            self.removed = {key: lsn for key, lsn in self.removed.items() if lsn > effect.lsn}
        surplus = min(len(self.records) - LOG_RECORDS_KEPT, min(effect.keep_lsn, effect.lsn) - self.base_lsn)
        if surplus > LOG_RECORDS_KEPT:
            self.base_lsn, self.base_epoch = self.records[surplus - 1].lsn, self.records[surplus - 1].epoch
            del self.records[:surplus]

    def _reset(self, effect: ResetStore) -> None:
        self.copy = {}

    def _load(self, effect: LoadItems) -> None:
        assert self.copy is not None, "items without a copy"
        for key, stored in effect.items:
            epoch, lsn, expires_at_ns, _, _, codec, flags, priority = HEADER.unpack_from(stored)
            self.copy[key] = StoredEntry(epoch, lsn, expires_at_ns, codec, flags, stored[HEADER_BYTES:], priority)

    def _finish(self, effect: FinishCopy) -> None:
        assert self.copy is not None, "the end of a copy that never began"
        self.entries, self.copy = self.copy, None
        self.removed.clear()
        self.undo.clear()
        self.records.clear()
        self.base_lsn, self.base_epoch = effect.base_lsn, effect.base_epoch
        self.commit_lsn = self.applied_lsn = effect.base_lsn
        self.horizon_ns = effect.horizon_ns


def packed(entry: StoredEntry) -> bytes:
    """Return an entry as a record with header."""
    header = HEADER.pack(entry.epoch, entry.lsn, entry.expires_at_ns, 0, 0, entry.codec, entry.flags, entry.priority)
    return header + entry.value
