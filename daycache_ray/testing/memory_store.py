"""A replica's store in plain dictionaries, with what the shell of a replica asks of a real one: scans, space, expiry.

The machine's effects are performed by the simulator's store. Space is counted as the real store counts it within
a few bytes an entry; eviction takes what has low priority and then what was written longest ago, whatever policy the
region has, and keeps the services' shares as the real store does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daycache_ray.simulation.store import SimulatedStore, StoredEntry, packed
from daycache_ray.storage.sharing import NOBODY, Writer
from daycache_ray.structures.eviction.shares import Promised, giver, reserved_bytes
from daycache_ray.structures.removal_ledger import RemovalLedger
from daycache_ray.structures.store_keys import split_store_key
from daycache_ray.structures.tags import is_row_key
from daycache_ray.words.effects import FinishCopy, PublishFence, Truncate
from daycache_ray.words.records import HEADER_BYTES, PRIORITY_MASK, Flag, LogRecord, Priority
from daycache_ray.words.removals import LOST
from daycache_ray.words.types import Role

ENTRY_BYTES: Final = HEADER_BYTES + 45
"""What an entry takes beside its key and value."""

_TURN: Final = {Priority.LOW: 0, Priority.NORMAL: 1, Priority.HIGH: 2, PRIORITY_MASK: 1}

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

    def __init__(self, store_id: int, limit_bytes: int, shares: Mapping[bytes, int] | None = None) -> None:
        super().__init__(store_id)
        self._accounts = {service: number for number, service in enumerate(sorted(shares or {}), 1)}
        self._share_bytes = {self._accounts[service]: size for service, size in (shares or {}).items()}
        self.entries: CountedEntries = CountedEntries({})
        self.limit_bytes = limit_bytes
        self.fence = MemoryFence()
        self.directory = "/"
        self.removals = RemovalLedger()

    @property
    def entries_count(self) -> int:
        """Entries that are there, expired ones that wait for their removal included."""
        return sum(not is_row_key(key) for key in self.entries)

    @property
    def used_bytes(self) -> int:
        """What keys, values and headers take."""
        return self.entries.used_bytes

    def victims(self, bytes_needed: int, count_max: int, writer: Writer = NOBODY) -> list[Item]:
        """Return (store key, epoch, lsn) of entries to evict, enough for `bytes_needed`; nobody's share is touched."""
        found: list[Item] = []
        freed_bytes = 0
        promised = Promised() if writer.promised is None else writer.promised
        used = self._used()
        for account, size_bytes in promised.bytes_of.items():
            used[account] -= size_bytes
        queues: dict[int, list[tuple[bytes, StoredEntry]]] = {}
        for item in sorted(self.entries.items(), key=_goes):
            if item[0] not in promised.keys and not item[1].flags & Flag.DIRTY and not is_row_key(item[0]):
                queues.setdefault(self._account(item[0]), []).append(item)
        without = {account for account in used if account not in queues}
        while freed_bytes < bytes_needed and len(found) < count_max:
            account = self._accounts.get(writer.service, 0)
            chosen = giver(used, self._share_bytes, account, writer.coming_bytes, without)
            if chosen is None:
                break
            account, surplus = chosen
            key, entry = queues[account].pop(0)
            if not queues[account]:
                without.add(account)
            size_bytes = _size_bytes(key, entry)
            if size_bytes > surplus:
                continue
            found.append((key, entry.epoch, entry.lsn))
            promised.add(account, (key,), size_bytes)
            used[account] -= size_bytes
            freed_bytes += size_bytes
        return found

    def reserved_bytes(self, service: bytes) -> int:
        """Return what services other than this one are guaranteed and do not use."""
        return reserved_bytes(self._used(), self._share_bytes, self._accounts.get(service, 0))

    def _account(self, key: bytes) -> int:
        return self._accounts.get(split_store_key(key)[0], 0)

    def _used(self) -> dict[int, int]:
        used = dict.fromkeys(range(len(self._accounts) + 1), 0)
        if not self._accounts:
            used[0] = self.used_bytes
            return used
        for key, entry in self.entries.items():
            used[self._account(key)] += _size_bytes(key, entry)
        return used

    def expired(self, now_wall_ns: int, count_max: int) -> list[Item]:
        """Return (store key, epoch, lsn) of entries that expire at or before `now_wall_ns`, the oldest first."""
        ended = [
            (e.expires_at_ns, key, e)
            for key, e in self.entries.items()
            if 0 < e.expires_at_ns <= now_wall_ns and not e.flags & Flag.DIRTY
        ]
        return [(key, entry.epoch, entry.lsn) for _, key, entry in sorted(ended, key=lambda one: one[:2])[:count_max]]

    def next_expiry_ns(self, after_ns: int = 0) -> int:
        """Return the earliest expiry above `after_ns`, 0 when nothing expires then."""
        return min((e.expires_at_ns for e in self.entries.values() if e.expires_at_ns > after_ns), default=0)

    def written_behind(self, after_lsn: int, through_lsn: int, count_max: int) -> list[tuple[int, bytes, bytes]]:
        """Return (LSN, store key, record) of what the origin has not got, the oldest first."""
        found = [
            (entry.lsn, key, self.get(key) or b"")
            for key, entry in self.entries.items()
            if entry.flags & Flag.DIRTY and after_lsn < entry.lsn <= through_lsn
        ]
        return sorted(found)[:count_max]

    @property
    def dirty_count(self) -> int:
        """How many entries the origin has not got."""
        return sum(bool(entry.flags & Flag.DIRTY) for entry in self.entries.values())

    @property
    def dirty_bytes(self) -> int:
        """What they take."""
        return sum(_size_bytes(key, entry) for key, entry in self.entries.items() if entry.flags & Flag.DIRTY)

    def scan(
        self, service: bytes, prefix: bytes, cursor: bytes, limit: int, horizon_ns: int = 0
    ) -> tuple[list[bytes], bytes]:
        """Return up to `limit` full user keys of a service after `cursor`, and the cursor to go on from."""
        owner = bytes((len(service),)) + service
        found: list[bytes] = []
        last = b""
        for key in sorted(key for key in self.entries if key > cursor and key[2:].startswith(owner)):
            entry = self.entries[key]
            if is_row_key(key) or self.cover(key, entry) is not None:
                continue
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


def _goes(item: tuple[bytes, StoredEntry]) -> tuple[int, int]:
    entry = item[1]
    return _TURN[entry.priority & PRIORITY_MASK], entry.lsn


def _size_bytes(key: bytes, entry: StoredEntry) -> int:
    return len(key) + len(entry.value) + ENTRY_BYTES


def _full_key(stored: bytes, entry: StoredEntry) -> bytes:
    if entry.flags & Flag.LONG_KEY:
        return entry.value[2 : 2 + int.from_bytes(entry.value[:2], "little")]
    return stored
