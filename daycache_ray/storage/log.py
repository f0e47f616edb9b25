"""The log of one generation: LSN -> record, contiguous from base_lsn + 1 to last_lsn.

An entry is `cost u64 | epoch u64 | large u8` and the record in msgpack. A large value is not there
twice: its record carries the reference of its file, and the entry counts as one that means the file.
Knows nothing of what is visible.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import lmdb
import msgspec

from daycache_ray.storage.large_values import LARGE, LargeValues, Reference, pages_bytes, prefix_bytes, read_file
from daycache_ray.storage.state import State
from daycache_ray.words.errors import CorruptRecordError
from daycache_ray.words.limits import INLINE_RECORD_BYTES_MAX, LOG_BYTES_KEPT, LOG_RECORDS_KEPT
from daycache_ray.words.records import HEADER_BYTES, LogRecord

_LSN: Final = struct.Struct(">Q")
_ENTRY: Final = struct.Struct("<QQB")
_ENTRY_COST_BYTES: Final = _ENTRY.size + 64
INLINE_VALUE_BYTES_MAX: Final = INLINE_RECORD_BYTES_MAX - HEADER_BYTES
_TRIM_RECORDS: Final = 256
_TRIM_PART: Final = 8
"""Trimming waits until a chunk has gathered: one record a turn would dirty another page every time."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(LogRecord).decode


class Log:
    """The log; every call takes the transaction it works in."""

    def __init__(self, environment: lmdb.Environment, state: State, large: LargeValues, limit_bytes: int) -> None:
        self.log = environment.open_db(b"log")
        self.counts = environment.open_db(b"large")
        self._state = state
        self._large = large
        # A log that is larger than the store helps nobody: copying the store is cheaper.
        self._bytes_kept = min(LOG_BYTES_KEPT, limit_bytes)

    def append(self, transaction: lmdb.Transaction[bytes], record: LogRecord) -> None:
        """Put a record at the end."""
        state = self._state
        lsn = record.lsn
        assert lsn == state.last_lsn + 1, f"LSN {lsn} does not follow {state.last_lsn}"
        is_large = len(record.value) > INLINE_VALUE_BYTES_MAX or record.flags & LARGE
        stored = self._stored_form(record) if is_large else record
        cost = len(stored.value) + len(stored.key) + _ENTRY_COST_BYTES
        large = stored.flags & LARGE
        if large:
            reference = reference_in(stored)
            self._large.hold(transaction, self.counts, reference)
            cost += pages_bytes(reference.size_bytes)
        entry = _ENTRY.pack(cost, record.epoch, large) + _encode(stored)
        transaction.put(_LSN.pack(lsn), entry, append=True, db=self.log)
        state.last_lsn = lsn
        state.last_epoch = record.epoch
        state.log_bytes += cost
        if record.epoch > state.epoch:
            state.epoch = record.epoch

    def stored_form(self, transaction: lmdb.Transaction[bytes], record: LogRecord) -> LogRecord:
        """Return the record as the store keeps it: with the reference of its file where its value is large."""
        if len(record.value) <= INLINE_VALUE_BYTES_MAX:
            return self._stored_form(record)
        there = self.read(transaction, record.lsn)
        if there is not None and there.epoch == record.epoch and there.flags & LARGE:
            return there
        return self._stored_form(record)

    def read(self, transaction: lmdb.Transaction[bytes], lsn: int) -> LogRecord | None:
        """Return the record at an LSN in its stored form, None when the log does not hold it."""
        entry = transaction.get(_LSN.pack(lsn), db=self.log)
        return None if entry is None else _decode(memoryview(entry)[_ENTRY.size :])

    def inline(self, transaction: lmdb.Transaction[bytes], above_lsn: int) -> Iterator[LogRecord]:
        """Yield the records above an LSN, oldest first, large values read from their files."""
        with transaction.cursor(db=self.log) as cursor:
            found = cursor.set_range(_LSN.pack(above_lsn + 1))
            while found:
                record = _decode(memoryview(cursor.value())[_ENTRY.size :])
                yield self._inline_form(record)
                found = cursor.next()

    def is_long(self) -> bool:
        """Whether `trim` has something to look at."""
        state = self._state
        return (
            state.last_lsn - state.base_lsn >= LOG_RECORDS_KEPT + _TRIM_RECORDS
            or state.log_bytes >= self._bytes_kept + self._bytes_kept // _TRIM_PART
        )

    def trim(self, transaction: lmdb.Transaction[bytes], keep_lsn: int) -> None:
        """Forget the oldest committed records beyond what is kept, none above `keep_lsn`."""
        state = self._state
        end_lsn = min(state.commit_lsn, keep_lsn)
        if end_lsn <= state.base_lsn or not self.is_long():
            return
        with transaction.cursor(db=self.log) as cursor:
            found = cursor.first()
            while (
                found
                and state.base_lsn < end_lsn
                and (state.last_lsn - state.base_lsn > LOG_RECORDS_KEPT or state.log_bytes > self._bytes_kept)
            ):
                state.base_lsn += 1
                assert _LSN.unpack(cursor.key())[0] == state.base_lsn, "the log has a gap"
                state.base_epoch = self._forget(transaction, cursor.value())
                found = cursor.delete()

    def truncate(self, transaction: lmdb.Transaction[bytes], lsn: int) -> None:
        """Forget everything after `lsn`, newest first."""
        state = self._state
        with transaction.cursor(db=self.log) as cursor:
            while state.last_lsn > lsn and cursor.last():
                assert _LSN.unpack(cursor.key())[0] == state.last_lsn, "the log has a gap"
                self._forget(transaction, cursor.value())
                cursor.delete()
                state.last_lsn -= 1
        state.last_epoch = self.epoch_at(transaction, lsn)

    def epoch_at(self, transaction: lmdb.Transaction[bytes], lsn: int) -> int:
        """Return the epoch of the record at an LSN: that of the base there, -1 where nothing is known."""
        if lsn == self._state.base_lsn:
            return self._state.base_epoch
        entry = transaction.get(_LSN.pack(lsn), db=self.log)
        return -1 if entry is None else int(_ENTRY.unpack_from(entry)[1])

    def _forget(self, transaction: lmdb.Transaction[bytes], entry: bytes) -> int:
        cost, epoch, large = _ENTRY.unpack_from(entry)
        self._state.log_bytes -= cost
        if large:
            self._large.drop(transaction, self.counts, reference_in(_decode(memoryview(entry)[_ENTRY.size :])))
        return int(epoch)

    def _stored_form(self, record: LogRecord) -> LogRecord:
        value = record.value
        if len(value) <= INLINE_VALUE_BYTES_MAX:
            # Nobody outside says which file is read: the flag is the store's own.
            if record.flags & LARGE:
                record = msgspec.structs.replace(record, flags=record.flags & ~LARGE)
            return record
        start = prefix_bytes(record.flags, value)
        reference = self._large.create(record.epoch, record.lsn, memoryview(value)[start:])
        return msgspec.structs.replace(record, value=value[:start] + reference.packed, flags=record.flags | LARGE)

    def _inline_form(self, record: LogRecord) -> LogRecord:
        if not record.flags & LARGE:
            return record
        start = prefix_bytes(record.flags, record.value)
        try:
            value = read_file(self._large.folder, reference_in(record))
        except FileNotFoundError as error:
            raise CorruptRecordError(f"the file of LSN {record.lsn} is gone: wipe the store") from error
        return msgspec.structs.replace(record, value=record.value[:start] + value, flags=record.flags & ~LARGE)


def reference_in(record: LogRecord) -> Reference:
    """Return the reference in a log record in its stored form."""
    return Reference(record.value[prefix_bytes(record.flags, record.value) :])


def unpack_entry(entry: bytes) -> tuple[int, int, int, LogRecord]:
    """Return cost, epoch, whether the value is a file, and the record in its stored form, of an entry of the log.

    Raises:
        struct.error, msgspec.MsgspecError: it is none.
    """
    cost, epoch, large = _ENTRY.unpack_from(entry)
    return cost, epoch, large, _decode(memoryview(entry)[_ENTRY.size :])
