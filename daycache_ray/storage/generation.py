"""One generation of a store: an LMDB environment, and the turn that is open in it.

Composes entries, log and before-images into what the store effects mean. A turn is one write
transaction; its counters are kept in memory and written once, at its end. When a turn fails everything
is as it was before.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection
from typing import Any

import lmdb
import msgspec

from daycache_ray.storage.before_images import BeforeImages
from daycache_ray.storage.cleaning import cleaned
from daycache_ray.storage.entries import Entries
from daycache_ray.storage.environments import open_owned
from daycache_ray.storage.hands import QUEUE_OFFSET, QUEUE_SHIFT
from daycache_ray.storage.large_values import LARGE, LargeValues
from daycache_ray.storage.log import INLINE_VALUE_BYTES_MAX, Log
from daycache_ray.storage.reader_lag import reader_lag
from daycache_ray.storage.space import PUT_PAGES, REMOVAL_PAGES, AllocatedSpace
from daycache_ray.storage.state import STATE_KEY, State, assign_state, copy_of, pack_state, unpack_state
from daycache_ray.structures.removal_ledger import RemovalLedger
from daycache_ray.structures.tags import TAG_ROW
from daycache_ray.words.effects import Commit, FinishCopy
from daycache_ray.words.errors import StoreFormatError
from daycache_ray.words.limits import INLINE_RECORD_BYTES_MAX, KEY_BYTES_MAX, LOG_BYTES_KEPT, TAGS_BYTES_MAX
from daycache_ray.words.records import HEADER, HEADER_BYTES, PRIORITY_MASK, LogRecord, RecordKind
from daycache_ray.words.removals import LOST

_PACK_HEADER = HEADER.pack
_U64 = struct.Struct("<Q").unpack_from
_LSN_OFFSET = 8
_ORDER_OFFSET = 24
_VERSION_BYTES = 16

_PUT = int(RecordKind.PUT)
_DELETE = int(RecordKind.DELETE)
_PAGES_PER_LOG_ENTRY = 2
_ENTRY_BYTES = 160
"""What LMDB and the orders, or msgpack and LMDB, add to a record."""
_REFERENCE_RECORD_BYTES_MAX = INLINE_RECORD_BYTES_MAX + KEY_BYTES_MAX + TAGS_BYTES_MAX
"""No more than a page's worth, a full key and tags stands in the trees; what is larger is in a file."""
_READER_CHECK_RECORDS = 64
"""A dead reader pins pages until it is noticed, which costs up to 10 us: look once for so many records."""
_MAP_FACTOR = 4
_MAP_EXTRA_BYTES = 128 * 1024 * 1024


def map_bytes_for(limit_bytes: int) -> int:
    """Return the address space of a store: far more than it may use, for the budget is the shell's to keep."""
    return _MAP_FACTOR * (limit_bytes + LOG_BYTES_KEPT) + _MAP_EXTRA_BYTES


class Generation:
    """An open generation; `transaction` is that of the open turn, or None."""

    def __init__(self, path: str, number: int, limit_bytes: int, large: LargeValues, map_bytes: int = 0) -> None:
        """Open the generation in the folder `path`, or make an empty, incomplete one.

        Raises:
            StoreFormatError: what stands there is none of ours.
            OSError, lmdb.Error: ENOSPC and the like.
        """
        self.path = path
        self.number = number
        self.large = large
        self._opened = open_owned(path, map_bytes or map_bytes_for(limit_bytes))
        self.environment = self._opened.environment
        self._space = AllocatedSpace(os.path.join(path, "data.mdb"), limit_bytes, self._last_page, self._free_pages)
        self.state = State()
        self.transaction: lmdb.Transaction[bytes] | None = None
        try:
            self._space.begin_turn()
            # As for a removal: a store that filled the memory must be opened to be emptied.
            self._space.expect(0, 0, is_removal=True)
            self.entries = Entries(self.environment, self.state, large)
            self.log = Log(self.environment, self.state, large, limit_bytes)
            self.images = BeforeImages(self.environment, large)
            self.data: Any = self.entries.data
            with self.environment.begin() as transaction:
                stored = transaction.get(STATE_KEY)
                if stored is not None:
                    assign_state(self.state, unpack_state(stored))
                self.images.load(transaction)
        except msgspec.MsgspecError as error:
            self.close()
            raise StoreFormatError(f"{path}: its state is broken ({error}): wipe the store") from error
        except BaseException:
            self.close()
            raise
        self.removals = RemovalLedger()
        self._before: State = self.state
        self._keep_lsn: int | None = None
        self._unchecked_records = 0

    def begin(self) -> lmdb.Transaction[bytes]:
        """Open the turn's transaction, unless it is open."""
        transaction = self.transaction
        if transaction is None:
            self._before = copy_of(self.state)
            self._keep_lsn = None
            if self._unchecked_records >= _READER_CHECK_RECORDS:
                self.environment.reader_check()
                self._unchecked_records = 0
            self._space.begin_turn()
            transaction = self.transaction = self.environment.begin(write=True)
        return transaction

    def append(self, records: Collection[LogRecord]) -> None:
        """Put records at the end of the log."""
        transaction = self.transaction or self.begin()
        self._expect(records, is_logged=True)
        append = self.log.append
        for record in records:
            append(transaction, record)

    def apply(self, records: Collection[LogRecord], undoable: bool) -> None:
        """Make records visible, each where its LSN is the highest its key has seen."""
        transaction = self.transaction or self.begin()
        self._expect(records, is_logged=False)
        state = self.state
        highest_lsn = 0
        for record in records:
            if record.key:
                self._apply(transaction, record, undoable)
            if record.lsn > highest_lsn:
                highest_lsn = record.lsn
        if highest_lsn > state.applied_lsn:
            state.applied_lsn = highest_lsn
        if not undoable and highest_lsn > state.final_lsn:
            state.final_lsn = highest_lsn

    def truncate(self, lsn: int) -> None:
        """Cut the log after `lsn` and put back what its applied records replaced, newest first."""
        state = self.state
        assert lsn >= state.commit_lsn, f"LSN {state.commit_lsn} is committed and cannot be cut at {lsn}"
        transaction = self.begin()
        count = len(self.images) + max(0, state.last_lsn - lsn)
        self._space.expect(PUT_PAGES * count, 0, is_removal=True)
        while (newest := self.images.newest_above(lsn)) is not None:
            undone_lsn, key = newest
            visible = transaction.get(key, db=self.data)
            image = self.images.image(transaction, undone_lsn)
            if visible != image:
                self.entries.replace(transaction, key, visible, image)
                if visible is not None and (image is None or visible[:_VERSION_BYTES] != image[:_VERSION_BYTES]):
                    self.removals.note(LOST, key, visible)
            self.images.drop(transaction, undone_lsn)
        if lsn < state.last_lsn:
            self.log.truncate(transaction, lsn)
        state.applied_lsn = max(state.final_lsn, self.images.newest_lsn())

    def commit_through(self, commit: Commit) -> None:
        """Note how far the log is final; what follows from it is done at the turn's end."""
        if self.transaction is None:
            self.begin()
        state = self.state
        if commit.lsn > state.commit_lsn:
            state.commit_lsn = commit.lsn
        if commit.epoch > state.epoch:
            state.epoch = commit.epoch
        if commit.horizon_ns > state.horizon_ns:
            state.horizon_ns = commit.horizon_ns
        # A record with a lower LSN may still follow in this turn, and must find what hides it: not dropped yet.
        self._keep_lsn = commit.keep_lsn

    def load(self, items: Collection[tuple[bytes, bytes]]) -> None:
        """Put copied records with inline payload among the visible ones."""
        transaction = self.begin()
        added = sum(min(len(record), _REFERENCE_RECORD_BYTES_MAX) + 2 * len(key) for key, record in items)
        self._space.expect(PUT_PAGES * len(items), added + _ENTRY_BYTES * len(items), is_removal=False)
        for key, record in items:
            epoch, lsn, expires_at_ns, _, cost_us, codec, flags, reserved = HEADER.unpack_from(record)
            copied = LogRecord(
                lsn, epoch, _PUT, key, record[HEADER_BYTES:], codec, flags & ~LARGE, expires_at_ns, cost_us,
                priority=reserved & PRIORITY_MASK,
            )  # fmt: skip
            old = transaction.get(key, db=self.data)
            stored = self.log.stored_form(transaction, copied)
            self.entries.replace(transaction, key, old, self._result(stored, old))

    def begin_copying(self, pages_touched: int, bytes_added: int) -> lmdb.Transaction[bytes]:
        """Open a turn whose caller writes into the tables itself, and make sure of memory for it."""
        transaction = self.begin()
        self._space.expect(pages_touched, bytes_added, is_removal=False)
        return transaction

    def finish_copy(self, copy: FinishCopy) -> None:
        """The copy is whole: its log begins after `base_lsn`."""
        self.begin()
        state = self.state
        state.is_complete = True
        state.epoch = max(state.epoch, copy.base_epoch)
        state.horizon_ns = copy.horizon_ns
        state.base_lsn = state.last_lsn = state.commit_lsn = state.applied_lsn = state.final_lsn = copy.base_lsn
        state.base_epoch = state.last_epoch = copy.base_epoch

    def end_turn(self) -> None:
        """Commit the transaction: all of the turn, or an exception and nothing."""
        transaction = self.transaction
        if transaction is None:
            return
        state = self.state
        freed = 0
        if self._keep_lsn is not None:
            images = self.images
            freed = len(images) - state.base_lsn
            if images.lsns:
                state.final_lsn = max(state.final_lsn, images.drop_through(transaction, state.commit_lsn))
            if self.log.is_long():
                self.log.trim(transaction, self._keep_lsn)
            freed += state.base_lsn - len(images)
        if self.images.fresh:
            self.images.write(transaction)
        transaction.put(STATE_KEY, pack_state(state))
        self._unchecked_records += max(1, state.last_lsn - self._before.last_lsn)
        transaction_id = transaction.id()
        transaction.commit()
        self.transaction = None
        self._space.end_turn(transaction_id, _PAGES_PER_LOG_ENTRY * freed)
        self.large.settle()

    def abort(self) -> None:
        """Forget the turn: records, counters, files."""
        transaction = self.transaction
        if transaction is None:
            return
        self.transaction = None
        # A commit that failed has ended the transaction already; then this does nothing.
        transaction.abort()
        assign_state(self.state, self._before)
        self.large.forget()
        with self.environment.begin() as reading:
            self.images.load(reading)

    def pages(self) -> tuple[int, int]:
        """Return how many pages hold something, and how many are free, as of the last commit."""
        last_page = int(self.environment.info()["last_pgno"])
        free = self._free_pages(last_page)[0]
        return last_page + 1 - free, free

    def pinned_pages_max(self) -> int:
        """Return how many freed pages cannot be used again at most, because of the oldest reader."""
        return self._space.pinned_pages_max(*self._free_pages(int(self.environment.info()["last_pgno"])))

    def remove_unmeant_files(self) -> None:
        """Remove large values of aborted turns and of other generations."""
        with self.environment.begin() as transaction:
            self.large.remove_unmeant(transaction, self.entries.counts)

    def close(self) -> None:
        """Close the files; an open turn is forgotten."""
        if self.transaction is not None:
            self.transaction.abort()
            self.transaction = None
            self.large.forget()
        self._space.close()
        self._opened.release()

    def _apply(self, transaction: lmdb.Transaction[bytes], record: LogRecord, undoable: bool) -> None:
        key = record.key
        lsn = record.lsn
        chain = self.images.chains.get(key)
        if chain is not None and chain[-1] >= lsn:
            if lsn not in chain:
                self._apply_below(transaction, record, undoable, chain)
            return
        visible = transaction.get(key, db=self.data)
        if visible is not None and _U64(visible, _LSN_OFFSET)[0] >= lsn:
            return
        is_large = len(record.value) > INLINE_VALUE_BYTES_MAX or record.flags & LARGE
        result = self._result(self.log.stored_form(transaction, record) if is_large else record, visible)
        if undoable:
            self.images.note(transaction, lsn, key, visible)
        if result is not visible:
            self.entries.replace(transaction, key, visible, result)
            if record.flags & TAG_ROW:
                self.entries.tags.note_later(transaction, key, self.images.chains, lsn)
            elif visible is not None:
                self.removals.note_applied(record, key, visible, self.state.horizon_ns)

    def _apply_below(
        self, transaction: lmdb.Transaction[bytes], record: LogRecord, undoable: bool, chain: list[int]
    ) -> None:
        """Apply a record under uncommitted ones: change what they would put back, and what they make of it."""
        lsn = record.lsn
        later = [other for other in chain if other > lsn]
        image = self.images.image(transaction, later[0])
        if image is not None and _U64(image, _LSN_OFFSET)[0] >= lsn:
            return
        result = self._result(self.log.stored_form(transaction, record), image)
        if undoable:
            self.images.note(transaction, lsn, record.key, image)
        for other in later:
            again = self.log.read(transaction, other)
            assert again is not None, f"LSN {other} is applied, uncommitted and not in the log"
            self.images.change(transaction, other, result)
            result = self._result(again, result)
        visible = transaction.get(record.key, db=self.data)
        if visible != result:
            self.entries.replace(transaction, record.key, visible, result)

    def _result(self, stored: LogRecord, image: bytes | None) -> bytes | None:
        """Return what a record, in its stored form, makes of the visible record that its key had."""
        kind = stored.kind
        if kind == _PUT:
            priority = stored.priority & PRIORITY_MASK
            queue = self.entries.queue_of(stored.key, priority)
            if image is not None and image[QUEUE_OFFSET] == queue:
                order = _U64(image, _ORDER_OFFSET)[0]
            else:
                order = queue << QUEUE_SHIFT | self.state.next_order
                self.state.next_order += 1
            header = _PACK_HEADER(stored.epoch, stored.lsn, stored.expires_at_ns, order, stored.cost_us,
                                  stored.codec, stored.flags, priority)  # fmt: skip
            return header + stored.value
        if image is None or kind == _DELETE:
            return None
        is_target = _U64(image, 0)[0] == stored.target_epoch and _U64(image, _LSN_OFFSET)[0] == stored.target_lsn
        return image if not is_target else cleaned(image) if kind == RecordKind.CLEAN else None

    def _last_page(self) -> int:
        return int(self.environment.info()["last_pgno"])

    def _free_pages(self, last_page: int) -> tuple[int, int]:
        """Count free pages as of the last commit; see AllocatedSpace."""
        used = 2
        with self.environment.begin() as reading:
            for database in (None, self.data, *self.entries.others, self.log.log, self.images.undo):
                about = reading.stat(database)
                used += about["branch_pages"] + about["leaf_pages"] + about["overflow_pages"]
        return last_page + 1 - used, reader_lag(self.environment).transaction_id

    def _expect(self, records: Collection[LogRecord], is_logged: bool) -> None:
        """Make sure of memory for records that are appended to the log, or made visible."""
        added = _ENTRY_BYTES * len(records)
        is_removal = True
        for record in records:
            if record.kind == _PUT:
                is_removal = False
            size = len(record.value)
            added += (size if size < _REFERENCE_RECORD_BYTES_MAX else _REFERENCE_RECORD_BYTES_MAX) + 2 * len(record.key)
        pages = 0 if is_logged else (REMOVAL_PAGES if is_removal else PUT_PAGES) * len(records)
        self._space.expect(pages, added, is_removal)
