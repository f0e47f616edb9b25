"""The visible records of one generation, and the two orders they stand in: by age, and by expiry.

`data`    store key -> record (header, payload or file reference)
`order`   order number -> store key: the queue that the eviction hand walks; an overwrite keeps its place
`expiry`  expires_at_ns, order number -> nothing

Whatever changes a visible record goes through `replace`, so the three and the counters agree in every
transaction. Knows nothing of the log, and not whether a record is committed.
"""

from __future__ import annotations

import struct
from typing import Final

import lmdb

from daycache_ray.storage.hands import Hands
from daycache_ray.storage.large_values import LARGE, LargeValues, pages_bytes, reference_of
from daycache_ray.storage.state import State
from daycache_ray.storage.visited_page import VisitedPage
from daycache_ray.words.records import HEADER_BYTES

Item = tuple[bytes, int, int]
"""Store key, epoch, LSN: exactly one version of an entry."""

ENTRY_OVERHEAD_BYTES: Final = 112
"""What LMDB and the two orders cost beside key and record, measured at 100 B values with half-full leaves."""

_OVERFLOW_RECORD_BYTES: Final = 2_000
"""Records above have pages of their own in LMDB."""
_PAGE_HEADER_BYTES: Final = 16

_NUMBER: Final = struct.Struct(">Q")
_EXPIRY: Final = struct.Struct(">QQ")
_EXPIRY_ORDER: Final = struct.Struct("<QQ")
_VERSION: Final = struct.Struct("<QQ")
_EXPIRES_AT_OFFSET: Final = 16
_FLAGS_OFFSET: Final = 37


class Entries:
    """The visible records; every call takes the transaction it works in."""

    def __init__(self, environment: lmdb.Environment, state: State, large: LargeValues) -> None:
        self.data = environment.open_db(b"data")
        self.order = environment.open_db(b"order")
        self.expiry = environment.open_db(b"expiry")
        self.counts = environment.open_db(b"large")
        self.others = (self.order, self.expiry, self.counts)
        self._state = state
        self._large = large
        self.hands = Hands()

    def replace(self, transaction: lmdb.Transaction[bytes], key: bytes, old: bytes | None, new: bytes | None) -> None:
        """Make `new` the visible record of `key` in place of `old`, which is what is visible now."""
        state = self._state
        if new is None:
            if old is not None:
                transaction.delete(key, db=self.data)
                state.entries_count -= 1
                self._unlist(transaction, key, old)
            return
        transaction.put(key, new, db=self.data)
        expires_at_ns, order = _EXPIRY_ORDER.unpack_from(new, _EXPIRES_AT_OFFSET)
        if old is None:
            state.entries_count += 1
            is_listed = has_expiry = False
            self.hands.came(key, order)
        else:
            old_expires_at_ns, old_order = _EXPIRY_ORDER.unpack_from(old, _EXPIRES_AT_OFFSET)
            is_listed = old_order == order
            has_expiry = is_listed and old_expires_at_ns == expires_at_ns
            if not is_listed:
                transaction.delete(_NUMBER.pack(old_order), db=self.order)
            if old_expires_at_ns and not has_expiry:
                transaction.delete(_EXPIRY.pack(old_expires_at_ns, old_order), db=self.expiry)
        if not is_listed:
            transaction.put(_NUMBER.pack(order), key, db=self.order)
        if expires_at_ns and not has_expiry:
            transaction.put(_EXPIRY.pack(expires_at_ns, order), b"", db=self.expiry)
        if old is not None and len(old) == len(new) and not (old[_FLAGS_OFFSET] | new[_FLAGS_OFFSET]) & LARGE:
            return  # costs what the old one did
        # Held before the old one is dropped: both may mean one file.
        self._charge(transaction, key, new)
        if old is not None:
            self._credit(transaction, key, old)

    def victims(
        self,
        transaction: lmdb.Transaction[bytes],
        visited: VisitedPage,
        bytes_needed: int,
        count_max: int,
        *,
        has_young: bool,
    ) -> list[Item]:
        """Return entries to evict until `bytes_needed` are free, at most `count_max`; see `hands.py`."""
        chosen = self.hands.victims(
            transaction,
            self.order,
            self.data,
            self._state,
            visited,
            cost_bytes,
            bytes_needed,
            count_max,
            has_young=has_young,
        )
        return [(key, *_VERSION.unpack_from(record)) for key, record in chosen]

    def expired(self, transaction: lmdb.Transaction[bytes], now_wall_ns: int, count_max: int) -> list[Item]:
        """Return entries whose `expires_at_ns` is at or before `now_wall_ns`, the oldest first."""
        found: list[Item] = []
        with transaction.cursor(db=self.expiry) as cursor:
            for place in cursor.iternext(keys=True, values=False):
                expires_at_ns, order = _EXPIRY.unpack(place)
                if expires_at_ns > now_wall_ns or len(found) >= count_max:
                    break
                key = transaction.get(_NUMBER.pack(order), db=self.order)
                record = transaction.get(key, db=self.data) if key is not None else None
                if key is not None and record is not None:
                    found.append((key, *_VERSION.unpack_from(record)))
        return found

    def next_expiry_ns(self, transaction: lmdb.Transaction[bytes], after_ns: int = 0) -> int:
        """Return the earliest `expires_at_ns` above `after_ns`, 0 when nothing expires then."""
        with transaction.cursor(db=self.expiry) as cursor:
            return int(_EXPIRY.unpack(cursor.key())[0]) if cursor.set_range(_EXPIRY.pack(after_ns + 1, 0)) else 0

    def take_over(self, other: Entries) -> None:
        """Go on evicting where `other`, of which this is a copy, stands."""
        self.hands = other.hands

    def _charge(self, transaction: lmdb.Transaction[bytes], key: bytes, record: bytes) -> None:
        self._state.used_bytes += cost_bytes(key, record)
        if record[_FLAGS_OFFSET] & LARGE:
            reference = reference_of(record)
            self._large.hold(transaction, self.counts, reference)
            self._state.large_bytes += pages_bytes(reference.size_bytes)

    def _credit(self, transaction: lmdb.Transaction[bytes], key: bytes, record: bytes) -> None:
        self._state.used_bytes -= cost_bytes(key, record)
        if record[_FLAGS_OFFSET] & LARGE:
            reference = reference_of(record)
            self._large.drop(transaction, self.counts, reference)
            self._state.large_bytes -= pages_bytes(reference.size_bytes)

    def _unlist(self, transaction: lmdb.Transaction[bytes], key: bytes, record: bytes) -> None:
        expires_at_ns, order = _EXPIRY_ORDER.unpack_from(record, _EXPIRES_AT_OFFSET)
        transaction.delete(_NUMBER.pack(order), db=self.order)
        self.hands.went(order)
        if expires_at_ns:
            transaction.delete(_EXPIRY.pack(expires_at_ns, order), db=self.expiry)
        self._credit(transaction, key, record)


def cost_bytes(key: bytes, record: bytes) -> int:
    """Return what an entry costs: record, key, a fixed overhead, and whole pages where it has pages of its own.

    >>> cost_bytes(b"k" * 12, bytes(HEADER_BYTES + 100))
    264
    """
    size = len(record)
    if size > _OVERFLOW_RECORD_BYTES:
        size = pages_bytes(size + _PAGE_HEADER_BYTES)
    if record[_FLAGS_OFFSET] & LARGE:
        size += pages_bytes(reference_of(record).size_bytes)
    return size + len(key) + ENTRY_OVERHEAD_BYTES


def places_of(record: bytes) -> tuple[bytes, bytes]:
    """Return a record's key in `order`, and its key in `expiry`, empty where it does not expire."""
    expires_at_ns, order = _EXPIRY_ORDER.unpack_from(record, _EXPIRES_AT_OFFSET)
    return _NUMBER.pack(order), _EXPIRY.pack(expires_at_ns, order) if expires_at_ns else b""


assert HEADER_BYTES == 40, "offsets above are those of words.records.HEADER"
