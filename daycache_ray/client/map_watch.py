"""Keeps this process's copy of a cluster map fresh: one thread per cluster asks the coordinator for news.

The coordinator answers when there is a newer map, or after a while; reads and writes never wait for
it. While it cannot be reached the last map stays in force.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Final

import ray

from daycache_ray.client.router import Router
from daycache_ray.client.session import Session
from daycache_ray.wire.ray_runtime import join
from daycache_ray.words.cluster_map import ClusterMap
from daycache_ray.words.errors import ClusterNotFoundError, UnavailableError
from daycache_ray.words.naming import NAMESPACE, coordinator_name

POLL_S: Final = 10.0
"""How long the coordinator keeps a question when it has no news."""

ANSWER_S: Final = 15.0
RETRY_S: Final = 0.1
RETRY_S_MAX: Final = 2.0


class MapWatch:
    """The newest map of one cluster, and those who want to hear of a newer one."""

    def __init__(self, name: str, router: Router) -> None:
        self.name = name
        self.router = router
        self.users_count = 0
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"daycache-map-{name}", daemon=True)

    def add(self, session: Session) -> None:
        """Tell a session of every newer map."""
        self._sessions.add(session)
        session.take_map(self.router)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; returns at once."""
        self._stopped.set()
        self._wake.set()

    def take(self, cluster_map: ClusterMap) -> None:
        """Go on with a newer map; an older one is ignored."""
        if cluster_map.version <= self.router.cluster_map.version:
            return
        self.router = Router(cluster_map, self.router.node_id)
        for session in list(self._sessions):
            session.take_map(self.router)

    def _run(self) -> None:
        pause_s = RETRY_S
        while not self._stopped.is_set() and ray.is_initialized():
            cluster_map = self._ask(self.router.cluster_map.version)
            if self._stopped.is_set():
                return
            if cluster_map is not None:
                pause_s = RETRY_S
                self.take(cluster_map)
            else:
                self._wake.wait(pause_s)
                pause_s = min(RETRY_S_MAX, pause_s * 2)

    def _ask(self, known_version: int) -> ClusterMap | None:
        # A future and an event instead of ray.get: stop() must be able to end the wait.
        try:
            coordinator: Any = ray.get_actor(coordinator_name(self.name), namespace=NAMESPACE)
            future: Any = coordinator.get_map.remote(known_version, POLL_S).future()
            future.add_done_callback(lambda _: self._wake.set())
            self._wake.wait(ANSWER_S)
            if self._stopped.is_set() or not future.done():
                return None
            self._wake.clear()
            answer = future.result(0) or self.router.cluster_map
            return answer if isinstance(answer, ClusterMap) else None
        except Exception:
            return None


_watches: dict[str, MapWatch] = {}
_lock = threading.Lock()


def acquire(name: str, address: str | None) -> MapWatch:
    """Return the process's watch of a cluster; give it back with `release`.

    Raises:
        ClusterNotFoundError: no such cluster runs.
        UnavailableError: its coordinator does not answer.
    """
    join(address)
    with _lock:
        watch = _watches.get(name)
        cluster_map = first_map(name)
        if watch is None or watch.router.cluster_map.cluster_id != cluster_map.cluster_id:
            if watch is not None:
                watch.stop()
            watch = _watches[name] = MapWatch(name, Router(cluster_map, ray.get_runtime_context().get_node_id()))
            watch.start()
        watch.take(cluster_map)
        watch.users_count += 1
        return watch


def release(watch: MapWatch) -> None:
    """One user less; the last one ends the thread."""
    with _lock:
        watch.users_count -= 1
        if watch.users_count <= 0:
            watch.stop()
            if _watches.get(watch.name) is watch:
                del _watches[watch.name]


def abandon_watches() -> None:
    """In a forked child: its threads do not exist, and Ray is the parent's."""
    global _lock
    _lock = threading.Lock()
    _watches.clear()


def first_map(name: str) -> ClusterMap:
    """Ask the coordinator of a cluster for its map."""
    try:
        coordinator: Any = ray.get_actor(coordinator_name(name), namespace=NAMESPACE)
    except ValueError:
        raise ClusterNotFoundError(
            f"no cluster '{name}' runs in this Ray cluster: daycache.start() one first"
        ) from None
    try:
        answer: Any = coordinator.get_map.remote(-1, 0.0).future().result(ANSWER_S)
    except Exception as error:
        raise UnavailableError(f"the coordinator of cluster '{name}' does not answer: {error}") from None
    if not isinstance(answer, ClusterMap):
        raise UnavailableError(f"the coordinator of cluster '{name}' has no map yet: try again in a moment")
    return answer
