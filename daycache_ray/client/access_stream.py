"""Tells the prefetcher what was asked for, behind the readers' backs: a get only appends to a deque.

Access records are worth nothing later, so what cannot be sent at once is dropped and counted. Refuses
to know what is learned from them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from daycache_ray.client.region_reads import RegionReads
from daycache_ray.client.session import Session
from daycache_ray.wire.address import SocketAddress
from daycache_ray.wire.connection import Connection
from daycache_ray.words.cluster_map import ClusterMap
from daycache_ray.words.errors import CacheError
from daycache_ray.words.operations import Accesses

TICK_S: Final = 0.020
"""How old an access may get before it is sent."""

TICK_S_MAX: Final = 0.160
"""The same after a time without any: an idle client wakes six times a second."""

BATCH_COUNT: Final = 256
"""Accesses of one message."""

SEND_S: Final = 0.050
"""How long the prefetcher's socket may be full before records are dropped."""

RECONNECT_S: Final = 1.0


class AccessStream:
    """Ships the accesses of one session's regions, from one thread."""

    def __init__(self, session: Session) -> None:
        self.sent_count = 0
        self.dropped_count = 0
        self._session = session
        self._reads: list[RegionReads] = []
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._connection: Connection | None = None
        self._connect_at_s = 0.0
        self._thread: threading.Thread | None = None

    def add(self, reads: RegionReads) -> None:
        """Ship this region's accesses from now on."""
        if not self._session.config.prediction.enabled:
            return
        self._reads.append(reads)
        reads.wake_stream = self._wake.set
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="daycache-accesses", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ship what there is and end the thread."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def _run(self) -> None:
        pause_s = TICK_S
        while not self._closed.is_set():
            self._wake.wait(pause_s)
            self._wake.clear()
            pause_s = TICK_S if self.ship() else min(TICK_S_MAX, pause_s * 2)
        self.ship()
        if self._connection is not None:
            self._connection.close()

    def ship(self) -> int:
        """Send what waits; return how many accesses there were. Called by the stream's thread."""
        count = 0
        for reads in self._reads:
            waiting = reads.accesses
            while waiting:
                keys, hits = take(waiting, BATCH_COUNT)
                count += len(keys)
                now_ms = time.time_ns() // 1_000_000
                self._send(Accesses(reads.config.name, reads.service, self._session.client, now_ms, keys, hits))
        return count

    def _send(self, accesses: Accesses) -> None:
        try:
            connection = self._connected()
            if connection is not None:
                connection.send(accesses)
                self.sent_count += len(accesses.keys)
                return
        except CacheError:
            self._connection = None
        self.dropped_count += len(accesses.keys)

    def _connected(self) -> Connection | None:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        router = self._session.router
        address = prefetcher_address(router.cluster_map, router.node_id)
        now_s = time.monotonic()
        if address is None or now_s < self._connect_at_s:
            return None
        self._connect_at_s = now_s + RECONNECT_S
        cluster_map, session = router.cluster_map, self._session
        self._connection = Connection.open(
            address,
            cluster=cluster_map.name,
            token=cluster_map.token,
            client=session.client,
            service=session.service,
            deadline_s=SEND_S,
        )
        return self._connection


def take(waiting: deque[bytes | tuple[bytes]], count_max: int) -> tuple[list[bytes], bytes]:
    """Take up to `count_max` accesses, oldest first: their store keys, and 1 for each hit, 0 for each miss.

    >>> take(deque([b"a", (b"b",)]), 10)
    ([b'a', b'b'], b'\\x01\\x00')
    """
    keys: list[bytes] = []
    hits = bytearray()
    try:
        while len(keys) < count_max:
            access = waiting.popleft()
            if isinstance(access, bytes):
                keys.append(access)
                hits.append(1)
            else:
                keys.append(access[0])
                hits.append(0)
    except IndexError:
        pass
    return keys, bytes(hits)


def prefetcher_address(cluster_map: ClusterMap, node_id: str) -> SocketAddress | None:
    """Return where the prefetcher listens, or None where none runs."""
    if cluster_map.prefetcher_socket_path and cluster_map.prefetcher_node_id == node_id:
        return SocketAddress(cluster_map.prefetcher_socket_path, "", 0)
    if cluster_map.prefetcher_host and cluster_map.prefetcher_port:
        return SocketAddress("", cluster_map.prefetcher_host, cluster_map.prefetcher_port)
    return None
