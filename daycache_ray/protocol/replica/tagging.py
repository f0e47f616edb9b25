"""Tags as a primary decides about them: what an invalidation answers, and what it hides from later operations.

An invalidation is one record, of the tag's row; like any other record it obeys levels, is replicated and can be undone.
Whoever shows an entry with tags looks at their rows too, so a STRONG read waits for the commit of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from daycache_ray.protocol.evaluation import Change
from daycache_ray.protocol.fills import Fill, FillLeases
from daycache_ray.protocol.replica.state import ReplicaState
from daycache_ray.structures.tags import TAG_ROW, TAGGED, TagRow, cover_of, is_row_key, row_in, rows_of
from daycache_ray.words.operations import Operation, OperationKind, OperationResult, Outcome
from daycache_ray.words.ports import StateView
from daycache_ray.words.records import HEADER, HEADER_BYTES, LogRecord, RecordKind

TAG_KINDS: Final = frozenset({int(OperationKind.INVALIDATE_TAG), int(OperationKind.EXPIRE_TAG)})
NOTHING: Final = OperationResult(Outcome.DONE)
_PUT: Final = int(RecordKind.PUT)


class Tagging:
    """The tags of one replica's time as primary."""

    def __init__(self, state: ReplicaState, fills: FillLeases) -> None:
        self._state = state
        self._fills = fills

    def row(self, key: bytes) -> bytes | None:
        """Return the newest row under a store key in log order, with or without header (R20)."""
        record = self._state.unapplied.get(key)
        if record is not None:
            return record.value if record.kind == _PUT else None
        return self._state.view.get(key)

    def hides(self, key: bytes, lsn: int, flags: int, payload: bytes, start: int) -> bool:
        """Whether invalidations, settled or not, hide an entry with Flag.TAGGED."""
        return cover_of(rows_of(key, flags, payload, start), lsn, self.row) is not None

    def evaluate(self, operation: Operation, lsn: int, wall_ns: int) -> Change | OperationResult:
        """Return the row that an invalidation at `lsn` writes, or the answer where no entry can have the tag."""
        key = operation.key
        count = self._fresh_count(key)
        stored = self.row(key)
        # An entry that the row may have to hide is here, hidden, in the log, or being loaded.
        if not (count or stored is not None or self._state.unapplied or self._fills.by_number):
            return NOTHING
        former = row_in(stored) if stored is not None else TagRow()
        if operation.kind == OperationKind.EXPIRE_TAG:
            row = TagRow(former.gone_lsn, lsn, wall_ns, count)
        else:
            row = TagRow(lsn, former.over_lsn, former.over_at_ns, count)
        self._fills.row_lsn = lsn
        return Change(_PUT, row.packed(), 0, TAG_ROW, 0, 0, count)

    def is_late(self, fill: Fill, operation: Operation) -> bool:
        """Whether a tag of what was loaded was invalidated after the right to load it was given."""
        if not operation.flags & TAGGED:
            return False
        rows = rows_of(operation.key, operation.flags, operation.value)
        return any(stored is not None and row_in(stored).covers(fill.row_lsn) for stored in map(self.row, rows))

    def is_awaited(self, lsn: int) -> bool:
        """Whether a row written at `lsn` must stay, because somebody loads who may have to be refused by it."""
        return self._fills.is_older(lsn)

    def _fresh_count(self, row_key: bytes) -> int:
        """Return how many entries have the tag and are not hidden by its row, those in the log counted."""
        state = self._state
        is_pending = row_key in state.unapplied
        count = 0 if is_pending else state.view.fresh_count(row_key)
        for key, record in state.unapplied.items():
            if is_row_key(key):
                continue
            count += self._has(row_key, key, record)
            if not is_pending:
                stored = state.view.get(key)
                if stored is not None:
                    header = HEADER.unpack_from(stored)
                    if header[6] & TAGGED and row_key in rows_of(key, header[6], stored, HEADER_BYTES):
                        count -= cover_of((row_key,), header[1], state.view.get) is None
        return count

    def _has(self, row_key: bytes, key: bytes, record: LogRecord) -> bool:
        if record.kind != _PUT or not record.flags & TAGGED:
            return False
        return (
            row_key in rows_of(key, record.flags, record.value) and cover_of((row_key,), record.lsn, self.row) is None
        )


def with_rows(view: StateView, keys: Iterable[bytes]) -> Iterator[bytes]:
    """Yield store keys, and those of the rows that what is visible under them depends on."""
    for key in keys:
        yield key
        stored = view.get(key)
        if stored is not None:
            flags = HEADER.unpack_from(stored)[6]
            if flags & TAGGED:
                yield from rows_of(key, flags, stored, HEADER_BYTES)


def needed_lsn(state: ReplicaState, keys: Iterable[bytes]) -> int:
    """Return the LSN that must be committed before a STRONG read of `keys` may be answered (R18)."""
    if state.commit_lsn < state.strong_floor_lsn:
        return state.strong_floor_lsn
    ahead = state.ahead
    return max((ahead.get(key, 0) for key in with_rows(state.view, keys)), default=0) if ahead else 0
