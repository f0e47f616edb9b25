"""A cluster in one process on a clock that only its user moves: all shards, the map, and the faults to inject.

Time passes in `advance`, and where a client waits: a pause before it asks again, an answer that does not come.
Refuses to know what a client asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import count
from typing import Any, Final

from daycache_ray.client.exchanges import Build, Undo
from daycache_ray.client.router import Router
from daycache_ray.client.session import Session
from daycache_ray.testing.memory_shard import FAR_NODE, MemoryShard
from daycache_ray.words.cluster_map import ClusterMap, MemberAddress
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import CacheError, InvalidArgumentError, UnknownRegionError
from daycache_ray.words.operations import Answer
from daycache_ray.words.types import CacheRegion, Instant, ShardId

STARTED_AT_S: Final = 1_767_225_600.0
"""The first of January 2026: where the clock stands unless a test says otherwise."""

BOOT_NS: Final = 1_000_000_000_000

FORMING_NS: Final = 3_000_000_000
"""How long before that the replicas have begun to agree."""

LOADER_S_MAX: Final = 30.0
"""Real seconds that a call waits for a loader that runs in another thread; then the clock goes on without it."""

loads_within: ContextVar[tuple[Load, ...]] = ContextVar("loads_within", default=())
"""The loads inside which this code runs: a loader that asks the cache must not wait for itself."""


class Load:
    """A conversation in which a loader was called and that has not ended; others may wait for it."""

    def __init__(self) -> None:
        self.is_waiting = 0
        """How many calls from within this load wait for something."""


class Pending:
    """An answer that may come later, from whoever else uses the cluster."""

    def __init__(self, cluster: MemoryCluster, member: MemberAddress, shard: ShardId, connection: int) -> None:
        self.member = member
        self.shard = shard
        self.connection = connection
        self.value: Answer | None = None
        self.undo: Callable[[Answer], None] | None = None
        self._cluster = cluster

    def answer(self, answer: Answer) -> None:
        """Take the answer; when nobody waits for it any more, undo it."""
        self.value = answer
        if self.undo is not None:
            self.undo(answer)
        self._cluster.something_happened()


class MemoryCluster:
    """Replicas, coordinator and clock of a cluster that lives in this process. Threads and loops may share it.

    Args:
        config: its regions and services; None: the three built-in regions.
        copies: replicas of each shard, at most what a region is configured with. One is fastest; with two a
            primary that goes down is replaced.
        started_at_s: wall-clock seconds at which the clock begins.
    """

    def __init__(
        self, config: ClusterConfig | None = None, *, copies: int = 1, started_at_s: float = STARTED_AT_S
    ) -> None:
        self.config = config if config is not None else ClusterConfig(name="memory")
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._loops: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._boot_ns = BOOT_NS - FORMING_NS
        self._wall_offset_ns = int(started_at_s * 1e9) - BOOT_NS
        self._version = 0
        self._errors: deque[CacheError] = deque()
        self._loads: set[Load] = set()
        self._flushes: list[weakref.WeakMethod[Callable[[], None]]] = []
        self._afters: list[weakref.WeakMethod[Callable[[], None]]] = []
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._requests = count(1)
        if copies < 1:
            raise InvalidArgumentError(f"copies is {copies}; write 1 or more")
        self.shards = {
            ShardId(region.name, number): MemoryShard(
                self.config, region, number, min(copies, region.replicas), self.now
            )
            for region in self.config.regions
            for number in range(region.shards)
        }
        self.router = Router(self._map(), "client")
        # As a real cluster does, it answers when its copies are in sync.
        self.pass_until(BOOT_NS)

    def __repr__(self) -> str:
        return f"<MemoryCluster '{self.config.name}', {len(self.shards)} shards, at {self.wall_s():.3f} s>"

    # ------------------------------------------------------------------ the clock

    def now(self) -> Instant:
        """Return what both clocks say."""
        return Instant(self._boot_ns, self._boot_ns + self._wall_offset_ns)

    def now_s(self) -> float:
        """Return the seconds of the clock that never steps."""
        return self._boot_ns / 1e9

    def wall_s(self) -> float:
        """Return the wall clock's seconds since 1970, as in `Entry.expires_at_s`."""
        return self.now().wall_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Let time pass: WEAK writes are sent, entries expire, leases end, a silent primary is replaced."""
        if not seconds >= 0:
            raise InvalidArgumentError(f"the clock goes forward, not by {seconds} seconds")
        for flush in list(self._flushes):
            call = flush()
            if call is not None:
                call()
        self.pass_until(self._boot_ns + round(seconds * 1e9))
        for after in list(self._afters):
            call = after()
            if call is not None:
                call()

    def after_advance(self, call: Callable[[], None]) -> None:
        """Call this whenever the clock was moved, as long as its object lives."""
        self._afters.append(weakref.WeakMethod(call))

    def pass_until(self, boot_ns: int) -> None:
        """Let time pass up to a moment, doing on the way what is due."""
        with self.lock:
            while True:
                due_ns = self.next_due_ns()
                self._boot_ns = max(self._boot_ns, min(boot_ns, due_ns) if due_ns is not None else boot_ns)
                for shard in self.shards.values():
                    shard.tick()
                if self._boot_ns >= boot_ns:
                    break
            self.take_map()

    def next_due_ns(self) -> int | None:
        """Return the moment at which something happens by itself, if anything does."""
        found = [due for shard in self.shards.values() if (due := shard.next_due_ns()) is not None]
        return max(self._boot_ns + 1, min(found)) if found else None

    def drain(self) -> int:
        """Call the writers of write-behind regions with all that waits; return how many entries are left."""
        with self.lock:
            left_count = 0
            for shard in self.shards.values():
                if shard.region.writes_behind and (primary := shard.primary) is not None:
                    shard.write_behind(draining=True)
                    left_count += primary.store.dirty_count
            return left_count

    # ------------------------------------------------------------------ faults

    def fail_next(self, error: CacheError | type[CacheError], *, calls: int = 1) -> None:
        """Answer every attempt of the next `calls` calls that ask a replica with `error`.

        The client does what it always does: what may be repeated it repeats until its deadline, and then it
        raises what its caller must know. NotPrimaryError becomes ShardUnavailableError, UnknownOutcomeError
        of a read becomes DeadlineExceededError. The clock shows the seconds that this took.
        """
        if isinstance(error, type):
            error = error("injected by a test")
        if not isinstance(error, CacheError):
            raise InvalidArgumentError(f"a replica answers with a CacheError, not with {error!r}")
        self._errors.extend([error] * calls)

    def next_error(self) -> CacheError | None:
        """Return the error of the call that begins now, if one was ordered."""
        return self._errors.popleft() if self._errors else None

    def primary_down(self, region: CacheRegion | str | None = None) -> None:
        """Kill the primaries of a region, or of all.

        Where there is a further copy it takes over at once. Otherwise the region's calls raise
        ShardUnavailableError after their deadline until `primary_up`; what was stored is there again then.
        """
        with self.lock:
            for shard in self._shards_of(region):
                primary = shard.primary
                if primary is not None:
                    shard.kill(primary.number)
            self.take_map()

    def primary_up(self, region: CacheRegion | str | None = None) -> None:
        """Start what is down of a region, or of all."""
        with self.lock:
            for shard in self._shards_of(region):
                for seat in shard.down_seats:
                    shard.start(seat)
            self.take_map()

    def _shards_of(self, region: CacheRegion | str | None) -> list[MemoryShard]:
        name = region.value if isinstance(region, CacheRegion) else region
        if name is not None and name not in {known.name for known in self.config.regions}:
            names = ", ".join(known.name for known in self.config.regions)
            raise UnknownRegionError(f"cluster '{self.config.name}' has no region {name!r}; it has {names}")
        return [shard for shard_id, shard in self.shards.items() if name is None or shard_id.region == name]

    # ------------------------------------------------------------------ for its clients

    def add(self, session: Session, flush: Callable[[], None]) -> None:
        """Tell a session of newer maps, and call `flush` before time passes."""
        with self.lock:
            self._sessions.add(session)
            self._flushes.append(weakref.WeakMethod(flush))

    def take_map(self) -> None:
        """Look whether the map changed, and tell everybody."""
        shards = self._shard_maps()
        if shards != self.router.cluster_map.shards:
            self.router = Router(self._map(), "client")
            for session in list(self._sessions):
                session.take_map(self.router)

    def send(self, member: MemberAddress, build: Build, connection: int) -> Pending:
        """Hand a request to a replica, with the lock held; raises what it refuses at once."""
        request: Any = build(next(self._requests))
        pending = Pending(self, member, ShardId(request.region, request.shard), connection)
        self.shards[pending.shard].request(member.seat, pending, request, connection)
        self.take_map()
        return pending

    def abandon(self, pending: Pending, undo: Undo) -> None:
        """Nobody waits for this answer any more: undo it when it comes."""

        def undo_it(answer: Answer) -> None:
            build = undo(answer)
            if build is not None:
                with contextlib.suppress(CacheError):
                    self.send(pending.member, build, pending.connection)

        pending.undo = undo_it

    # ------------------------------------------------------------------ waiting for others

    def is_anybody_loading(self) -> bool:
        """Whether another thread or task runs a loader whose end may answer this call."""
        return any(not load.is_waiting and load not in loads_within.get() for load in self._loads)

    def begin_load(self) -> Load:
        """From now on others may wait for the conversation that calls this, until `end_load`."""
        load = Load()
        with self.lock:
            self._loads.add(load)
        return load

    def end_load(self, load: Load) -> None:
        """The conversation is over."""
        with self.lock:
            self._loads.discard(load)
            self.something_happened()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark the loads that this code runs in as stopped: nobody should wait for them."""
        within = loads_within.get()
        for load in within:
            load.is_waiting += 1
        if within:
            self.something_happened()
        try:
            yield
        finally:
            for load in within:
                load.is_waiting -= 1

    def something_happened(self) -> None:
        """Let those who wait look again."""
        with self.lock:
            self._changed.notify_all()
            for event, loop in self._loops.items():
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(event.set)

    def wait(self) -> bool:
        """Wait, with the lock held, until something happened; False when that took too long."""
        return self._changed.wait(LOADER_S_MAX)

    async def await_change(self, event: asyncio.Event) -> bool:
        """Wait until `event`, which `listening` gave, is set; False when that took too long."""
        try:
            await asyncio.wait_for(event.wait(), LOADER_S_MAX)
        except asyncio.TimeoutError:
            return False
        event.clear()
        return True

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Give an event of the running loop that is set whenever something happened."""
        event = asyncio.Event()
        with self.lock:
            self._loops[event] = asyncio.get_running_loop()
        try:
            yield event
        finally:
            with self.lock:
                del self._loops[event]

    # ------------------------------------------------------------------ the map

    def _shard_maps(self) -> dict[str, Any]:
        return {
            region.name: tuple(self.shards[ShardId(region.name, number)].map() for number in range(region.shards))
            for region in self.config.regions
        }

    def _map(self) -> ClusterMap:
        self._version += 1
        return ClusterMap(self._version, self.config.name, FAR_NODE, "", "", self.config, self._shard_maps())
