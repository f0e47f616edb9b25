"""What every replica keeps, whatever its role: its log, what of it is visible, and what it answered.

Numbers that only rise within one life: `settled_lsn` (every member of the set holds it: it can never be
cut, everything up to it is visible; the rule book's `held`), and `commit_lsn` (settled with at least
min_in_sync members in the set: what acknowledges STRONG writes and what STRONG reads may see, R22, R23).
`applied_lsn` is the highest LSN that is visible; only a primary shows EVENTUAL records before they are
settled, and truncation undoes them (R21).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from daycache_ray.protocol.deduplication import AnswerTable
from daycache_ray.protocol.horizon import HorizonClock
from daycache_ray.protocol.log import Log
from daycache_ray.protocol.settings import ReplicaSettings
from daycache_ray.words.effects import Append, Apply, Commit, Effect, PublishFence, Truncate
from daycache_ray.words.ports import StateView
from daycache_ray.words.records import KEYLESS_KINDS, LogRecord, RecordKind, Recovered
from daycache_ray.words.types import Instant, Member, Role

UNPINNED: Final = 1 << 62
PINNED_FACTOR: Final = 16
"""A member that catches up may hold the log back to so many times what is kept, and each time that was
not enough to twice as much, up to the last factor."""
PINNED_FACTOR_MAX: Final = 64


class ReplicaState:
    """The part of a replica that survives a change of role."""

    def __init__(self, member: Member, settings: ReplicaSettings, recovered: Recovered, view: StateView) -> None:
        self.member = member
        self.settings = settings
        self.view = view
        self.without = settings.without
        self.role = Role.NONE
        self.term = 0
        self.log = Log(recovered.base_lsn, recovered.base_epoch, recovered.records)
        self.settled_lsn = max(recovered.commit_lsn, recovered.base_lsn)
        self.applied_lsn = max(recovered.applied_lsn, self.settled_lsn)
        # Whether enough members held what was settled is not known any more, unless one is enough.
        self.commit_lsn = self.settled_lsn if settings.strong_copies == 1 else 0
        # Until the commit is known again, a STRONG read cannot tell what of the store is committed.
        self.strong_floor_lsn = self.settled_lsn
        self.horizon_ns = self.settled_horizon_ns = self.logged_horizon_ns = recovered.horizon_ns
        self.lease_until_ns = 0
        self.fresh_ns = 0
        """As a secondary: everything acknowledged up to this moment of the own boot clock is visible."""
        self.answers = AnswerTable()
        self.clock = HorizonClock()
        self.ahead: dict[bytes, int] = {}
        """Highest visible LSN above the commit, by key."""
        self.unapplied: dict[bytes, LogRecord] = {}
        """On a primary: newest record of a key that is not visible yet."""
        self.pinned_lsn = UNPINNED
        """Records after it stay, because a member that catches up still needs them."""
        self.pinned_factor = PINNED_FACTOR
        self.skipped: dict[bytes, LogRecord] = {}
        """Settled records that a newer, unsettled one of their key hides; needed if that one is cut."""
        self.counts: dict[str, int] = {}
        """How often each rare branch of a rule was taken."""
        for record in recovered.records:
            self._note(record)
            if self.settled_lsn < record.lsn <= self.applied_lsn and not record.strong and record.key:
                self.ahead[record.key] = record.lsn
        for record in recovered.records if self.ahead else ():
            if record.lsn <= self.settled_lsn and record.key in self.ahead:
                self.skipped[record.key] = record

    def count(self, branch: str) -> None:
        """Note that a branch of a rule was taken."""
        self.counts[branch] = self.counts.get(branch, 0) + 1

    def _note(self, record: LogRecord) -> None:
        if record.client:
            self.answers.note_record(record)
        if record.expires_at_ns:
            if record.kind == RecordKind.HORIZON:
                self._log_horizon(record.expires_at_ns)
            else:
                self.clock.note(record.expires_at_ns)

    def _log_horizon(self, horizon_ns: int) -> None:
        if horizon_ns > self.logged_horizon_ns:
            self.logged_horizon_ns = horizon_ns
            self.clock.passed(horizon_ns)

    def append_own(self, records: Sequence[LogRecord], out: list[Effect]) -> None:
        """Append records of this primary; it has noted the answers itself."""
        append = self.log.append
        for record in records:
            append(record)
            if record.expires_at_ns:
                if record.kind == RecordKind.HORIZON:
                    self._log_horizon(record.expires_at_ns)
                else:
                    self.clock.note(record.expires_at_ns)
        out.append(Append(tuple(records)))

    def append_received(self, records: tuple[LogRecord, ...], out: list[Effect]) -> None:
        """Append records of another primary."""
        for record in records:
            self.log.append(record)
            self._note(record)
        out.append(Append(records))

    def show(self, records: Sequence[LogRecord], out: list[Effect]) -> None:
        """Make own EVENTUAL records visible before they are settled, with what undoes it."""
        ahead = self.ahead
        for record in records:
            ahead[record.key] = record.lsn
        self.applied_lsn = self.log.last_lsn
        out.append(Apply(tuple(records), True))

    def settle(self, lsn: int, copies: int, out: list[Effect]) -> bool:
        """Every member of the set, `copies` in number, holds `lsn`; True when a number rose."""
        assert lsn <= self.log.last_lsn
        rose = lsn > self.settled_lsn
        commits = copies >= self.settings.strong_copies or "R22" in self.without
        if rose:
            self._apply_up_to(lsn, out, commits)
            self.settled_lsn = lsn
            if lsn > self.applied_lsn:
                self.applied_lsn = lsn
        if commits and self.settled_lsn > self.commit_lsn:
            self._commit(self.settled_lsn)
            rose = True
        if rose:
            self._trim(out)
        return rose

    def settle_as_told(self, commit_lsn: int, match_lsn: int, out: list[Effect]) -> bool:
        """The primary says what is committed; this log holds its log up to `match_lsn`."""
        lsn = min(commit_lsn, match_lsn)
        rose = lsn > self.settled_lsn
        if rose:
            self._apply_up_to(lsn, out, True)
            self.settled_lsn = lsn
            self.applied_lsn = max(self.applied_lsn, lsn)
        if lsn > self.commit_lsn:
            self._commit(lsn)
            rose = True
        if rose:
            self._trim(out)
        return rose

    def _trim(self, out: list[Effect]) -> None:
        log, settings = self.log, self.settings
        up_to = self.settled_lsn
        if self.pinned_lsn < up_to:
            factor = self.pinned_factor
            few = len(log.records) < factor * settings.log_records_kept
            if few and log.kept_bytes < factor * settings.log_bytes_kept:
                up_to = self.pinned_lsn
        log.trim(up_to, settings.log_records_kept, settings.log_bytes_kept)
        out.append(Commit(self.settled_lsn, self.term, self.settled_horizon_ns, log.base_lsn))

    def _apply_up_to(self, lsn: int, out: list[Effect], commits: bool) -> None:
        """Apply what of (settled, lsn] is not visible yet; per key the highest LSN wins (R19)."""
        visible: list[LogRecord] = []
        ahead, unapplied, applied_lsn = self.ahead, self.unapplied, self.applied_lsn
        key_order = "R19" not in self.without
        for record in self.log.after(self.settled_lsn, lsn):
            if record.kind in KEYLESS_KINDS:
                if record.kind == RecordKind.HORIZON:
                    self.settled_horizon_ns = max(self.settled_horizon_ns, record.expires_at_ns)
                continue
            key = record.key
            if not record.strong and record.lsn <= applied_lsn:
                if self.skipped:
                    self.skipped.pop(key, None)
                continue
            if unapplied and unapplied.get(key) is record:
                del unapplied[key]
            if ahead and ahead.get(key, 0) > record.lsn and key_order:
                self.count("R19 older record not shown")
                self.skipped[key] = record
                continue
            visible.append(record)
        if visible:
            out.append(Apply(tuple(visible), False))
            if not commits:
                for record in visible:
                    if record.lsn > ahead.get(record.key, 0):
                        ahead[record.key] = record.lsn

    def _commit(self, lsn: int) -> None:
        """Everything up to `lsn` is committed: nothing up to it is ahead any more."""
        ahead = self.ahead
        if ahead:
            log = self.log
            if self.commit_lsn >= log.base_lsn and lsn - self.commit_lsn <= len(ahead):
                for record in log.after(self.commit_lsn, lsn):
                    if ahead.get(record.key) == record.lsn:
                        del ahead[record.key]
            else:
                self.ahead = {key: shown for key, shown in ahead.items() if shown > lsn}
        self.commit_lsn = lsn
        if lsn >= self.settled_lsn:
            self.horizon_ns = self.settled_horizon_ns

    def cut(self, lsn: int, out: list[Effect]) -> None:
        """Drop the log after `lsn`, and undo what of it was visible (R21)."""
        assert lsn >= self.settled_lsn, "what is settled is never cut"
        dropped = self.log.truncate(lsn)
        self.answers.forget_records(dropped)
        if self.applied_lsn > lsn:
            self.count("R21 undone")
            gone = {record.key for record in dropped}
            for key in gone:
                self.ahead.pop(key, None)
            for record in self.log.after(self.commit_lsn, lsn):
                if record.key in gone and (record.lsn <= self.settled_lsn or not record.strong):
                    self.ahead[record.key] = record.lsn
            self.applied_lsn = lsn
        self.logged_horizon_ns = self.settled_horizon_ns
        for record in self.log.after(self.settled_lsn, lsn):
            if record.kind == RecordKind.HORIZON:
                self.logged_horizon_ns = max(self.logged_horizon_ns, record.expires_at_ns)
        out.append(Truncate(lsn))
        hidden = tuple(self.skipped.pop(record.key) for record in dropped if record.key in self.skipped)
        if hidden:
            self.count("R19 hidden record shown again")
            out.append(Apply(hidden, False))

    def become_copy(self, base_lsn: int, base_epoch: int, horizon_ns: int, visible_lsn: int) -> None:
        """The store is a copy now: it shows all up to `base_lsn` and maybe something up to `visible_lsn`."""
        self.log.reset(base_lsn, base_epoch)
        self.settled_lsn = self.applied_lsn = base_lsn
        self.commit_lsn = min(self.commit_lsn, base_lsn)
        self.strong_floor_lsn = max(base_lsn, visible_lsn)
        self.fresh_ns = 0
        self.settled_horizon_ns = self.logged_horizon_ns = max(self.logged_horizon_ns, horizon_ns)
        self.ahead.clear()
        self.skipped.clear()
        self.unapplied.clear()

    def publish(self, out: list[Effect]) -> None:
        """Show readers the present numbers."""
        out.append(
            PublishFence(
                self.term,
                int(self.role),
                self.member.incarnation,
                self.lease_until_ns,
                self.commit_lsn,
                self.applied_lsn,
                self.horizon_ns,
                self.fresh_ns,
            )
        )

    def contains(self, epoch: int, lsn: int) -> bool:
        """Whether the point (epoch, lsn) of a session is part of what is visible here (R26).

        The token is a write's version, or the term and the applied LSN of the replica that answered.
        """
        if lsn > self.applied_lsn:
            return False
        if lsn == 0 or epoch == self.term or self.log.epoch_of(lsn) == epoch:
            return True
        self.count("R26 another epoch")
        return "R26" in self.without

    def leased(self, now: Instant) -> bool:
        """Whether this replica may answer alone at `now`."""
        return now.boot_ns < self.lease_until_ns
