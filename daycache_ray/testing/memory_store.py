"""A replica's store in plain dictionaries, with what the shell of a replica asks of a real one: scans, space, expiry.

The machine's effects are performed by the simulator's store. Space is counted as the real store counts it within
a few bytes an entry; eviction takes what was written longest ago, whatever policy the region has.
"""

from __future__ import annotations

from typing import Any, Final

from daycache_ray.simulation.store import SimulatedStore, StoredEntry, packed
from daycache_ray.structures.removal_ledger import RemovalLedger
from daycache_ray.words.effects import FinishCopy, PublishFence, Truncate
from daycache_ray.words.records import HEADER_BYTES, Flag, LogRecord
from daycache_ray.words.removals import LOST
from daycache_ray.words.types import Role

ENTRY_BYTES: Final = HEADER_BYTES + 45
"""What an entry takes beside its key and value."""

Item = tuple[bytes, int, int]


class MemoryFence:
    """What the machine published last, where a real replica has a page of shared memory."""

    def __init__(self) -> None:
        self.published = PublishFence(0, int(Role.NONE), 0, 0, 0, 0, 0)

    def publish(self, effect: PublishFence) -> None:
        """Show these numbers from now on."""
        self.published = effect

    def read(self) -> PublishFence:
        """Return the numbers that are shown."""
        return self.published


class CountedEntries(dict[bytes, StoredEntry]):
    """Entries by store key, and the bytes that they take."""

    def __init__(self, entries: dict[bytes, StoredEntry]) -> None:
        super().__init__(entries)
        self.used_bytes = sum(_size_bytes(key, entry) for key, entry in entries.items())

    def __setitem__(self, key: bytes, entry: StoredEntry) -> None:
        self.pop(key, None)
        super().__setitem__(key, entry)
        self.used_bytes += _size_bytes(key, entry)

    def pop(self, key: bytes, default: Any = None) -> Any:
        """Take an entry out, where there is one."""
        entry = super().pop(key, None)
        if entry is None:
            return default
        self.used_bytes -= _size_bytes(key, entry)
        return entry


class MemoryStore(SimulatedStore):
    """One seat's store; it survives its process, as shared memory does."""

    def __init__(self, store_id: int, limit_bytes: int) -> None:
        super().__init__(store_id)
        self.entries: CountedEntries = CountedEntries({})
        self.limit_bytes = limit_bytes
        self.fence = MemoryFence()
        self.directory = "/"
        self.removals = RemovalLedger()

    @property
    def entries_count(self) -> int:
        """Entries that are there, expired ones that wait for their removal included."""
        return len(self.entries)

    @property
    def used_bytes(self) -> int:
        """What keys, values and headers take."""
        return self.entries.used_bytes

    def victims(self, bytes_needed: int, count_max: int) -> list[Item]:
        """Return (store key, epoch, lsn) of what was written longest ago, enough for `bytes_needed`."""
        found: list[Item] = []
        freed_bytes = 0
        for key, entry in sorted(self.entries.items(), key=lambda item: item[1].lsn):
            if freed_bytes >= bytes_needed or len(found) >= count_max:
                break
            found.append((key, entry.epoch, entry.lsn))
            freed_bytes += _size_bytes(key, entry)
        return found

    def expired(self, now_wall_ns: int, count_max: int) -> list[Item]:
        """Return (store key, epoch, lsn) of entries that expire at or before `now_wall_ns`, the oldest first."""
        ended = [(e.expires_at_ns, key, e) for key, e in self.entries.items() if 0 < e.expires_at_ns <= now_wall_ns]
        return [(key, entry.epoch, entry.lsn) for _, key, entry in sorted(ended, key=lambda one: one[:2])[:count_max]]

    def next_expiry_ns(self, after_ns: int = 0) -> int:
        """Return the earliest expiry above `after_ns`, 0 when nothing expires then."""
        return min((e.expires_at_ns for e in self.entries.values() if e.expires_at_ns > after_ns), default=0)

    def scan(
        self, service: bytes, prefix: bytes, cursor: bytes, limit: int, horizon_ns: int = 0
    ) -> tuple[list[bytes], bytes]:
        """Return up to `limit` full user keys of a service after `cursor`, and the cursor to go on from."""
        owner = bytes((len(service),)) + service
        found: list[bytes] = []
        last = b""
        for key in sorted(key for key in self.entries if key > cursor and key[2:].startswith(owner)):
            entry = self.entries[key]
            if entry.flags & Flag.NEGATIVE or 0 < entry.expires_at_ns <= horizon_ns:
                continue
            full = _full_key(key[2 + len(owner) :], entry)
            if not full.startswith(prefix):
                continue
            if len(found) == limit:
                return found, last
            found.append(full)
            last = key
        return found, b""

    def _show(self, record: LogRecord, undoable: bool) -> None:
        before = self.entries.get(record.key)
        super()._show(record, undoable)
        if before is not None and self.entries.get(record.key) is not before:
            self.removals.note_applied(record, record.key, packed(before), self.horizon_ns)

    def _truncate(self, effect: Truncate) -> None:
        undone = {key: self.entries.get(key) for lsn, key, _, _ in self.undo if lsn > effect.lsn}
        super()._truncate(effect)
        for key, before in undone.items():
            after = self.entries.get(key)
            if before is not None and (after is None or after[:2] != before[:2]):
                self.removals.note(LOST, key, packed(before))

    def _finish(self, effect: FinishCopy) -> None:
        super()._finish(effect)
        self.entries = CountedEntries(self.entries)


def _size_bytes(key: bytes, entry: StoredEntry) -> int:
    return len(key) + len(entry.value) + ENTRY_BYTES


def _full_key(stored: bytes, entry: StoredEntry) -> bytes:
    if entry.flags & Flag.LONG_KEY:
        return entry.value[2 : 2 + int.from_bytes(entry.value[:2], "little")]
    return stored
