"""The visible records of one generation, and the two orders they stand in: by age, and by expiry.

`data`    store key -> record (header, payload or file reference)
`order`   order number -> store key: the queues that the eviction hands walk; an overwrite keeps its place
`expiry`  expires_at_ns, order number -> nothing
`dirty`   LSN -> store key: what the origin has not got yet, the oldest first
`tags`    see tags.py; rows of tags stand in `data` too, and in no order

Whatever changes a visible record goes through `replace`, so the four and the counters agree in every
transaction. Knows nothing of the log, and not whether a record is committed.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Final

import lmdb

from daycache_ray.storage.costs import cost_bytes
from daycache_ray.storage.hands import QUEUE_OFFSET
from daycache_ray.storage.large_values import LARGE, LargeValues, pages_bytes, reference_of
from daycache_ray.storage.queues import Asked, Queues
from daycache_ray.storage.state import ACCOUNTS_MAX, NOTHING, State
from daycache_ray.storage.tags import TagCounts
from daycache_ray.storage.visited_page import VisitedPage
from daycache_ray.structures.tags import TAG_ROW, TAGGED
from daycache_ray.words.errors import StoreFormatError
from daycache_ray.words.records import HEADER_BYTES, Flag, Priority

Item = tuple[bytes, int, int]
"""Store key, epoch, LSN: exactly one version of an entry."""

_NUMBER: Final = struct.Struct(">Q")
_EXPIRY: Final = struct.Struct(">QQ")
_EXPIRY_ORDER: Final = struct.Struct("<QQ")
_VERSION: Final = struct.Struct("<QQ")
_EXPIRES_AT_OFFSET: Final = 16
_FLAGS_OFFSET: Final = 37
_LOW: Final = int(Priority.LOW)
_LSN_OFFSET: Final = 8
_LSN: Final = struct.Struct("<Q").unpack_from
_DIRTY: Final = int(Flag.DIRTY)
_OF_TAGS: Final = TAGGED | TAG_ROW


class Entries:
    """The visible records; every call takes the transaction it works in."""

    def __init__(self, environment: lmdb.Environment, state: State, large: LargeValues) -> None:
        self.data = environment.open_db(b"data")
        self.order = environment.open_db(b"order")
        self.expiry = environment.open_db(b"expiry")
        self.counts = environment.open_db(b"large")
        self.dirty = environment.open_db(b"dirty")
        self.tags = TagCounts(environment, self.data)
        self.others = (self.order, self.expiry, self.counts, self.dirty, self.tags.table)
        self._state = state
        self._large = large
        self.queues = Queues()
        self._numbers: dict[bytes, int] = {}

    def know(self, services: Collection[bytes]) -> None:
        """Give these services accounts of their own; what they write from now on stands in their own queues.

        Raises:
            StoreFormatError: the store has known too many services.
        """
        known = self._state.services
        known.extend(service for service in services if service not in known)
        if len(known) > ACCOUNTS_MAX:
            raise StoreFormatError(f"the store has accounts of {len(known)} services, {ACCOUNTS_MAX} at most: wipe it")
        self._numbers = {service: number for number, service in enumerate(known, 1)}

    def account_of(self, service: bytes) -> int:
        """Return a service's account; 0, which many share, where it has none."""
        return self._numbers.get(service, 0)

    def queue_of(self, key: bytes, priority: int) -> int:
        """Return the eviction queue for a store key: of its service's account, the first of two for low priority."""
        low = 1 if priority == _LOW else 0
        return self._numbers.get(key[3 : 3 + key[2]], 0) << 1 | low if self._numbers else low

    def replace(self, transaction: lmdb.Transaction[bytes], key: bytes, old: bytes | None, new: bytes | None) -> None:
        """Make `new` the visible record of `key` in place of `old`, which is what is visible now."""
        state = self._state
        flags = (old[_FLAGS_OFFSET] if old is not None else 0) | (new[_FLAGS_OFFSET] if new is not None else 0)
        if flags & _DIRTY:
            self._list_dirty(transaction, key, old, new)
        if flags & _OF_TAGS:
            if flags & TAG_ROW:
                self._replace_row(transaction, key, old, new)
                return
            if old is not None:
                self.tags.note_entry(transaction, key, old, -1)
            if new is not None:
                self.tags.note_entry(transaction, key, new, 1)
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
            self.queues.came(key, order)
        else:
            old_expires_at_ns, old_order = _EXPIRY_ORDER.unpack_from(old, _EXPIRES_AT_OFFSET)
            is_listed = old_order == order
            has_expiry = is_listed and old_expires_at_ns == expires_at_ns
            if not is_listed:
                transaction.delete(_NUMBER.pack(old_order), db=self.order)
                self.queues.went(old_order)
                self.queues.came(key, order)
            if old_expires_at_ns and not has_expiry:
                transaction.delete(_EXPIRY.pack(old_expires_at_ns, old_order), db=self.expiry)
        if not is_listed:
            transaction.put(_NUMBER.pack(order), key, db=self.order)
        if expires_at_ns and not has_expiry:
            transaction.put(_EXPIRY.pack(expires_at_ns, order), b"", db=self.expiry)
        is_same_size = old is not None and is_listed and len(old) == len(new)
        if old is not None and is_same_size and not (old[_FLAGS_OFFSET] | new[_FLAGS_OFFSET]) & LARGE:
            return  # costs what the old one did
        # Held before the old one is dropped: both may mean one file.
        self._charge(transaction, key, new)
        if old is not None:
            self._credit(transaction, key, old)

    def _replace_row(
        self, transaction: lmdb.Transaction[bytes], key: bytes, old: bytes | None, new: bytes | None
    ) -> None:
        """The same for the row of a tag: it stands in no order, for nothing but its own removal may take it."""
        self.tags.note_row(transaction, key, old, new)
        if new is None:
            transaction.delete(key, db=self.data)
        else:
            transaction.put(key, new, db=self.data)
            self._state.used_bytes += cost_bytes(key, new)
        if old is not None:
            self._state.used_bytes -= cost_bytes(key, old)

    def victims(
        self, transaction: lmdb.Transaction[bytes], visited: VisitedPage, asked: Asked, *, has_young: bool
    ) -> list[Item]:
        """Return entries to evict; see `queues.py`."""
        chosen = self.queues.victims(
            transaction, self.order, self.data, self._state, visited, asked, has_young=has_young
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
                if key is not None and record is not None and not record[_FLAGS_OFFSET] & _DIRTY:
                    found.append((key, *_VERSION.unpack_from(record)))
        return found

    def next_expiry_ns(self, transaction: lmdb.Transaction[bytes], after_ns: int = 0) -> int:
        """Return the earliest `expires_at_ns` above `after_ns`, 0 when nothing expires then."""
        with transaction.cursor(db=self.expiry) as cursor:
            return int(_EXPIRY.unpack(cursor.key())[0]) if cursor.set_range(_EXPIRY.pack(after_ns + 1, 0)) else 0

    def written_behind(
        self, transaction: lmdb.Transaction[bytes], after_lsn: int, through_lsn: int, count_max: int
    ) -> list[tuple[int, bytes, bytes]]:
        """Return (LSN, store key, record) of what is dirty in an interval of LSNs, the oldest first."""
        found: list[tuple[int, bytes, bytes]] = []
        with transaction.cursor(db=self.dirty) as cursor:
            if not cursor.set_range(_NUMBER.pack(after_lsn + 1)):
                return found
            for place, key in cursor.iternext():
                lsn = int.from_bytes(place, "big")
                if lsn > through_lsn or len(found) >= count_max:
                    break
                record = transaction.get(key, db=self.data)
                assert record is not None, "what is dirty is visible"
                found.append((lsn, key, record))
        return found

    def _list_dirty(
        self, transaction: lmdb.Transaction[bytes], key: bytes, old: bytes | None, new: bytes | None
    ) -> None:
        state = self._state
        if old is not None and old[_FLAGS_OFFSET] & _DIRTY:
            transaction.delete(_NUMBER.pack(_LSN(old, _LSN_OFFSET)[0]), db=self.dirty)
            state.dirty_count -= 1
            state.dirty_bytes -= cost_bytes(key, old)
        if new is not None and new[_FLAGS_OFFSET] & _DIRTY:
            transaction.put(_NUMBER.pack(_LSN(new, _LSN_OFFSET)[0]), key, db=self.dirty)
            state.dirty_count += 1
            state.dirty_bytes += cost_bytes(key, new)

    def take_over(self, other: Entries) -> None:
        """Go on evicting where `other`, of which this is a copy, stands."""
        self.queues, self._numbers = other.queues, other._numbers

    def _charge(self, transaction: lmdb.Transaction[bytes], key: bytes, record: bytes) -> None:
        cost = cost_bytes(key, record)
        self._state.used_bytes += cost
        if queue := record[QUEUE_OFFSET]:
            self._book(queue, cost, 1)
        if record[_FLAGS_OFFSET] & LARGE:
            reference = reference_of(record)
            self._large.hold(transaction, self.counts, reference)
            self._state.large_bytes += pages_bytes(reference.size_bytes)

    def _credit(self, transaction: lmdb.Transaction[bytes], key: bytes, record: bytes) -> None:
        cost = cost_bytes(key, record)
        self._state.used_bytes -= cost
        if queue := record[QUEUE_OFFSET]:
            self._book(queue, -cost, -1)
        if record[_FLAGS_OFFSET] & LARGE:
            reference = reference_of(record)
            self._large.drop(transaction, self.counts, reference)
            self._state.large_bytes -= pages_bytes(reference.size_bytes)

    def _book(self, queue: int, size_bytes: int, count: int) -> None:
        books = self._state.queues
        size_before, count_before = books.get(queue, NOTHING)
        if count_before + count:
            books[queue] = (size_before + size_bytes, count_before + count)
        else:
            del books[queue]

    def _unlist(self, transaction: lmdb.Transaction[bytes], key: bytes, record: bytes) -> None:
        expires_at_ns, order = _EXPIRY_ORDER.unpack_from(record, _EXPIRES_AT_OFFSET)
        transaction.delete(_NUMBER.pack(order), db=self.order)
        self.queues.went(order)
        if expires_at_ns:
            transaction.delete(_EXPIRY.pack(expires_at_ns, order), db=self.expiry)
        self._credit(transaction, key, record)


def places_of(record: bytes) -> tuple[bytes, bytes]:
    """Return a record's key in `order`, and its key in `expiry`, empty where it does not expire."""
    expires_at_ns, order = _EXPIRY_ORDER.unpack_from(record, _EXPIRES_AT_OFFSET)
    return _NUMBER.pack(order), _EXPIRY.pack(expires_at_ns, order) if expires_at_ns else b""


assert HEADER_BYTES == 40, "offsets above are those of words.records.HEADER"
