"""A replica's process in the simulated world: the shell around a ShardReplica, with a node to crash.

One message is one turn: the store effects of a turn are one transaction, everything else follows it. A
crash can fall between any two effects after the transaction, or before it. The fence page stays when the
process dies, as it does in shared memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from daycache_ray.protocol.replica import ReplicaSettings, ShardReplica
from daycache_ray.simulation.clocks import NodeClock
from daycache_ray.simulation.network import MS, Network
from daycache_ray.simulation.scheduler import Scheduler
from daycache_ray.simulation.store import STORE_EFFECTS, SimulatedStore, StoredEntry
from daycache_ray.words.effects import (
    Answer,
    AnswerFill,
    Commit,
    Effect,
    FinishCopy,
    PublishFence,
    Refuse,
    Send,
    Serve,
    Tell,
    Truncate,
)  # fmt: skip
from daycache_ray.words.messages import (
    Configure,
    CopyPart,
    Evict,
    Expired,
    NextExpiry,
    ReadAt,
    Register,
    Registered,
    ReplicaMessage,
)  # fmt: skip
from daycache_ray.words.operations import Level
from daycache_ray.words.types import Member, Role, ShardId

if TYPE_CHECKING:
    from daycache_ray.simulation.checkers import Checks
    from daycache_ray.simulation.seats import SimulatedCoordinator

Reply = Callable[[str, Any], None]
NEVER_NS = 1 << 62
UPKEEP_NS = 150 * MS


class SimulatedNode:
    """The seat's node: its process may die and come back, its store may be wiped."""

    checks: Checks
    coordinator: SimulatedCoordinator
    peers: list[SimulatedNode]

    def __init__(
        self, shard: ShardId, seat: int, settings: ReplicaSettings, scheduler: Scheduler, network: Network,
        clock: NodeClock,
    ) -> None:  # fmt: skip
        self.shard = shard
        self.seat = seat
        self.settings = settings
        self.scheduler = scheduler
        self.random = scheduler.random
        self.network = network
        self.clock = clock
        self.stores_count = 0
        self.store = self._new_store()
        self.lost_stores: list[SimulatedStore] = []
        self.machine: ShardReplica | None = None
        self.member: Member | None = None
        self.fence: PublishFence | None = None
        self.generation = 0
        self.settled_lsn = 0
        self.copied_lsn = 0
        """The store is a copy that shows what was settled up to here."""
        self.life = 0
        self.up = False
        self.paused_until_ns = 0
        self.timer_ns = NEVER_NS
        self.token = 0
        self.replies: dict[int, tuple[Reply, ReadAt | None]] = {}
        self.crash_in: int | None = None
        """Crash after so many further effects."""
        self.evicts = False
        self.branches: dict[str, int] = {}

    def __str__(self) -> str:
        return f"node {self.seat} ({self.member})"

    def _new_store(self) -> SimulatedStore:
        self.stores_count += 1
        return SimulatedStore(self.seat * 1000 + self.stores_count, self.settings.without)

    def leased(self) -> bool:
        """Whether a reader on this node would trust the fence page now."""
        fence = self.fence
        return fence is not None and fence.role == Role.PRIMARY and fence.lease_until_ns > self.clock.boot_ns()

    # ------------------------------------------------------------------ life and death

    def start(self) -> None:
        """Start the process: revoke the fence page, open the store, register."""
        if self.up:
            return
        self.up = True
        self.life += 1
        self.revoke()
        self._register(self.life)

    def has_held(self, lsn: int, epoch: int) -> bool:
        """Whether this node stored the record, even if it was wiped since."""
        return any(store.holds(lsn, epoch) for store in (self.store, *self.lost_stores))

    def revoke(self) -> None:
        """Take away every promise of the fence page; whoever holds the store's lock may."""
        if self.fence is not None:
            self.fence = PublishFence(self.fence.epoch, int(Role.NONE), 0, 0, 0, 0, 0)

    def _register(self, life: int) -> None:
        if life != self.life or not self.up or self.machine is not None:
            return
        self.token += 1
        store = self.store
        last_epoch = store.epoch_at(store.last_lsn) or 0
        message = Register(self.token, self.seat, f"node-{self.seat}", store.store_id, last_epoch, store.last_lsn)
        self.network.send(self.seat, -1, self.coordinator.receive, message, self, life)
        self.scheduler.after(500 * MS, self._register, life)

    def registered(self, answer: Registered, life: int) -> None:
        """The coordinator answered: the machine is born."""
        if life != self.life or not self.up or self.machine is not None or answer.token != self.token:
            return
        self.member = answer.member
        now = self.clock.now()
        self.machine = ShardReplica(self.shard, answer.member, self.settings, self.store.recovered(), self.store, now)
        self.settled_lsn = self.store.commit_lsn
        if answer.configuration is not None:
            self.receive(Configure(self.shard, answer.configuration, answer.member))
        self._arm()
        self.scheduler.after(UPKEEP_NS, self._upkeep, life)

    def crash(self) -> None:
        """Kill the process; the store and the fence page stay."""
        if not self.up:
            return
        self.up = False
        self.life += 1
        self._keep_counts()
        self.machine = None
        self.replies.clear()
        self.timer_ns = NEVER_NS
        self.paused_until_ns = 0
        self.crash_in = None

    def wipe(self) -> None:
        """Kill the process and lose its store: the node's memory is gone."""
        self.crash()
        self.member = None
        self.copied_lsn = 0
        self.lost_stores.append(self.store)
        self.store = self._new_store()
        self.settled_lsn = 0
        self.fence = None
        self.generation += 1

    def pause(self, duration_ns: int) -> None:
        """Stop the process for a while; what arrives meanwhile is handled afterwards, all at once."""
        self.paused_until_ns = max(self.paused_until_ns, self.scheduler.now_ns + duration_ns)

    def _keep_counts(self) -> None:
        if self.machine is not None:
            for branch, count in self.machine.statistics().branches.items():
                self.branches[branch] = self.branches.get(branch, 0) + count

    def finish(self) -> dict[str, int]:
        """Return how often each branch of a rule was taken on this node."""
        self._keep_counts()
        return self.branches

    # ------------------------------------------------------------------ turns

    def receive(self, message: ReplicaMessage) -> None:
        """A message arrives; a dead process hears nothing, a paused one later."""
        if self.machine is None:
            return
        if self.scheduler.now_ns < self.paused_until_ns:
            self.scheduler.at(self.paused_until_ns, self.receive, message)
            return
        role = self.machine.role
        if type(message) is CopyPart and message.last:
            self.copied_lsn = max(self.copied_lsn, message.visible_lsn)
        self._perform(self.machine.handle(message, self.clock.now()))
        self._arm()
        machine: ShardReplica | None = self.machine
        if machine is not None and machine.role != role:
            self.checks.visible(self)
            if machine.superseded:
                self.crash()
                self.start()

    def request(self, message: Any, reply: Reply) -> None:
        """A client's request arrives; `reply(word, value)` travels back."""
        if self.machine is None:
            return
        if self.scheduler.now_ns < self.paused_until_ns:
            self.scheduler.at(self.paused_until_ns, self.request, message, reply)
            return
        self.token += 1
        self.replies[self.token] = (reply, message if isinstance(message, ReadAt) else None)
        message = type(message)(self.token, *[getattr(message, name) for name in message.__struct_fields__[1:]])
        self._perform(self.machine.handle(message, self.clock.now()))
        self._arm()

    def _arm(self) -> None:
        if self.machine is not None:
            due = self.clock.true_ns(self.machine.next_tick_ns())
            if due < self.timer_ns:
                self.timer_ns = max(due, self.scheduler.now_ns)
                self.scheduler.at(self.timer_ns, self._tick, self.life, self.timer_ns)

    def _tick(self, life: int, timer_ns: int) -> None:
        if life != self.life or self.machine is None or timer_ns != self.timer_ns:
            return
        if self.scheduler.now_ns < self.paused_until_ns:
            self.timer_ns = self.paused_until_ns
            self.scheduler.at(self.timer_ns, self._tick, life, self.timer_ns)
            return
        self.timer_ns = NEVER_NS
        self._perform(self.machine.tick(self.clock.now()))
        self._arm()

    def _perform(self, effects: tuple[Effect, ...]) -> None:
        store = self.store
        if self.crash_in is not None and self.random.random() < 0.1 and effects:
            self.crash()
            return
        cut = False
        for effect in effects:
            if type(effect) in STORE_EFFECTS:
                if type(effect) is Commit:
                    self.checks.settled(self, effect.lsn)
                store.perform(effect)
                if type(effect) is FinishCopy:
                    self.settled_lsn = effect.base_lsn
                    self.generation += 1
                cut = cut or type(effect) in (Truncate, FinishCopy)
        if cut:
            self.checks.visible(self)
        for effect in effects:
            if type(effect) not in STORE_EFFECTS:
                if self.crash_in is not None:
                    self.crash_in -= 1
                    if self.crash_in < 0:
                        self.crash()
                        return
                self._act(effect)

    def _act(self, effect: Effect) -> None:
        if isinstance(effect, PublishFence):
            old, self.fence = self.fence, effect
            self.checks.published(self, old, effect)
        elif isinstance(effect, Send):
            self.network.send(self.seat, effect.to.seat, self.peers[effect.to.seat].receive, effect.message)
        elif isinstance(effect, Tell):
            self.network.send(self.seat, -1, self.coordinator.receive, effect.message, self, self.life)
        elif isinstance(effect, Answer):
            self._reply(effect.token, "done", (effect.results, self.scheduler.now_ns))
        elif isinstance(effect, Serve):
            self._serve(effect.token)
        elif isinstance(effect, Refuse):
            self._reply(effect.token, effect.error, None)
        else:
            assert isinstance(effect, AnswerFill)
            self._reply(effect.token, "fill", effect.number)

    def _reply(self, token: int, word: str, value: Any) -> None:
        found = self.replies.pop(token, None)
        if found is not None:
            self.network.send(self.seat, 1000, found[0], word, value)

    def _serve(self, token: int) -> None:
        message = self.replies[token][1]
        assert message is not None
        assert self.machine is not None
        hidden_ns = self.machine.horizon_ns
        if message.level != Level.STRONG or "R24" in self.settings.without:
            hidden_ns = max(hidden_ns, self.clock.now().wall_ns)
        if "R24" in self.settings.without:
            hidden_ns = self.clock.now().wall_ns
        shown = [self.visible(key, hidden_ns) for key in message.keys]
        self._reply(token, "read", (shown, self.machine.epoch, self.machine.applied_lsn))

    def visible(self, key: bytes, hidden_ns: int) -> StoredEntry | None:
        """Return what a reader sees under `key` that hides what expired by `hidden_ns`."""
        entry = self.store.entries.get(key)
        if entry is None or 0 < entry.expires_at_ns <= hidden_ns or self.store.cover(key, entry) is not None:
            return None
        return entry

    # ------------------------------------------------------------------ the shell's own upkeep

    def _upkeep(self, life: int) -> None:
        """Expire and evict as a shell does: what it picked may have been written since (R38)."""
        if life != self.life or self.machine is None:
            return
        if self.machine.role == Role.PRIMARY:
            entries = self.store.entries
            horizon = self.machine.horizon_ns
            expiring = [(entry.expires_at_ns, key, entry) for key, entry in entries.items() if entry.expires_at_ns]
            ended = [(key, e.epoch, e.lsn) for expires, key, e in expiring if expires <= horizon][:20]
            self._later(Expired(tuple(ended)))
            self._later(NextExpiry(min((expires for expires, _, _ in expiring if expires > horizon), default=0)))
            if swept := self.store.swept(self.machine.held_lsn, self.clock.now().wall_ns)[:20]:
                self._later(Evict(tuple(swept)))
            if self.evicts and entries:
                # Keys whose calls must be linearizable alone are left alone: an eviction is no call.
                mixed = sorted(key for key in entries if key[:1] == b"m")
                picked = self.random.sample(mixed, min(3, len(mixed)))
                self._later(Evict(tuple((key, entries[key].epoch, entries[key].lsn) for key in picked)))
        self.scheduler.after(UPKEEP_NS, self._upkeep, life)

    def _later(self, message: ReplicaMessage) -> None:
        life = self.life
        self.scheduler.after(self.random.randrange(5 * MS), self._if_alive, life, message)

    def _if_alive(self, life: int, message: ReplicaMessage) -> None:
        if life == self.life:
            self.receive(message)
