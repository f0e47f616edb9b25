"""What a primary does: order writes, ship them, count who holds them, lease, grow and shrink its set.

The order of effects is the promise: store effects, then the fence page, then messages and answers, so
that nobody hears of what a reader on this node cannot see (R13).
"""

from __future__ import annotations

from daycache_ray.protocol.fills import FillLeases
from daycache_ray.protocol.in_sync import NEVER_NS, Follower, InSync
from daycache_ray.protocol.lease import PrimaryLease
from daycache_ray.protocol.replica.copying import Copying
from daycache_ray.protocol.replica.state import UNPINNED, ReplicaState
from daycache_ray.protocol.replica.tagging import needed_lsn
from daycache_ray.protocol.waiting import Waiting
from daycache_ray.words.effects import Answer, Effect, Refuse, Send, Serve, Tell
from daycache_ray.words.messages import AskConfiguration, Configuration, CopyAck, Intent, Prepare, PrepareAck, Propose
from daycache_ray.words.records import LogRecord, RecordKind
from daycache_ray.words.types import Instant, Member, ShardId

BATCHES_IN_FLIGHT = 2
"""A third batch waits for an acknowledgement and grows meanwhile: one Prepare for several writes."""
NOT_PRIMARY = "this replica is not primary, or holds no lease at the moment: fetch the cluster map and try again"
UNKNOWN = "this replica is primary no more; the write may have happened or not"


class Primary:
    """One replica's time as primary, from one promotion to the end of it."""

    def __init__(self, shard: ShardId, state: ReplicaState, configuration: Configuration, now: Instant) -> None:
        self.shard = shard
        self.state = state
        self.settings = state.settings
        self.without = state.without
        self.configuration = configuration
        self.in_sync = InSync(state.member)
        self.lease = PrimaryLease(state.settings.lease_ns)
        self.waiting = Waiting()
        self.fills = FillLeases((configuration.term << 32) + 1, state.log.last_lsn)
        self.proposal: Propose | None = None
        self.proposed_ns = NEVER_NS
        self.beacon_ns = NEVER_NS
        self.asked_ns = NEVER_NS
        self.horizon_at_ns = now.boot_ns
        self.notice_at_ns = self.ship_at_ns = 0
        self.copying = Copying(state, self.in_sync, configuration.term)
        self.term_lsn = 0

    # ------------------------------------------------------------------ configuration

    def take_over(self, now: Instant, out: list[Effect]) -> None:
        """Begin: append the epoch's first record, so that all of the log gets held in this epoch (R6)."""
        state = self.state
        state.unapplied.clear()
        state.clock.start(state.logged_horizon_ns, now)
        self.in_sync.agreed = self.configuration.in_sync
        record = LogRecord(state.log.last_lsn + 1, self.configuration.term, RecordKind.EPOCH)
        self.term_lsn = record.lsn
        state.append_own((record,), out)
        self._configure_set(now)
        self.advance(now, out)
        self.beacon(now, out)

    def configure(self, configuration: Configuration, now: Instant, out: list[Effect]) -> None:
        """The coordinator agreed another set, or knows other members."""
        if configuration.epoch > self.configuration.epoch:
            self.proposal = None
            if self.in_sync.pending:
                self.state.count("R1 growth settled")
                self.in_sync.grow(())
        self.configuration = configuration
        self._configure_set(now)
        self.advance(now, out)
        for follower in self.in_sync.followers.values():
            self.ship(follower, now, out, beacon=True)

    def _configure_set(self, now: Instant) -> None:
        before = self.in_sync.followers
        c = self.configuration
        self.in_sync.configure(c.in_sync, c.members, self.state.log.last_lsn + 1, now.boot_ns)
        for member, follower in before.items():
            if member not in self.in_sync.followers:
                self.copying.end(follower)

    @property
    def reconciled(self) -> bool:
        """Whether the whole set holds everything up to the first record of this epoch (R6, R7)."""
        held = self.state.commit_lsn if "R23" in self.without else self.state.settled_lsn
        return held >= self.term_lsn or "R6" in self.without

    def end(self, out: list[Effect]) -> None:
        """Be primary no more: nobody may wait for this replica, and nothing may be answered alone."""
        self.lease.end()
        self.state.lease_until_ns = 0
        self.state.pinned_lsn = UNPINNED
        self.state.unapplied.clear()
        for _, _, token, results, _ in self.waiting.take_all():
            if results is None:
                out.append(Refuse(token, "NotPrimaryError", NOT_PRIMARY))
            else:
                out.append(Refuse(token, "UnknownOutcomeError", UNKNOWN))
        out.extend(Refuse(waiter.token, "NotPrimaryError", NOT_PRIMARY) for waiter in self.fills.void_all())
        for follower in self.in_sync.followers.values():
            self.copying.end(follower)

    # ------------------------------------------------------------------ time

    def tick(self, now: Instant, out: list[Effect]) -> None:
        """Do what is due: shipping, beacon, proposals, commit notices."""
        if self.ship_at_ns and now.boot_ns >= self.ship_at_ns:
            self.ship_all(now, out)
        if now.boot_ns >= self.beacon_ns + self.settings.beacon_ns:
            self.advance(now, out)
            self._watch_set(now, out)
            self.beacon(now, out)
        elif self.notice_at_ns and now.boot_ns >= self.notice_at_ns:
            self.notice_at_ns = 0
            for follower in self.in_sync.followers.values():
                if follower.told_lsn < self.state.commit_lsn and not follower.in_flight:
                    self.ship(follower, now, out, beacon=True)

    def next_tick_ns(self) -> int:
        """Return when `tick` has something to do."""
        due = self.beacon_ns + self.settings.beacon_ns
        return min(due, self.notice_at_ns or due, self.ship_at_ns or due)

    def beacon(self, now: Instant, out: list[Effect]) -> None:
        """Tell every member that this primary lives, send again what was lost, and show the lease."""
        self.beacon_ns = now.boot_ns
        self.copying.pin(now.boot_ns - self.settings.silence_ns)
        for follower in self.in_sync.followers.values():
            if follower.copy is not None:
                self.copying.repeat(follower, out)
            elif follower.in_flight and now.boot_ns - follower.sent_ns >= self.settings.beacon_ns // 2:
                follower.rewind(follower.resume_lsn)
            self.ship(follower, now, out, beacon=True)
        self.state.publish(out)

    def _watch_set(self, now: Instant, out: list[Effect]) -> None:
        """Ask the coordinator to drop who is silent, to cancel a growth, or to take in who has caught up."""
        silent = self.in_sync.silent(now.boot_ns, self.settings.silence_ns)
        cancelled = [member for member in self.in_sync.pending if member in silent]
        if cancelled and "R11" not in self.without:
            if self.proposal is None or self.proposal.intent != Intent.KEEP:
                self.state.count("R11 growth cancelled")
                self._propose(Intent.KEEP, (), now, out)
                return
        elif self.proposal is None and silent and not self.in_sync.pending:
            self.state.count("R16 silent member")
            if "R16" in self.without:
                left = tuple(m for m in self.in_sync.agreed if m not in silent)
                self.in_sync.configure(left, self.configuration.members, self.state.log.last_lsn + 1, now.boot_ns)
            self._propose(Intent.DROP, silent, now, out)
            return
        if self.proposal is not None:
            if now.boot_ns - self.proposed_ns >= 2 * self.settings.beacon_ns:
                self.proposed_ns = now.boot_ns
                out.append(Tell(self.proposal))
            return
        self._grow(now, out)

    def _grow(self, now: Instant, out: list[Effect]) -> None:
        state = self.state
        enough = state.settled_lsn
        if "R7" in self.without:
            enough = min(enough, state.commit_lsn)
        elif not self.reconciled:
            return
        for member, follower in self.in_sync.followers.items():
            if member in self.in_sync.agreed or follower.copy is not None:
                continue
            fresh = follower.granted_ns + self.settings.lease_ns > now.boot_ns
            if fresh and follower.match_lsn >= enough:
                state.count("R1 growth asked")
                if "R1" not in self.without or "R2" not in self.without:
                    self.in_sync.grow((member,))
                if "R2" not in self.without:
                    self.lease.cap(follower.granted_ns)
                    state.lease_until_ns = self.lease.until_ns
                    state.publish(out)
                self._propose(Intent.ADD, (member,), now, out)
                return

    def _propose(self, intent: Intent, subjects: tuple[Member, ...], now: Instant, out: list[Effect]) -> None:
        member, epoch = self.state.member, self.configuration.epoch
        self.proposal = Propose(self.shard, member, epoch, int(intent), subjects)
        self.proposed_ns = now.boot_ns
        out.append(Tell(self.proposal))

    # ------------------------------------------------------------------ shipping

    def ship(self, follower: Follower, now: Instant, out: list[Effect], *, beacon: bool = False) -> None:
        """Send what the follower lacks as far as its window is open; as a beacon, send in any case."""
        log, settings = self.state.log, self.settings
        records: tuple[LogRecord, ...] = ()
        previous = follower.next_lsn - 1
        if follower.copy is not None:
            previous = log.last_lsn
        elif previous < log.last_lsn and len(follower.in_flight) < BATCHES_IN_FLIGHT:
            if previous < log.base_lsn:
                self._copy_to(follower, now, out)
                previous = log.last_lsn
            else:
                records = log.batch(previous, settings.prepare_records_max, settings.prepare_bytes_max)
        if not records and not beacon:
            return
        previous_epoch = log.epoch_at(previous)
        if previous_epoch is None:
            previous, previous_epoch = log.last_lsn, log.last_epoch
        state = self.state
        message = Prepare(
            state.member,
            self.configuration.epoch,
            self.configuration.term,
            previous,
            previous_epoch,
            records,
            state.commit_lsn,
            log.last_lsn,
            now.boot_ns,
            follower.echo_ns if state.leased(now) else 0,
        )
        if records:
            follower.next_lsn = previous + len(records) + 1
            follower.in_flight.append(follower.next_lsn - 1)
        follower.sent_ns = now.boot_ns
        follower.told_lsn = state.commit_lsn
        out.append(Send(follower.member, message))

    def ship_all(self, now: Instant, out: list[Effect]) -> None:
        """Send new records to everybody whose window is open."""
        self.ship_at_ns = 0
        for follower in self.in_sync.followers.values():
            self.ship(follower, now, out)

    def ship_soon(self, now: Instant, out: list[Effect]) -> None:
        """Send new records that nobody waits for together with those of the next moment."""
        if not self.settings.ship_ns:
            self.ship_all(now, out)
        elif not self.ship_at_ns and self.in_sync.followers:
            self.ship_at_ns = now.boot_ns + self.settings.ship_ns

    def acknowledged(self, ack: PrepareAck, now: Instant, out: list[Effect]) -> None:
        """A follower says what it holds, and grants the lease for the beacon that it heard."""
        follower = self.in_sync.followers.get(ack.sender)
        if follower is None or ack.epoch != self.configuration.term:
            self._stranger(ack.epoch, now, out)
            return
        follower.heard_ns = now.boot_ns
        if ack.heard_at_ns > follower.echo_ns:
            follower.echo_ns = ack.heard_at_ns
        if ack.sent_at_ns > follower.granted_ns:
            follower.granted_ns = ack.sent_at_ns
        if ack.matched:
            follower.acknowledged(ack.lsn)
        elif follower.copy is None and ack.sent_at_ns:
            if ack.needs_copy:
                self._copy_to(follower, now, out)
            elif ack.lsn < follower.next_lsn - 1 or not follower.in_flight:
                follower.rewind(max(ack.lsn, follower.match_lsn))
        self.advance(now, out)
        if self.proposal is None and follower.member not in self.in_sync.agreed:
            self._grow(now, out)  # a STRONG write may wait for just this copy
        # Records that nobody waits for go with the next tick: otherwise every acknowledgement would fetch a batch.
        if not self.ship_at_ns or self.waiting.heap:
            self.ship(follower, now, out)

    def _copy_to(self, follower: Follower, now: Instant, out: list[Effect]) -> None:
        """Begin a copy; a member in sync holds all that is settled, if it needs one it must leave the set first."""
        if follower.member not in self.in_sync.agreed:
            self.copying.begin(follower, out)
        elif self.proposal is None:
            self.state.count("in-sync member needs a copy")
            self._propose(Intent.DROP, (follower.member,), now, out)

    def _stranger(self, epoch: int, now: Instant, out: list[Effect]) -> None:
        """An acknowledgement from a later term, or from a member that is not known: the coordinator knows more."""
        due = now.boot_ns >= self.asked_ns + self.settings.beacon_ns
        if epoch >= self.configuration.term and due:
            self.asked_ns = now.boot_ns
            out.append(Tell(AskConfiguration(self.shard, self.state.member)))

    def advance(self, now: Instant, out: list[Effect]) -> None:
        """Work out what is held, committed and leased now, and answer what waited for it."""
        state, in_sync = self.state, self.in_sync
        held = in_sync.held_lsn(state.log.last_lsn)
        if "R1" in self.without and in_sync.pending:
            agreed = [f.match_lsn for f in in_sync.required if f.member in in_sync.agreed]
            held = min([state.log.last_lsn, *agreed])
        rose = held > state.settled_lsn or state.commit_lsn < state.settled_lsn
        if rose:
            held = max(held, state.settled_lsn)
            # Before that nobody has said in this term that it is there and holds anything.
            copies = len(in_sync.agreed) if held >= self.term_lsn or "R6" in self.without else 0
            rose = state.settle(held, copies, out)
        leased = self._extend_lease(now)
        if rose or leased:
            state.publish(out)
            heap = self.waiting.heap
            if heap and heap[0][0] <= state.commit_lsn:
                self._release(now, out)
        if rose and not self.notice_at_ns and in_sync.followers:
            self.notice_at_ns = now.boot_ns + self.settings.notice_ns

    def _extend_lease(self, now: Instant) -> bool:
        if not self.reconciled:
            return False
        granted = self.in_sync.granted_ns(now.boot_ns)
        if "R2" in self.without and self.in_sync.pending:
            agreed = [f.granted_ns for f in self.in_sync.required if f.member in self.in_sync.agreed]
            granted = min([now.boot_ns, *agreed])
        extended = self.lease.extend(granted)
        self.state.lease_until_ns = self.lease.until_ns
        return extended

    def _release(self, now: Instant, out: list[Effect]) -> None:
        again = []
        for parked in self.waiting.ready(self.state.commit_lsn):
            _, _, token, results, keys = parked
            if results is not None:
                out.append(Answer(token, results))
            elif keys is not None:
                again.append((token, keys))
        for token, keys in again:
            self.read(token, keys, now, out)

    # ------------------------------------------------------------------ reading

    def read(self, token: int, keys: tuple[bytes, ...] | list[bytes], now: Instant, out: list[Effect]) -> None:
        """Serve a STRONG read, or park it until what it would see is committed (R18)."""
        state = self.state
        if not state.leased(now):
            out.append(Refuse(token, "NotPrimaryError", NOT_PRIMARY))
            return
        needed = 0 if "R18" in self.without else needed_lsn(state, keys)
        if needed > state.commit_lsn:
            state.count("R18 read parked")
            self.waiting.park_read(needed, token, keys)
            self.ship_all(now, out)
            return
        out.append(Serve(token))

    def copy_acknowledged(self, ack: CopyAck, now: Instant, out: list[Effect]) -> None:
        """The receiver stored parts of its copy; when it has all, the log goes on."""
        if ack.sender not in self.in_sync.followers:
            self._stranger(ack.epoch, now, out)
        elif self.copying.acknowledged(ack, now.boot_ns, out):
            self.ship(self.in_sync.followers[ack.sender], now, out)
