"""The rights to load a key, and to write its origin, as a primary gives them out; see `protocol/fills.py`.

W1: a value that came from the origin never replaces one that the origin has not got. W2: where a writer ended
without an outcome nobody knows what the origin has, so the entry goes. Refuses to know logs and sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daycache_ray.protocol.replica.primary import NOT_PRIMARY
from daycache_ray.protocol.replica.writing import DIRTY, Writing
from daycache_ray.words.effects import Answer, AnswerFill, Effect, Refuse
from daycache_ray.words.messages import ConnectionClosed, FillAsked, FillFailed, FillStored, Submit
from daycache_ray.words.operations import OperationResult, Outcome
from daycache_ray.words.records import HEADER, LogRecord, RecordKind
from daycache_ray.words.types import Instant


class Filling:
    """The fill and write rights of one replica's time as primary."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._primary = writing.primary
        self._state = writing.state
        self.handlers: dict[type, Callable[[Any, Instant, list[Effect]], None]] = {
            FillAsked: self._fill_asked,
            FillStored: self._fill_stored,
            FillFailed: self._fill_failed,
            ConnectionClosed: self._connection_closed,
        }

    def _fill_asked(self, m: FillAsked, now: Instant, out: list[Effect]) -> None:
        """Grant the right to load, let the asker wait for it, or tell it to read again."""
        if not self._state.leased(now) and not self._writing.renewed(now, out):
            out.append(Refuse(m.token, "NotPrimaryError", NOT_PRIMARY))
            return
        newest = self._writing.newest(m.key)
        if newest is not None and not (m.refresh or m.write) and not 0 < newest.expires_at_ns <= now.wall_ns:
            out.append(AnswerFill(m.token, 0))
            return
        fills = self._primary.fills
        if m.write:
            # What a loader got before this write is old when it comes.
            out.extend(AnswerFill(waiter.token, 0) for waiter in fills.void_load(m.key))
        number = fills.ask(m.token, m.connection, m.key, m.deadline_ns, m.wait, m.write)
        if number is not None:
            out.append(AnswerFill(m.token, number))

    def _fill_stored(self, m: FillStored, now: Instant, out: list[Effect]) -> None:
        """Store what was loaded if the right is still valid; its waiters read again (R32)."""
        fills = self._primary.fills
        fill = fills.by_number.get(m.number)
        valid = fill is not None and fill.key == m.operation.key and fill.deadline_ns > now.boot_ns
        if fill is not None and valid and self._is_dirty(m.operation.key) and "W1" not in self._state.without:
            # The origin has not got what is there: a value that came from it is older (W1).
            self._state.count("W1 fill of a dirty key")
            fills.end(m.number)
            out.extend(AnswerFill(waiter.token, 0) for waiter in fill.waiters)
            valid = False
        if fill is not None and valid and not fill.is_write and self._writing.tagging.is_late(fill, m.operation):
            # As if the key had been deleted: what was loaded may be what the invalidation was about.
            valid = False
            out.extend(AnswerFill(waiter.token, 0) for waiter in fills.void(m.operation.key))
        window = self._state.answers.clients.get(m.client)
        repeated = window is not None and m.sequence in window.results
        if not valid and not repeated and "R32" not in self._state.without:
            self._state.count("R32 void")
            out.append(Answer(m.token, (OperationResult(Outcome.VOID),)))
            return
        if valid:
            fills.end(m.number)
        self._writing.submit(Submit(m.token, (m.operation,), m.level, m.client, m.sequence, 0, True), now, out)
        if fill is not None and valid:
            out.extend(AnswerFill(waiter.token, 0) for waiter in fill.waiters)

    def _fill_failed(self, m: FillFailed, now: Instant, out: list[Effect]) -> None:
        """Tell the waiters; the next asker may try."""
        fill = self._primary.fills.end(m.number)
        if fill is not None:
            error = "" if fill.is_write else m.message
            out.extend(AnswerFill(waiter.token, 0, error) for waiter in fill.waiters)
        out.append(AnswerFill(m.token, 0))

    def _connection_closed(self, m: ConnectionClosed, now: Instant, out: list[Effect]) -> None:
        heirs = self._primary.fills.close(m.connection, now.boot_ns)
        self._forget_abandoned(now, out)
        out.extend(AnswerFill(waiter.token, number) for waiter, number in heirs)

    def expire_fills(self, now: Instant, out: list[Effect]) -> None:
        """Hand on what loaders did not bring in time."""
        if self._primary.fills.by_number:
            heirs = self._primary.fills.expire(now.boot_ns)
            self._forget_abandoned(now, out)
            out.extend(AnswerFill(waiter.token, number) for waiter, number in heirs)

    def _is_dirty(self, key: bytes) -> bool:
        """Whether the newest version of a key, over or not, has not reached the origin."""
        if not self._state.settings.writes_behind:
            return False
        record = self._state.unapplied.get(key)
        if record is not None:
            return bool(record.flags & DIRTY)
        stored = self._state.view.get(key)
        return stored is not None and bool(HEADER.unpack_from(stored)[6] & DIRTY)

    def _forget_abandoned(self, now: Instant, out: list[Effect]) -> None:
        """Remove what somebody wrote to the origin, or not: nobody knows which value it has (W2)."""
        state, keys = self._state, self._primary.fills.take_abandoned()
        if not keys or not state.leased(now) or "W2" in self._state.without:
            return
        records: list[LogRecord] = []
        for key in keys:
            if key in state.unapplied or state.view.get(key) is not None:
                lsn = state.log.last_lsn + 1 + len(records)
                records.append(LogRecord(lsn, state.term, RecordKind.DELETE, key))
        if records:
            state.count("W2 abandoned write")
            self._writing.store(records, False, now, out)
            self._primary.ship_soon(now, out)
