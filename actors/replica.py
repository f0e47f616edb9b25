"""One replica of one shard, as a Ray actor: a thin shell around a machine, a store and a socket.

The actor is born without a seat (a spare). `open_store` gives it one, `begin` the incarnation that the
coordinator handed out; from then on its Unix socket answers clients of the node and its TCP port those
of others. Ray calls on the handle are a door too: a millisecond each, batches included.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
from pathlib import Path
from typing import Any

import ray
import structlog

from daycache_ray.actors.clocks import read_clocks
from daycache_ray.actors.flusher import Flusher
from daycache_ray.actors.handle_calls import HandleCalls
from daycache_ray.actors.opening import OpenedStore, open_store, settings_of
from daycache_ray.actors.peer_links import PeerLinks
from daycache_ray.actors.priority import serve_promptly
from daycache_ray.actors.requests import RequestDesk
from daycache_ray.actors.runner import Runner
from daycache_ray.actors.salvaging import Salvager
from daycache_ray.actors.tag_sweeping import sweep_tags
from daycache_ray.actors.upkeep import keep_up, remove_left
from daycache_ray.protocol.replica import ShardReplica
from daycache_ray.storage.cluster_use import ClusterUse
from daycache_ray.storage.directory import replica_directory
from daycache_ray.storage.statistics import StoreStatistics
from daycache_ray.storage.store import Store
from daycache_ray.wire.address import address_of
from daycache_ray.wire.server import ServerConnection, SocketServer
from daycache_ray.words.cluster_map import MemberAddress
from daycache_ray.words.config import ClusterConfig, RegionConfig
from daycache_ray.words.errors import NotPrimaryError, ServerError
from daycache_ray.words.messages import Configure, ConnectionClosed, Expired, Leave, NextExpiry, PeerGone
from daycache_ray.words.naming import NAMESPACE, cluster_directory
from daycache_ray.words.operations import Request
from daycache_ray.words.types import CacheConsistencyLevel, Member, ShardId, ShardStatistics

EARLY_COUNT_MAX = 64
"""Messages of peers kept until `begin`: the primary hears of a new member sooner than the member itself does."""

EXPIRY_PASS_S = 0.1
EXPIRY_PASS_COUNT_MAX = 1_000
STORE_FIELDS = sorted(set(StoreStatistics._fields) & set(ShardStatistics.__dataclass_fields__))

_log = structlog.get_logger("daycache.replica")


class Replica(HandleCalls):
    """The actor's class; see the module. Everything runs on the actor's event loop."""

    def __init__(self, config: ClusterConfig, cluster_id: str, token: str, number: int, coordinator_name: str) -> None:
        self._config = config
        self._cluster = f"{config.name}-{cluster_id}"
        self._token = token
        self._coordinator_name = coordinator_name
        self._directory = Path(cluster_directory(config.memory_path, config.name, cluster_id))
        self._host_pid = int(os.environ.get("RAY_RAYLET_PID") or os.getppid())
        self._use = ClusterUse(str(self._directory), self._host_pid)
        self._socket_path = self._directory / f"{number}.socket"
        self._node_id = ray.get_runtime_context().get_node_id()
        self._closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._shard: ShardId | None = None
        self._seat = -1
        self._store: Store | None = None
        self._server: SocketServer | None = None
        self._links: PeerLinks | None = None
        self._desk: RequestDesk | None = None
        self._runner: Runner | None = None
        self._early: list[Any] = []
        self._coordinator: Any = None
        self._addresses: dict[Member, MemberAddress] = {}
        self._info: OpenedStore | None = None
        self._expirations_count = 0
        self._flusher: Flusher | None = None
        # What was imported lives as long as the process: a collection that walks it stops a turn for 20 ms.
        gc.collect()
        gc.freeze()

    async def ping(self) -> None:
        """Answer when the process is up."""

    async def node(self) -> str:
        """Return the id of the node it runs on."""
        return self._node_id

    async def wait_closed(self) -> None:
        """Return when the actor ends in order; fails by Ray when it dies."""
        await self._closed.wait()

    async def open_store(self, shard: tuple[str, int], seat: int, fresh: bool) -> OpenedStore:
        """Take a seat: open its store, warm where one is there, and the sockets.

        `fresh`: the cluster has never had this shard, so what lies there is of nobody and is removed.
        """
        assert self._store is None, "an actor takes one seat in its life"
        serve_promptly(self._host_pid)
        self._shard = ShardId(*shard)
        self._seat = seat
        if fresh:  # before the store asks for room
            await asyncio.to_thread(remove_left, self._config.memory_path, self._host_pid)
        directory = replica_directory(self._config.memory_path, self._cluster, self._shard, seat)
        self._store = await open_store(directory, self._cluster, self._shard, seat, self._config, fresh=fresh)
        host = ray.util.get_node_ip_address()
        self._server = SocketServer(self, cluster=self._config.name, token=self._token, seat=seat)
        await self._server.listen(self._socket_path, host)
        recovered = self._store.recovered()
        last = recovered.records[-1] if recovered.records else None
        self._info = OpenedStore(
            self._node_id,
            os.getpid(),
            recovered.store_id,
            last.epoch if last else recovered.base_epoch,
            last.lsn if last else recovered.base_lsn,
            str(self._store.directory),
            str(self._socket_path),
            host,
            self._server.port,
        )
        return self._info

    async def begin(self, member: tuple[int, int], configure: Configure | None, addresses: list[MemberAddress]) -> None:
        """Start to take part as `member`."""
        assert self._store is not None
        assert self._shard is not None
        assert self._runner is None
        region = self._region()
        member = Member(*member)
        machine = ShardReplica(
            self._shard, member, settings_of(self._config, region), self._store.recovered(), self._store, read_clocks()
        )
        self._links = PeerLinks(self._config.name, self._token, self._on_peer_lost)
        self._desk = RequestDesk(
            self._shard,
            self._store,
            self._keep,
            self._statistics_fields,
            evicts=region.level is not CacheConsistencyLevel.STRONG,
            writes_through=region.writes_through,
        )
        self._runner = Runner(
            machine, self._store, send=self._links.send, tell=self._tell, desk=self._desk, on_broken=self._on_broken
        )
        self._salvager = Salvager(self._runner, lambda member: self._addresses.get(member), self._node_id)
        self._know(addresses)
        self._post(NextExpiry(self._store.next_expiry_ns(machine.horizon_ns)))
        if configure is not None:
            self._post(configure)
        self._spawn(self._expire())
        early, self._early = self._early, []
        for message in early:
            self._post(message)
        self._spawn(keep_up(self._store))
        self._spawn(self._meet_coordinator())
        if region.writes_behind:
            self._flusher = Flusher(self._store, region, self._runner, self._desk)
            self._spawn(self._flusher.run())
        self._spawn(sweep_tags(self._store, machine, self._post, int((region.stale_for_s or 0.0) * 1e9)))
        gc.freeze()

    async def configure(self, configure: Configure, addresses: list[MemberAddress]) -> None:
        """Hear of a configuration."""
        if self._runner is not None:
            self._know(addresses)
            self._post(configure)

    async def drain(self, deadline_s: float) -> int:
        """Write what waits for the origin, as far as that goes within the deadline; return how much is left."""
        return await self._flusher.drain(deadline_s) if self._flusher is not None else 0

    async def describe(self) -> tuple[Member | None, OpenedStore | None]:
        """Return the member that this actor is, and how it is reached; for a coordinator that restarted."""
        return None if self._runner is None else self._runner.machine.member, self._info

    async def leave(self, remove: bool) -> None:
        """End in order; `remove` takes the store away too."""
        if self._runner is not None:
            self._post(Leave())
            await asyncio.sleep(0)
            self._runner.stop()
        for task in self._tasks:
            task.cancel()
        if self._desk is not None:
            self._desk.fail_all(NotPrimaryError("this replica leaves"))
        if self._links is not None:
            self._links.close()
        if self._server is not None:
            self._server.close()
        if self._store is not None:
            directory = self._store.directory
            self._store.close()
            if remove:
                shutil.rmtree(directory, ignore_errors=True)
        self._use.release()
        if remove:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._closed.set()

    # The socket's side: RequestHandler.

    def on_request(self, connection: ServerConnection, request: Request) -> None:
        """Take a request of a socket."""
        if self._desk is None:
            raise NotPrimaryError("this replica is just starting: try again")
        self._desk.take(connection, request, connection.number)

    def on_peer(self, message: Any) -> None:
        """Take a message of another replica."""
        if self._runner is not None:
            self._runner.keep(message)
        elif len(self._early) < EARLY_COUNT_MAX:
            self._early.append(message)

    def on_read(self, connection: ServerConnection) -> None:
        """Let the machine have what a read brought."""
        if self._runner is not None:
            self._runner.end_of_read(0 if connection.is_peer else connection.number)

    def on_closed(self, connection: ServerConnection) -> None:
        """Forget a connection's requests and fill leases."""
        if self._desk is not None:
            self._desk.forget(connection)
            self._post(ConnectionClosed(connection.number))

    # Inside.

    def _region(self) -> RegionConfig:
        assert self._shard is not None
        return self._config.region(self._shard.region)

    def _know(self, addresses: list[MemberAddress]) -> None:
        assert self._links is not None
        others = {
            Member(address.seat, address.incarnation): address for address in addresses if address.seat != self._seat
        }
        self._addresses = others
        self._links.know({member: address_of(address, self._node_id) for member, address in others.items()})

    def _post(self, message: Any) -> None:
        if self._runner is not None:
            self._runner.post(message)

    def _keep(self, message: Any) -> None:
        if self._runner is not None:
            self._runner.keep(message)

    def _wake(self) -> None:
        if self._runner is not None:
            self._runner.wake()

    def _tell(self, message: Any) -> None:
        self._spawn(self._tell_coordinator(message))

    async def _tell_coordinator(self, message: Any) -> None:
        try:
            await self._call_coordinator().tell.remote(message)
        except Exception as error:  # the coordinator restarts; the machine repeats itself
            self._coordinator = None
            _log.info("coordinator not reached", reason=type(error).__name__)

    def _call_coordinator(self) -> Any:
        if self._coordinator is None:
            self._coordinator = ray.get_actor(self._coordinator_name, namespace=NAMESPACE)
        return self._coordinator

    async def _meet_coordinator(self) -> None:
        # Ray connects at the first call; a proposal to succeed a dead primary should not have to wait for it.
        with contextlib.suppress(Exception):
            await self._call_coordinator().pid.remote()

    def _on_peer_lost(self, member: Member) -> None:
        self._post(PeerGone(member))
        if self._runner is not None:
            self._spawn(self._salvager.take_over_from(member))

    def _on_broken(self, error: Exception) -> None:
        # Nobody may trust this process any more; the coordinator gives the seat to a fresh one.
        if self._desk is not None:
            self._desk.fail_all(ServerError(f"the replica failed inside with {type(error).__name__} and is replaced"))
        if self._store is not None:
            self._store.fence.revoke()
        asyncio.get_running_loop().call_later(0.05, os._exit, 1)

    async def _expire(self) -> None:
        assert self._store is not None
        assert self._runner is not None
        kept_ns, seen_ns = int((self._region().stale_for_s or 0.0) * 1e9), 0
        while True:
            await asyncio.sleep(EXPIRY_PASS_S)
            horizon_ns = self._runner.machine.horizon_ns
            # What is over is hidden by now, and stays a while where stale answers are wanted.
            expired = self._store.expired(min(horizon_ns, read_clocks().wall_ns - kept_ns), EXPIRY_PASS_COUNT_MAX)
            if expired:
                self._expirations_count += len(expired)
                self._post(Expired(tuple(expired)))
            if horizon_ns != seen_ns:
                seen_ns = horizon_ns
                self._post(NextExpiry(self._store.next_expiry_ns(horizon_ns)))
            self._store.removals.forget_silent(read_clocks().boot_ns)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _statistics_fields(self) -> dict[str, Any]:
        assert self._store is not None
        assert self._runner is not None
        assert self._desk is not None
        assert self._shard is not None
        machine = self._runner.machine
        configuration = machine.configuration
        store = self._store.statistics()
        return {
            **{name: getattr(store, name) for name in STORE_FIELDS},
            **self._store.removals.fields(),
            "region": self._shard.region,
            "shard": self._shard.number,
            "seat": self._seat,
            "role": machine.role.name.lower(),
            "pid": os.getpid(),
            "node_id": self._node_id,
            "epoch": machine.epoch,
            "last_lsn": machine.last_lsn,
            "commit_lsn": machine.commit_lsn,
            "writes_count": self._desk.writes_count,
            "reads_by_socket_count": self._desk.reads_count,
            "evictions_count": self._desk.evictions_count,
            "expirations_count": self._expirations_count,
            "loads_count": self._desk.loads_count,
            "prefetched_count": self._desk.prefetched_count,
            "in_sync_count": len(configuration.in_sync) if configuration is not None else 0,
            "replication_lag_records": machine.last_lsn - machine.held_lsn,
            "turns_count": self._runner.turns_count,
            "messages_count": self._runner.messages_count,
            **(self._flusher.figures() if self._flusher is not None else {}),
        }


_remote: Any = ray.remote
ReplicaActor = _remote(num_cpus=0, max_restarts=0, max_task_retries=0, max_concurrency=10_000)(Replica)
