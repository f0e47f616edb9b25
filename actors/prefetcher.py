"""The prefetcher of a cluster, as a Ray actor: hears accesses on a socket, writes hints, loads ahead.

It is born with a configuration; `open` gives it the cluster's map, and it listens. From then on it
lives from its socket: one `Accesses` frame after another, no answers. What it loads goes the way of
every load: a fill lease of the shard's primary, the region's loader, a store under the lease. It needs
neither Serve nor a network, and nothing needs it: without it caches answer as before, and the
optimizer from priors.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
import structlog

from daycache_ray.actors.access_learning import AccessLearning, Wanted
from daycache_ray.actors.ahead_loads import AheadLoads
from daycache_ray.actors.clocks import read_clocks
from daycache_ray.actors.network_calls import NetworkCalls
from daycache_ray.actors.network_link import NetworkLink, NetworkStatistics, Question
from daycache_ray.actors.region_learning import RegionPrediction
from daycache_ray.client.map_watch import MapWatch
from daycache_ray.client.router import Router
from daycache_ray.protocol.prefetch import Receipt
from daycache_ray.storage.hint_table import HintWriter
from daycache_ray.wire.server import ServerConnection, SocketServer
from daycache_ray.words.cluster_map import ClusterMap
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import ProtocolError, UnavailableError
from daycache_ray.words.messages import PeerMessage
from daycache_ray.words.operations import Accesses, Request

TICK_S: Final = 0.25
BUSY_RATIO_MAX: Final = 0.25
"""Part of one processor that learning may take; batches beyond are only counted. Caches come first."""

BUSY_S_MAX: Final = 0.5
"""Learning time that may be saved up for a crowd."""

LOAD_THREADS: Final = 32
"""Loads at the same time; an origin that is slow for one key must not hold up the others."""

_log = structlog.get_logger("daycache.prefetcher")


@dataclass(frozen=True, slots=True)
class PrefetcherAddress:
    """How clients reach the prefetcher; the path means something on its node only."""

    node_id: str
    socket_path: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PrefetcherStatistics:
    """Counts since the start; `busy_us_per_access` is processor time for learning and predicting.

    `noted_batches_count` came when that time was used up, and were counted without learning; `ignored_…`
    were of no region of the cluster. `network` is None where the configuration has none.
    """

    pid: int
    node_id: str
    batches_count: int
    ignored_batches_count: int
    noted_batches_count: int
    accesses_count: int
    busy_us_per_access: float
    hints_written_count: int
    failures_count: int
    protocol_errors_count: int
    regions: tuple[RegionPrediction, ...]
    network: NetworkStatistics | None


class Prefetcher:
    """The actor's class; see the module. Everything but loads runs on the actor's event loop."""

    def __init__(self, cluster_name: str, config: ClusterConfig) -> None:
        self._cluster_name = cluster_name
        self._config = config
        self._node_id = ray.get_runtime_context().get_node_id()
        self._closed = asyncio.Event()
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(LOAD_THREADS, thread_name_prefix="daycache-ahead")
        self._server: SocketServer | None = None
        self._hints: HintWriter | None = None
        self._learning: AccessLearning | None = None
        self._loads: AheadLoads | None = None
        self._link: NetworkLink | None = None
        self._watch: MapWatch | None = None
        self._address: PrefetcherAddress | None = None
        self._accesses_count = 0
        self._learned_count = 0
        self._busy_s = 0.0
        self._spare_s = BUSY_S_MAX
        self._taken_ns = read_clocks().boot_ns

    async def ping(self) -> None:
        """Answer when the process is up."""

    async def wait_closed(self) -> None:
        """Return when the actor ends in order; fails by Ray when it dies."""
        await self._closed.wait()

    async def open(self, cluster_map: ClusterMap) -> PrefetcherAddress:
        """Start to listen, at the first call, and to watch for newer maps; return how clients reach it.

        Raises:
            StoreInUseError: another prefetcher of this cluster lives on this node.
            OSError: the node's shared memory cannot hold the hints, or the socket's path is too long.
        """
        async with self._opening:
            if self._address is None:
                self._address = await self._open(cluster_map)
        return self._address

    async def _open(self, cluster_map: ClusterMap) -> PrefetcherAddress:
        directory = Path(cluster_map.directory)
        path = directory / "prefetcher.socket"
        if self._hints is None:
            self._hints = HintWriter(directory / "hints")
        if self._watch is None:
            self._watch = MapWatch(self._cluster_name, Router(cluster_map, self._node_id))
            self._watch.start()
        self._loads = AheadLoads(self._watch)
        if self._config.prediction.network:
            calls = NetworkCalls(self._cluster_name)
            self._link = NetworkLink(self._config.prediction, calls.ask, self._answered, calls.ship)
            self._spawn(self._link.run())
        self._learning = AccessLearning(self._config, self._hints, read_clocks().boot_ns / 1e9, link=self._link)
        host: str = ray.util.get_node_ip_address()
        server = SocketServer(self, cluster=self._cluster_name, token=cluster_map.token)
        await server.listen(path, host)
        self._server = server
        self._spawn(self._tick())
        return PrefetcherAddress(self._node_id, str(path), host, server.port)

    async def close(self) -> None:
        """End in order: stop listening, stop loading, give the hints back."""
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            self._server.close()
        if self._watch is not None:
            self._watch.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._loads is not None:
            self._loads.close()
        if self._hints is not None:
            self._hints.close()
        self._closed.set()

    async def statistics(self) -> PrefetcherStatistics:
        """Return what was learned, loaded and gained so far; raises UnavailableError before it listens."""
        if self._learning is None or self._server is None or self._hints is None:
            raise UnavailableError("the prefetcher does not listen yet: ask again in a moment")
        return PrefetcherStatistics(
            pid=os.getpid(),
            node_id=self._node_id,
            batches_count=self._learning.batches_count,
            ignored_batches_count=self._learning.ignored_batches_count,
            noted_batches_count=self._learning.noted_batches_count,
            accesses_count=self._accesses_count,
            busy_us_per_access=self._busy_s * 1e6 / max(self._learned_count, 1),
            hints_written_count=self._hints.written_count,
            failures_count=self._server.failures_count,
            protocol_errors_count=self._server.protocol_errors_count,
            regions=self._learning.statistics(read_clocks().boot_ns / 1e9),
            network=self._link.statistics() if self._link is not None else None,
        )

    async def receipts(self, region: str) -> tuple[Receipt, ...]:
        """Return the last prefetches of a region with what each gained, oldest first."""
        return self._learning.receipts(region) if self._learning is not None else ()

    # The socket's side: RequestHandler.

    def on_request(self, connection: ServerConnection, request: Request) -> None:
        """Take a request of a socket."""
        if type(request) is not Accesses:
            raise ProtocolError("a prefetcher takes accesses and nothing else: ask the shard's replica")
        self._take(request)

    def on_peer(self, message: PeerMessage) -> None:
        """Refuse: no replica has anything to say here."""
        raise ProtocolError("a prefetcher is no replica")

    def on_read(self, connection: ServerConnection) -> None:
        """Accesses are learned from one by one."""

    def on_closed(self, connection: ServerConnection) -> None:
        """Nothing is kept per connection."""

    # Inside.

    def _take(self, batch: Accesses) -> None:
        assert self._learning is not None
        assert self._loads is not None
        now = read_clocks()
        elapsed_s = (now.boot_ns - self._taken_ns) / 1e9
        self._taken_ns = now.boot_ns
        self._spare_s = min(self._spare_s + elapsed_s * BUSY_RATIO_MAX, BUSY_S_MAX)
        self._accesses_count += len(batch.keys)
        if self._spare_s <= 0.0:
            self._learning.note(batch, now)
            return
        started_s = time.thread_time()
        wanted = self._learning.learn(batch, now, self._loads.is_resident)
        busy_s = time.thread_time() - started_s
        self._spare_s -= busy_s
        self._busy_s += busy_s
        self._learned_count += len(batch.keys)
        self._load(wanted)

    def _answered(self, question: Question) -> None:
        assert self._learning is not None
        assert self._loads is not None
        self._load(self._learning.answered(question, read_clocks(), self._loads.is_resident))

    def _load(self, wanted: tuple[Wanted, ...]) -> None:
        assert self._loads is not None
        for group in self._loads.grouped(wanted):
            self._spawn(self._load_group(group))

    async def _load_group(self, group: tuple[Wanted, ...]) -> None:
        assert self._learning is not None
        assert self._loads is not None
        loop = asyncio.get_running_loop()
        try:
            fetched = await loop.run_in_executor(self._threads, self._loads.fetch, group)
        except Exception as error:  # a loader may raise anything; the prefetcher goes on
            _log.info("prefetch failed", region=group[0].region, reason=f"{type(error).__name__}: {error}"[:200])
            fetched = {}
        now_s = read_clocks().boot_ns / 1e9
        for wanted in group:
            took_s = fetched.get(wanted.key)
            if took_s is None:
                self._learning.failed(wanted, now_s)
            elif took_s < 0.0:
                self._learning.present(wanted, now_s)
            else:
                self._learning.loaded(wanted, took_s, now_s)

    async def _tick(self) -> None:
        assert self._learning is not None
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self._learning.tick(read_clocks())
            except Exception as error:  # hints of a moment are lost; the next tick writes others
                _log.error("tick failed", exc_info=error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


PrefetcherActor = ray.remote(  # type: ignore[call-overload]
    num_cpus=0, max_restarts=0, max_task_retries=0, max_concurrency=1_000
)(Prefetcher)
"""`PrefetcherActor.remote(cluster_name, config)`; then `open(cluster_map)`."""
