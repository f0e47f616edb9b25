"""One replica of one shard, as a machine: messages and time go in, ordered effects come out.

Theory of operation. The coordinator says who is primary (`Configure`). The primary appends, makes
EVENTUAL writes visible at once and STRONG ones when every member of the in-sync set, and of a growth on
its way, holds them. Acknowledgements grant it the lease under which it answers alone. A secondary takes
the log, shows what is committed, and proposes itself when its grace ran out. Which race each rule (R1 ...)
prevents is told, and replayed, in simulation/races_of_*.py.

This file knows roles and who handles what; it refuses to know logs, leases and operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from daycache_ray.protocol.lease import Patience
from daycache_ray.protocol.replica.candidacy import Candidacy
from daycache_ray.protocol.replica.filling import Filling
from daycache_ray.protocol.replica.following import Following
from daycache_ray.protocol.replica.primary import NOT_PRIMARY, Primary
from daycache_ray.protocol.replica.state import ReplicaState
from daycache_ray.protocol.replica.statistics import ReplicaFigures
from daycache_ray.protocol.replica.writing import Writing
from daycache_ray.protocol.settings import ReplicaSettings
from daycache_ray.words.effects import Effect, Refuse, Send, Serve
from daycache_ray.words.messages import (
    Configuration,
    Configure,
    ConnectionClosed,
    CopyAck,
    CopyPart,
    Evict,
    Expired,
    FillAsked,
    FillFailed,
    FillStored,
    Leave,
    NextExpiry,
    OriginHas,
    PeerFenced,
    PeerGone,
    Prepare,
    PrepareAck,
    ReadAt,
    ReplicaMessage,
    Submit,
)
from daycache_ray.words.operations import Level
from daycache_ray.words.ports import StateView
from daycache_ray.words.records import Recovered
from daycache_ray.words.types import Instant, Member, Role, ShardId

ForPrimary: TypeAlias = FillAsked | FillStored | FillFailed | ConnectionClosed | Evict | Expired | OriginHas


class ShardReplica:
    """Give it messages and the time; perform the effects that it returns, in order.

    `member` is the incarnation that the coordinator handed out. The machine says nothing to its peers
    until it has heard a Configure for exactly that incarnation (R8).
    """

    def __init__(
        self,
        shard: ShardId,
        member: Member,
        settings: ReplicaSettings,
        recovered: Recovered,
        view: StateView,
        now: Instant,
    ) -> None:
        self.shard = shard
        self.member = member
        self.settings = settings
        self.state = ReplicaState(member, settings, recovered, view)
        grace_ns = 0 if "R3" in settings.without else settings.grace_ns
        born_ns = now.boot_ns - settings.grace_ns if "R5" in settings.without else now.boot_ns
        self.patience = Patience(grace_ns, born_ns)
        self.following = Following(self.state, self.patience)
        self.primary: Primary | None = None
        self.writing: Writing | None = None
        self.filling: Filling | None = None
        self.candidacy = Candidacy(shard, self.state, self.patience, now)
        self.left = False
        self.superseded = False
        """The seat belongs to a newer incarnation: the shell ends this one, and may register anew."""
        self._handlers: dict[type, Callable[[Any, Instant, list[Effect]], None]] = {
            Submit: self._submit,
            ReadAt: self._read,
            PrepareAck: self._acknowledged,
            Prepare: self._prepared,
            CopyPart: self._copy_part,
            CopyAck: self._copy_ack,
            Configure: self._configure,
            FillAsked: self._for_primary,
            FillStored: self._for_primary,
            FillFailed: self._for_primary,
            ConnectionClosed: self._for_primary,
            Evict: self._for_primary,
            Expired: self._for_primary,
            OriginHas: self._for_primary,
            NextExpiry: self._next_expiry,
            PeerGone: self._peer_gone,
            PeerFenced: self._peer_fenced,
            Leave: self._leave,
        }

    # ------------------------------------------------------------------ what the shell calls and reads

    def handle(self, message: ReplicaMessage, now: Instant) -> tuple[Effect, ...]:
        """Return the effects of one message, in the order in which they are performed."""
        out: list[Effect] = []
        self._handlers[type(message)](message, now, out)
        return tuple(out)

    def tick(self, now: Instant) -> tuple[Effect, ...]:
        """Return the effects of time having passed; calling it too early does nothing."""
        out: list[Effect] = []
        if self.primary is not None and self.writing is not None and self.filling is not None:
            self.primary.tick(now, out)
            self.writing.log_horizon(now, out)
            self.filling.expire_fills(now, out)
        else:
            self.candidacy.tick(now, out)
        return tuple(out)

    def next_tick_ns(self) -> int:
        """Return the boot time at which `tick` must be called at the latest."""
        if self.primary is not None and self.writing is not None:
            due = self.primary.next_tick_ns()
            horizon = self.writing.horizon_due_ns()
            fill = self.primary.fills.next_deadline_ns() if self.primary.fills.by_number else None
            return min(due, horizon if horizon is not None else due, fill if fill is not None else due)
        return self.candidacy.next_tick_ns()

    @property
    def configuration(self) -> Configuration | None:
        """The latest configuration that this incarnation has heard of, None before the first."""
        return self.candidacy.configuration

    @property
    def role(self) -> Role:
        """What this replica is at the moment."""
        return self.state.role

    @property
    def epoch(self) -> int:
        """The epoch in which the present primary took over: that of its records and of the fence page."""
        return self.state.term

    @property
    def last_lsn(self) -> int:
        """The end of the log."""
        return self.state.log.last_lsn

    @property
    def held_lsn(self) -> int:
        """Up to here every in-sync member holds the log: it is never cut, and may go to an origin."""
        return self.state.settled_lsn

    @property
    def commit_lsn(self) -> int:
        """Up to here records are held by min_in_sync members: what STRONG answers may depend on."""
        return self.state.commit_lsn

    @property
    def applied_lsn(self) -> int:
        """The highest LSN that is visible in the store."""
        return self.state.applied_lsn

    @property
    def horizon_ns(self) -> int:
        """Entries that expire at or before this wall-clock time are expired for STRONG readers."""
        return self.state.horizon_ns

    @property
    def lease_until_ns(self) -> int:
        """Until this boot time the replica may answer alone; 0: not at all."""
        return self.state.lease_until_ns

    @property
    def is_unhurried(self) -> bool:
        """Whether this is a primary whose acknowledgements nobody waits for: they may come a moment later."""
        primary = self.primary
        return primary is not None and not primary.waiting.heap and primary.reconciled and not primary.in_sync.pending

    def statistics(self) -> ReplicaFigures:
        """Return the figures of this replica since it started."""
        in_sync = len(self.configuration.in_sync) if self.configuration is not None else 0
        lag = 0
        if self.primary is not None:
            matched = [f.match_lsn for f in self.primary.in_sync.required]
            lag = self.last_lsn - min(matched, default=self.last_lsn)
        return ReplicaFigures(
            self.role, self.epoch, self.last_lsn, self.held_lsn, self.commit_lsn, self.applied_lsn, in_sync, lag,
            dict(self.state.counts),
        )  # fmt: skip

    def _configure(self, m: Configure, now: Instant, out: list[Effect]) -> None:
        c = m.configuration
        if m.recipient != self.member and not ("R8" in self.settings.without and m.recipient.seat == self.member.seat):
            self.state.count("R8 not for this incarnation")
            if m.recipient.seat == self.member.seat and m.recipient.incarnation > self.member.incarnation:
                self._supersede(out)
            return
        old = self.configuration
        if self.left or (old is not None and (c.epoch, c.revision) <= (old.epoch, old.revision)):
            return
        if c.term < self.state.term:
            return
        self.candidacy.configuration = c
        if c.epoch > self.patience.candidate_epoch:
            self.candidacy.proposal = None
        if c.primary == self.member:
            if self.primary is not None and c.term == self.state.term:
                self.primary.configure(c, now, out)
            else:
                self._take_over(c, now, out)
            return
        if not any(one.seat == self.member.seat and one.incarnation <= self.member.incarnation for one in c.members):
            self._supersede(out)
            return
        self._step_down(out)
        if old is not None and old.primary != c.primary:
            self.patience.heard(now.boot_ns)
        self.state.term = c.term
        self.state.role = self._role_in(c)
        self.state.publish(out)

    def _supersede(self, out: list[Effect]) -> None:
        """The seat has a newer incarnation: this one has no part in the shard any more."""
        self._step_down(out)
        self.superseded = self.left = True
        self.state.role = Role.FENCED
        self.candidacy.proposal = None
        self.state.publish(out)

    def _role_in(self, c: Configuration) -> Role:
        seats = "R8" in self.settings.without
        if self.member in c.in_sync or (seats and self.member.seat in [one.seat for one in c.in_sync]):
            return Role.SECONDARY
        return Role.JOINING

    def _take_over(self, c: Configuration, now: Instant, out: list[Effect]) -> None:
        self._step_down(out)
        assert not self.following.needs_copy, "a member in sync needs no copy"
        self.state.count("took over")
        self.state.term = c.term
        self.state.role = Role.PRIMARY
        self.primary = Primary(self.shard, self.state, c, now)
        self.writing = Writing(self.primary)
        self.filling = Filling(self.writing)
        self.primary.take_over(now, out)

    def _step_down(self, out: list[Effect]) -> None:
        if self.primary is None:
            return
        self.state.count("stepped down")
        self.state.role = Role.FENCED
        self.primary.end(out)
        self.primary = self.writing = self.filling = None

    def _prepared(self, m: Prepare, now: Instant, out: list[Effect]) -> None:
        if self.configuration is None or self.left or not self._follows(m.sender, m.term, now, out):
            return
        if m.epoch > self.configuration.epoch:
            self.candidacy.ask_soon(now, out)
        self.following.prepared(m, now, out)

    def _copy_part(self, m: CopyPart, now: Instant, out: list[Effect]) -> None:
        if self.configuration is None or self.left or not self._follows(m.sender, m.epoch, now, out):
            return
        if self.state.role != Role.SECONDARY:
            self.patience.heard(now.boot_ns)
            self.following.copied(m, out)

    def _follows(self, sender: Member, term: int, now: Instant, out: list[Effect]) -> bool:
        """Whether the primary of `term` is followed from now on; an older one is told that it is deposed."""
        state = self.state
        if term < state.term:
            out.append(Send(sender, PrepareAck(self.member, state.term, False, 0, 0)))
            return False
        if term > state.term:
            # Whether this replica is in the new set is not known until the coordinator says so.
            self._step_down(out)
            state.term = term
            state.role = Role.JOINING
            self.candidacy.proposal = None
            state.publish(out)
            self.candidacy.ask(now, out)
        return self.primary is None

    def _acknowledged(self, m: PrepareAck, now: Instant, out: list[Effect]) -> None:
        if self.primary is not None:
            self.primary.acknowledged(m, now, out)

    def _copy_ack(self, m: CopyAck, now: Instant, out: list[Effect]) -> None:
        if self.primary is not None:
            self.primary.copy_acknowledged(m, now, out)

    def _peer_gone(self, m: PeerGone, now: Instant, out: list[Effect]) -> None:
        # A broken connection proves nothing: the process may answer readers of its own node for long (R33).
        if "R33" in self.settings.without:
            self.candidacy.fenced(m.member, now, out)

    def _peer_fenced(self, m: PeerFenced, now: Instant, out: list[Effect]) -> None:
        self.candidacy.fenced(m.member, now, out)

    def _leave(self, m: Leave, now: Instant, out: list[Effect]) -> None:
        self._step_down(out)
        self.left = True
        self.state.role = Role.FENCED
        self.state.publish(out)
        self.candidacy.resign(now, out)

    # ------------------------------------------------------------------ requests

    def _submit(self, m: Submit, now: Instant, out: list[Effect]) -> None:
        if self.writing is not None:
            self.writing.submit(m, now, out)
        else:
            out.append(Refuse(m.token, "NotPrimaryError", NOT_PRIMARY))

    def _read(self, m: ReadAt, now: Instant, out: list[Effect]) -> None:
        state = self.state
        if m.level == Level.STRONG:
            if self.primary is not None:
                self.primary.read(m.token, m.keys, now, out)
                return
        elif self.primary is not None or (
            state.role == Role.SECONDARY and state.contains(m.session_epoch, m.session_lsn)
        ):
            # A primary is the authority: a write of the session that it lacks was lost with a failover.
            out.append(Serve(m.token))
            return
        out.append(Refuse(m.token, "NotPrimaryError", NOT_PRIMARY))

    def _for_primary(self, m: ForPrimary, now: Instant, out: list[Effect]) -> None:
        """Everything else that only a primary does; others refuse what waits for an answer."""
        if self.writing is not None and self.filling is not None:
            handlers = self.filling.handlers if type(m) in self.filling.handlers else self.writing.handlers
            handlers[type(m)](m, now, out)
        elif isinstance(m, FillAsked | FillStored | FillFailed):
            out.append(Refuse(m.token, "NotPrimaryError", NOT_PRIMARY))

    def _next_expiry(self, m: NextExpiry, now: Instant, out: list[Effect]) -> None:
        if m.expires_at_ns:
            self.state.clock.note(m.expires_at_ns)
