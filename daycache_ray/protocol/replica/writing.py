"""How a primary turns requests into records: checks, evaluation in log order, answers.

EVENTUAL writes are visible and answered at once, under the lease (R25); STRONG ones when they are
committed (R22). WEAK ones are EVENTUAL here: what makes them weak is that their client does not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daycache_ray.protocol.deduplication import Window
from daycache_ray.protocol.evaluation import NEEDS_PAYLOAD, Change, Visible, evaluate
from daycache_ray.protocol.replica.primary import NOT_PRIMARY, Primary
from daycache_ray.protocol.replica.state import ReplicaState
from daycache_ray.protocol.replica.tagging import TAG_KINDS, Tagging
from daycache_ray.structures.tags import TAGGED, is_row_key
from daycache_ray.words.effects import Answer, AnswerFill, Effect, Refuse
from daycache_ray.words.errors import CacheError
from daycache_ray.words.messages import Evict, Expired, OriginHas, Submit
from daycache_ray.words.operations import Level, Operation, OperationKind, OperationResult, Outcome
from daycache_ray.words.records import HEADER, HEADER_BYTES, PRIORITY_MASK, Flag, LogRecord, RecordKind
from daycache_ray.words.types import Instant

TOO_FEW = "fewer replicas in sync than min_in_sync: nothing was written, try again"
TOO_MUCH = "too many records wait for the other replicas: try again"
TOO_OLD = "the request is older than the answers that are kept: it may have happened"
DIRTY = int(Flag.DIRTY)
DONE, SET = int(Outcome.DONE), int(OperationKind.SET)
STRONG, HORIZON = int(Level.STRONG), int(RecordKind.HORIZON)


class Writing:
    """The writes of one replica's time as primary."""

    def __init__(self, primary: Primary) -> None:
        self.primary = primary
        self.state: ReplicaState = primary.state
        self.settings = primary.settings
        self.without = primary.without
        self.tagging = Tagging(self.state, primary.fills)
        self.handlers: dict[type, Callable[[Any, Instant, list[Effect]], None]] = {
            Evict: self._evict,
            Expired: self._expired,
            OriginHas: self._origin_has,
        }

    # ------------------------------------------------------------------ requests

    def submit(self, m: Submit, now: Instant, out: list[Effect]) -> None:
        """Append what the operations do, and answer them now or when they are committed."""
        state = self.state
        strong = m.level == STRONG
        if now.boot_ns >= state.lease_until_ns and not self.renewed(now, out):
            out.append(Refuse(m.token, "NotPrimaryError", NOT_PRIMARY))
            return
        if strong and len(self.primary.in_sync.agreed) < self.settings.strong_copies:
            out.append(Refuse(m.token, "NotEnoughReplicasError", TOO_FEW))
            return
        log = state.log
        behind = log.last_lsn - state.settled_lsn
        if behind > self.settings.uncommitted_records_max or (
            behind and log.kept_bytes > self.settings.uncommitted_bytes_max
        ):
            state.count("R25 too much not held")
            out.append(Refuse(m.token, "BackpressureError", TOO_MUCH))
            return
        window: Window | None = None
        if m.client:
            window = state.answers.window(m.client)
            if m.unanswered_sequence > window.floor:
                window.forget_below(m.unanswered_sequence)
            if m.first_sequence < window.floor and "R28" not in self.without:
                state.count("R28 too old")
                out.append(Refuse(m.token, "UnknownOutcomeError", TOO_OLD))
                return
        results, needed_lsn = self._append(m, window, strong, now, out)
        if strong and needed_lsn > state.commit_lsn and "R13" not in self.without:
            self.primary.waiting.park_write(needed_lsn, m.token, results)
        else:
            out.append(Answer(m.token, results))
        if strong:
            self.primary.ship_all(now, out)
        else:
            self.primary.ship_soon(now, out)

    def _append(
        self, m: Submit, window: Window | None, strong: bool, now: Instant, out: list[Effect]
    ) -> tuple[tuple[OperationResult, ...], int]:
        """Return the answers, and the LSN that must be committed before a STRONG one is given."""
        state = self.state
        lsn, sequence = state.log.last_lsn, m.first_sequence
        results: list[OperationResult] = []
        records: list[LogRecord] = []
        needed_lsn = 0
        wall_ns = max(now.wall_ns, state.logged_horizon_ns)
        # By the next operation of the same message, or by those that come before it is applied.
        is_seen_later = strong or len(m.operations) > 1
        for operation in m.operations:
            known = self._known(window, sequence) if window is not None and window.results else None
            if known is not None:
                needed_lsn = max(needed_lsn, known[0])
                result = known[1]
            else:
                record, result = self._evaluate(operation, m, sequence, lsn + 1, wall_ns)
                if is_seen_later and record is not None and record.key:
                    state.unapplied[operation.key] = record
                if record is not None:
                    lsn += 1
                    records.append(record)
                    if window is not None:
                        state.answers.note(window, sequence, lsn, result)
            results.append(result)
            sequence += 1
        if records:
            needed_lsn = lsn
            self.store(records, strong, now, out)
        return tuple(results), needed_lsn

    def store(self, records: list[LogRecord], strong: bool, now: Instant, out: list[Effect]) -> None:
        """Append, make visible what may be, void the fill leases of what was written."""
        state, primary = self.state, self.primary
        state.append_own(records, out)
        unapplied = state.unapplied
        if not strong and unapplied:
            # Applied now: what waits in the log for the same key is older, and R19 will skip it.
            for record in records:
                unapplied.pop(record.key, None)
        if not primary.in_sync.required:
            primary.advance(now, out)
        elif not strong:
            state.show(records, out)
            state.publish(out)
        if primary.fills.by_key and "R32" not in self.without:
            for record in records:
                if record.kind in (RecordKind.PUT, RecordKind.DELETE):
                    out.extend(AnswerFill(waiter.token, 0) for waiter in primary.fills.void(record.key))

    def _known(self, window: Window, sequence: int) -> tuple[int, OperationResult] | None:
        """Return the LSN and the answer of a request that was met before, settled or not (R15, R29)."""
        known = window.results.get(sequence)
        if known is None or "R15" in self.without:
            return None
        if known[0] > self.state.commit_lsn:
            self.state.count("R29 repeated in the tail")
            if "R29" in self.without:
                return None
        self.state.count("R15 repeated")
        return known

    def renewed(self, now: Instant, out: list[Effect]) -> bool:
        """A primary alone leases from itself; with others, time has run out (R25)."""
        if not self.primary.in_sync.required:
            self.primary.advance(now, out)
        return self.state.leased(now) or ("R25" in self.without and self.primary.reconciled)

    # ------------------------------------------------------------------ evaluation

    def _evaluate(
        self, operation: Operation, m: Submit, sequence: int, lsn: int, wall_ns: int
    ) -> tuple[LogRecord | None, OperationResult]:
        """Return the record that an operation appends at `lsn`, if it does, and its answer."""
        term = self.state.term
        strong = m.level == STRONG
        newest: Visible | None = None
        if operation.kind in TAG_KINDS:
            change = self.tagging.evaluate(operation, lsn, wall_ns)
        else:
            if operation.kind != SET:
                newest = self.newest(operation.key, needs_payload=operation.kind in NEEDS_PAYLOAD)
            change = evaluate(operation, newest, wall_ns, self.settings.writes_behind and not m.from_origin)
        if type(change) is Change:
            record = LogRecord(
                lsn, term, change.kind, operation.key, change.value, change.codec, change.flags,
                change.expires_at_ns, change.cost_us, 0, 0, m.client, sequence, strong, change.priority,
            )  # fmt: skip
            return record, OperationResult(DONE, term, lsn, change.number)
        assert isinstance(change, OperationResult)
        if not strong:
            return None, change
        # The condition did not hold: a record without key, so that a late first try is not applied after all (R29).
        record = LogRecord(
            lsn, term, HORIZON, codec=change.outcome, target_epoch=change.epoch, target_lsn=change.lsn,
            client=m.client, sequence=sequence, strong=True,
        )  # fmt: skip
        return record, change

    def newest(self, key: bytes, *, needs_payload: bool = False) -> Visible | None:
        """Return the newest entry of a key in log order: what waits in the log counts (R20)."""
        state = self.state
        record = state.unapplied.get(key)
        if record is not None and "R20" not in self.without:
            state.count("R20 evaluated in the log")
            if record.kind != RecordKind.PUT or 0 < record.expires_at_ns <= state.logged_horizon_ns:
                return None
            if record.flags & TAGGED and self.tagging.hides(key, record.lsn, record.flags, record.value, 0):
                return None
            return Visible(record.epoch, record.lsn, record.expires_at_ns, record.codec, record.flags, record.cost_us,
                           record.value, record.priority)  # fmt: skip
        stored = state.view.get(key)
        if stored is None:
            return None
        epoch, lsn, expires_at_ns, _, cost_us, codec, flags, reserved = HEADER.unpack_from(stored)
        if 0 < expires_at_ns <= state.logged_horizon_ns:
            return None
        if flags & TAGGED and self.tagging.hides(key, lsn, flags, stored, HEADER_BYTES):
            return None
        payload: bytes | None = None
        if needs_payload:
            try:
                payload = stored[HEADER_BYTES:] if not flags & Flag.LARGE else state.view.payload(key)
            except (CacheError, OSError):
                state.count("a value that cannot be read")  # One entry's trouble, not the replica's.
        return Visible(epoch, lsn, expires_at_ns, codec, flags, cost_us, payload, reserved & PRIORITY_MASK)

    # ------------------------------------------------------------------ removal, time

    def _remove(
        self, kind: RecordKind, m: Evict | Expired | OriginHas, cause: int, now: Instant, out: list[Effect]
    ) -> None:
        """Evict or expire exactly these versions, those that are still the newest of their key (R38)."""
        state = self.state
        if not state.leased(now):
            return
        records: list[LogRecord] = []
        lsn = state.log.last_lsn
        for key, target_epoch, target_lsn in m.items:
            stored = state.view.get(key)
            if stored is None or key in state.unapplied:
                continue
            epoch, found_lsn, expires_at_ns, _, _, _, flags, _ = HEADER.unpack_from(stored)
            if (kind == RecordKind.CLEAN) != bool(flags & DIRTY) and "W1" not in self.without:
                state.count("W1 dirty")
                continue
            if (epoch, found_lsn) != (target_epoch, target_lsn) and "R38" not in self.without:
                state.count("R38 other version")
                continue
            if is_row_key(key) and self.tagging.is_awaited(found_lsn):
                continue
            if kind == RecordKind.EXPIRE and not 0 < expires_at_ns <= state.logged_horizon_ns:
                continue
            lsn += 1
            records.append(
                LogRecord(lsn, state.term, kind, key, codec=cause, target_epoch=target_epoch, target_lsn=target_lsn)
            )
        if records:
            self.store(records, False, now, out)
            self.primary.ship_soon(now, out)

    def _evict(self, m: Evict, now: Instant, out: list[Effect]) -> None:
        self._remove(RecordKind.EVICT, m, m.cause, now, out)

    def _expired(self, m: Expired, now: Instant, out: list[Effect]) -> None:
        self._remove(RecordKind.EXPIRE, m, 0, now, out)

    def _origin_has(self, m: OriginHas, now: Instant, out: list[Effect]) -> None:
        self._remove(RecordKind.CLEAN, m, 0, now, out)

    def horizon_due_ns(self) -> int | None:
        """Return the boot time at which a horizon record is due; None when nothing can expire."""
        earliest = self.state.clock.next_ns()
        if earliest is None:
            return None
        wait = max(0, earliest - self.state.clock.horizon_ns)
        due = max(self.primary.horizon_at_ns, self.state.clock.boot_ns + wait)
        # Without a lease then, nothing is appended; the message that renews it asks again.
        return due if due < self.state.lease_until_ns else None

    def log_horizon(self, now: Instant, out: list[Effect]) -> None:
        """Append the horizon when something may have passed it (R24)."""
        state = self.state
        due = self.horizon_due_ns()
        if due is None or now.boot_ns < due:
            return
        self.primary.horizon_at_ns = now.boot_ns + self.settings.horizon_ns
        if not state.leased(now):
            return
        horizon = state.clock.advance(now)
        if horizon > state.logged_horizon_ns:
            lsn = state.log.last_lsn + 1
            record = LogRecord(lsn, state.term, RecordKind.HORIZON, expires_at_ns=horizon)
            state.append_own((record,), out)
            self.primary.advance(now, out)
            self.primary.ship_all(now, out)
