"""The prefetcher and the trainer of a cluster: started after the replicas, revived when they die.

A cluster without them serves as before, only without prefetching and hints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ray
import structlog

from daycache_ray.words.cluster_map import ClusterMap
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.naming import NAMESPACE, prefetcher_name, trainer_name

REVIVE_S = 0.5

_log = structlog.get_logger("daycache.coordinator")


class Companions:
    """Use from one event loop."""

    def __init__(
        self, config: ClusterConfig, current_map: Callable[[], ClusterMap], on_change: Callable[[], None]
    ) -> None:
        self._config = config
        self._current_map = current_map
        self._on_change = on_change
        self._tasks: list[asyncio.Task[None]] = []
        self._handles: dict[str, Any] = {}
        self._prefetcher: dict[str, Any] = {}

    def map_fields(self) -> dict[str, Any]:
        """Return the fields of the cluster map that say where the prefetcher listens."""
        return self._prefetcher

    async def start(self) -> None:
        """Begin to keep them alive."""
        if not self._config.prediction.enabled:
            return
        loop = asyncio.get_running_loop()
        if self._config.prediction.network:
            self._tasks.append(loop.create_task(self._keep(trainer_name(self._config.name), self._start_trainer)))
        self._tasks.append(loop.create_task(self._keep(prefetcher_name(self._config.name), self._start_prefetcher)))

    def stop(self) -> None:
        """End them."""
        for task in self._tasks:
            task.cancel()
        for handle in self._handles.values():
            try:
                ray.kill(handle)
            except Exception as error:
                _log.info("companion gone already", reason=type(error).__name__)

    async def _keep(self, name: str, start: Callable[[str], Any]) -> None:
        while True:
            try:
                try:
                    handle = ray.get_actor(name, namespace=NAMESPACE)
                except ValueError:
                    handle = start(name)
                self._handles[name] = handle
                if name == prefetcher_name(self._config.name):
                    address = await handle.open.remote(self._current_map())
                    self._prefetcher = {
                        "prefetcher_node_id": address.node_id,
                        "prefetcher_socket_path": address.socket_path,
                        "prefetcher_host": address.host,
                        "prefetcher_port": address.port,
                    }
                    self._on_change()
                await handle.wait_closed.remote()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                _log.warning("companion gone", actor=name, reason=f"{type(error).__name__}: {error}")
            if name == prefetcher_name(self._config.name) and self._prefetcher:
                self._prefetcher = {}
                self._on_change()
            await asyncio.sleep(REVIVE_S)

    def _start_prefetcher(self, name: str) -> Any:
        from daycache_ray.actors.prefetcher import PrefetcherActor

        return PrefetcherActor.options(name=name, namespace=NAMESPACE, lifetime="detached").remote(
            self._config.name, self._config
        )

    def _start_trainer(self, name: str) -> Any:
        from daycache_ray.actors.trainer import TrainerActor

        return TrainerActor.options(name=name, namespace=NAMESPACE, lifetime="detached").remote(
            self._config.name, self._config
        )
