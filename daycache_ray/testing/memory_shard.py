"""One shard in one process: the machines of its replicas and of its coordinator, and a network that is a queue.

What the shells of the actors do, without sockets, tasks and clocks: a message is a turn, its store effects come
first, and what it sends arrives before anybody else speaks. Refuses to know clients and waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from daycache_ray.actors.opening import settings_of
from daycache_ray.actors.requests import Caller, RequestDesk
from daycache_ray.protocol.coordinator import ShardCoordinator
from daycache_ray.protocol.replica import ReplicaSettings, ShardReplica
from daycache_ray.storage.store import Store
from daycache_ray.testing.memory_store import MemoryStore
from daycache_ray.testing.memory_writes import MemoryWrites
from daycache_ray.words.cluster_map import MemberAddress, ShardMap
from daycache_ray.words.config import ClusterConfig, RegionConfig
from daycache_ray.words.effects import FinishCopy, PublishFence, Send, Serve, Tell
from daycache_ray.words.errors import ShardUnavailableError, UnknownOutcomeError
from daycache_ray.words.messages import (
    Configure,
    ConnectionClosed,
    Evict,
    Expired,
    MemberDied,
    NextExpiry,
    PeerFenced,
    Register,
    Registered,
    SendConfigure,
)
from daycache_ray.words.operations import Request
from daycache_ray.words.removals import INVALIDATED
from daycache_ray.words.types import CacheConsistencyLevel, Instant, Member, Role, ShardId

FAR_NODE: Final = "memory"
"""The node of every replica; a client of a memory cache is on none, so it never looks for shared memory."""

HORIZON_NS: Final = 1_000_000
"""Here a STRONG read hides an entry as soon as it is over."""

EXPIRY_COUNT_MAX: Final = 1_000_000


class MemoryRequestDesk(RequestDesk):
    """The requests of one replica; the node's memory is no concern of theirs."""

    def _check_node(self, needed: int) -> None:
        self._unchecked_bytes = 0

    def _free_bytes(self) -> int:
        return 1 << 40


class Seat:
    """One replica: a store that stays, and a process that comes and goes."""

    def __init__(self, number: int, store: MemoryStore) -> None:
        self.number = number
        self.store = store
        self.machine: ShardReplica | None = None
        self.desk: MemoryRequestDesk | None = None
        self.expirations_count = 0
        self.writes = MemoryWrites()


class MemoryShard:
    """A shard's replicas, in agreement or on the way to it."""

    def __init__(
        self, config: ClusterConfig, region: RegionConfig, number: int, copies: int, now: Callable[[], Instant]
    ) -> None:
        self.shard = ShardId(region.name, number)
        self.region = region
        self.now = now
        self._settings: ReplicaSettings = settings_of(config, region)._replace(
            strong_copies=min(region.strong_copies, copies), horizon_ns=HORIZON_NS
        )
        self._coordinator = ShardCoordinator(self.shard, copies)
        limit_bytes, shares = region.memory_bytes // region.shards, config.shares(region.name)
        self._seats = [Seat(seat, MemoryStore(seat + 1, limit_bytes, shares)) for seat in range(copies)]
        self._queue: deque[tuple[int, Any]] = deque()
        for seat in self._seats:
            self.start(seat.number)
        self.run_until_quiet()

    # ------------------------------------------------------------------ life and death

    @property
    def primary(self) -> Seat | None:
        """The seat that orders writes, None while it is down and nobody has taken over."""
        for seat in self._seats:
            if seat.machine is not None and seat.machine.role == Role.PRIMARY:
                return seat
        return None

    @property
    def down_seats(self) -> list[int]:
        """Seats without a process."""
        return [seat.number for seat in self._seats if seat.machine is None]

    def start(self, number: int) -> None:
        """Start a seat's process on the store that it left."""
        seat = self._seats[number]
        if seat.machine is None:
            store = seat.store
            store.fence.publish(PublishFence(0, int(Role.NONE), 0, 0, 0, 0, 0))
            epoch = store.epoch_at(store.last_lsn) or 0
            self._coordinate(Register(number + 1, number, FAR_NODE, store.store_id, epoch, store.last_lsn))
            self.run_until_quiet()

    def kill(self, number: int) -> None:
        """Kill a seat's process; who waits for its answer hears that the connection broke."""
        seat = self._seats[number]
        if seat.machine is None or seat.desk is None:
            return
        member, desk = seat.machine.member, seat.desk
        seat.machine = seat.desk = None
        desk.fail_all(UnknownOutcomeError("the replica's process ended before it answered"))
        self._coordinate(MemberDied(member))
        for other in self._seats:
            if other.machine is not None:
                self._queue.append((other.number, PeerFenced(member)))
        self.run_until_quiet()

    def map(self) -> ShardMap:
        """Return what the cluster map says of this shard."""
        configuration = self._coordinator.state.configuration
        assert configuration is not None, "a shard is formed when it is made"
        members = []
        primary_seat = -1
        for seat in self._seats:
            if seat.machine is None:
                continue
            member = seat.machine.member
            if configuration.primary == member:
                primary_seat = seat.number
            name = f"{self.shard.region}/{self.shard.number}/{seat.number}"
            in_sync = member in configuration.in_sync
            members.append(MemberAddress(seat.number, member.incarnation, in_sync, name, FAR_NODE, 0, "", name, "", 0))
        return ShardMap(self.shard, configuration.term, primary_seat, tuple(members))

    # ------------------------------------------------------------------ requests and time

    def request(self, seat: int, caller: Caller, request: Request, connection: int) -> None:
        """Hand a request to a replica; raises its typed error, or ShardUnavailableError when it is down."""
        desk = self._seats[seat].desk
        if desk is None:
            raise ShardUnavailableError(f"nobody listens at seat {seat} of {self.shard}")
        desk.take(caller, request, connection)
        self.run_until_quiet()
        if self.region.writes_behind:
            self.write_behind()

    def forget(self, caller: Caller) -> None:
        """Nobody waits for these answers any more."""
        for seat in self._seats:
            if seat.desk is not None:
                seat.desk.forget(caller)

    def hang_up(self, connection: int) -> None:
        """A client is gone, and with it the right to load what it was loading."""
        for seat in self._seats:
            if seat.machine is not None:
                self._queue.append((seat.number, ConnectionClosed(connection)))
        self.run_until_quiet()

    def next_due_ns(self) -> int | None:
        """Return the boot time at which something happens by itself; a copy alone needs no beat between calls."""
        dues: list[int | None] = []
        if len(self._seats) == 1:
            machine = self._seats[0].machine
            dues.append(machine.primary.fills.next_deadline_ns() if machine is not None and machine.primary else None)
        else:
            dues.extend(seat.machine.next_tick_ns() for seat in self._seats if seat.machine is not None)
        if self.region.writes_behind:
            primary = self.primary
            dues.append(primary.writes.next_due_ns(primary.store, self.now()) if primary is not None else None)
        return min((due for due in dues if due is not None), default=None)

    def write_behind(self, *, draining: bool = False) -> None:
        """Call the writer with what is due."""
        seat = self.primary
        if seat is None or seat.machine is None or seat.desk is None:
            return
        for message in seat.writes.due(seat.machine, seat.store, seat.desk, self.region, self.now(), draining):
            self._queue.append((seat.number, message))
            self.run_until_quiet()

    def tick(self) -> None:
        """Do what the time asks for, and remove what is over."""
        now = self.now()
        for seat in self._seats:
            machine = seat.machine
            if machine is not None and now.boot_ns >= machine.next_tick_ns():
                self._perform(seat, machine.tick(now))
        self.run_until_quiet()
        primary = self.primary
        if primary is not None and primary.machine is not None:
            horizon_ns = primary.machine.horizon_ns
            removed_ns = min(horizon_ns, now.wall_ns - int((self.region.stale_for_s or 0.0) * 1e9))
            expired = primary.store.expired(removed_ns, EXPIRY_COUNT_MAX)
            if expired:
                primary.expirations_count += len(expired)
                self._queue.append((primary.number, Expired(tuple(expired))))
            kept_ns = int((self.region.stale_for_s or 0.0) * 1e9)
            if swept := primary.store.swept(primary.machine.held_lsn, now.wall_ns - kept_ns):
                self._queue.append((primary.number, Evict(tuple(swept), INVALIDATED)))
            self._queue.append((primary.number, NextExpiry(primary.store.next_expiry_ns(horizon_ns))))
            self.run_until_quiet()
        if self.region.writes_behind:
            self.write_behind()

    def run_until_quiet(self) -> None:
        """Deliver what was sent until nobody has anything to say without time going by."""
        while self._queue:
            number, message = self._queue.popleft()
            if number < 0:
                self._coordinate(message)
                continue
            seat = self._seats[number]
            if seat.machine is not None:
                self._perform(seat, seat.machine.handle(message, self.now()))
        for seat in self._seats:
            if seat.desk is not None:
                seat.desk.turned()

    # ------------------------------------------------------------------ effects

    def _coordinate(self, message: Any) -> None:
        for effect in self._coordinator.handle(message, self.now()):
            if isinstance(effect, Registered):
                self._begin(self._seats[effect.member.seat], effect)
            elif isinstance(effect, SendConfigure):
                self._queue.append((effect.member.seat, effect.message))

    def _begin(self, seat: Seat, answer: Registered) -> None:
        store = seat.store
        seat.machine = ShardReplica(
            self.shard, answer.member, self._settings, store.recovered(), cast(Any, store), self.now()
        )
        number = seat.number
        seat.desk = MemoryRequestDesk(
            self.shard,
            cast(Store, store),
            lambda message: self._queue.append((number, message)),
            lambda: self._statistics(seat),
            evicts=self.region.level is not CacheConsistencyLevel.STRONG,
            writes_through=self.region.writes_through,
        )
        seat.desk.clocks = self.now
        self._queue.append((number, NextExpiry(store.next_expiry_ns())))
        if answer.configuration is not None:
            self._queue.append((number, Configure(self.shard, answer.configuration, answer.member)))

    def _perform(self, seat: Seat, effects: tuple[Any, ...]) -> None:
        store, desk = seat.store, seat.desk
        outward: list[Any] = []
        for effect in effects:
            if store.performs(effect):
                store.perform(effect)
                if type(effect) is FinishCopy:
                    horizon_ns = seat.machine.horizon_ns if seat.machine is not None else 0
                    self._queue.append((seat.number, NextExpiry(store.next_expiry_ns(horizon_ns))))
            elif type(effect) is Serve:
                assert desk is not None and seat.machine is not None
                prepared = desk.prepare(effect, seat.machine.horizon_ns)
                if prepared is not None:
                    outward.append(prepared)
            else:
                outward.append(effect)
        for effect in outward:
            if type(effect) is tuple:
                effect[0].answer(effect[1])
            elif type(effect) is PublishFence:
                store.fence.publish(effect)
            elif type(effect) is Send:
                self._send(effect.to, effect.message)
            elif type(effect) is Tell:
                self._queue.append((-1, effect.message))
            elif desk is not None:
                desk.reply(effect)

    def _send(self, to: Member, message: Any) -> None:
        machine = self._seats[to.seat].machine
        if machine is not None and machine.member == to:
            self._queue.append((to.seat, message))

    def _statistics(self, seat: Seat) -> dict[str, Any]:
        machine, desk, store = seat.machine, seat.desk, seat.store
        assert machine is not None and desk is not None
        configuration = machine.configuration
        return {
            "region": self.shard.region,
            "shard": self.shard.number,
            "seat": seat.number,
            "role": machine.role.name.lower(),
            "pid": 0,
            "node_id": FAR_NODE,
            "epoch": machine.epoch,
            "last_lsn": machine.last_lsn,
            "commit_lsn": machine.commit_lsn,
            "entries_count": store.entries_count,
            "used_bytes": store.used_bytes,
            "limit_bytes": store.limit_bytes,
            "writes_count": desk.writes_count,
            "reads_by_socket_count": desk.reads_count,
            "evictions_count": desk.evictions_count,
            "expirations_count": seat.expirations_count,
            "loads_count": desk.loads_count,
            "prefetched_count": desk.prefetched_count,
            "in_sync_count": len(configuration.in_sync) if configuration is not None else 0,
            "replication_lag_records": machine.last_lsn - machine.held_lsn,
            "turns_count": 0,
            "messages_count": 0,
            **store.removals.fields(),
            **seat.writes.figures(store, desk, self.now()),
        }
