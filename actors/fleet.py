"""The replica actors of a cluster: created, kept ready as spares, watched, replaced, ended.

Knows Ray and nothing of replication. Every actor has `max_restarts=0`: Ray would bring a dead one back
after more than a second and without its state; here a spare takes the seat in milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import ray
import structlog
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from daycache_ray.words.naming import NAMESPACE, replica_name

_log = structlog.get_logger("daycache.coordinator")


class Fleet:
    """Names, handles and deaths of replica actors. Use from one event loop."""

    def __init__(
        self,
        cluster: str,
        create: Callable[..., Any],
        *,
        first_number: int,
        on_death: Callable[[str], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._create = create
        self._on_death = on_death
        self._on_change = on_change
        self._tasks: set[asyncio.Task[None]] = set()
        self.next_number = first_number
        self.handles: dict[str, Any] = {}
        self._coming: set[asyncio.Task[None]] = set()
        self.spares: list[tuple[str, str]] = []
        """(actor name, node id) of actors that hold no seat yet."""

    def nodes(self) -> list[str]:
        """Return the ids of the nodes that are alive, in a fixed order."""
        return sorted(node["NodeID"] for node in ray.nodes() if node["Alive"])

    async def obtain(self, node_id: str | None) -> tuple[str, Any]:
        """Return an actor without a seat: a spare of that node, or a new one there.

        A spare of another node would be sooner there, but without the store that is still on this one.
        """
        while True:
            match = next((spare for spare in self.spares if spare[1] == node_id), None)
            if match is not None:
                self.spares.remove(match)
                return match[0], self.handles[match[0]]
            if not self._coming:
                return await self.create(node_id)
            # One that is starting is there before one that would be begun now.
            await asyncio.wait(self._coming, return_when=asyncio.FIRST_COMPLETED)

    async def create(self, node_id: str | None) -> tuple[str, Any]:
        """Create an actor, on `node_id` and nowhere else (None: anywhere); raises what Ray raises.

        Soft affinity would put a second copy on the first one's node while a raylet has not yet heard of a
        node that Ray already lists; better to be refused and to ask again.
        """
        number, self.next_number = self.next_number, self.next_number + 1
        self._on_change()
        name = replica_name(self._cluster, number)
        strategy: Any = "SPREAD" if node_id is None else NodeAffinitySchedulingStrategy(node_id, soft=False)
        handle = self._create(name=name, namespace=NAMESPACE, lifetime="detached", scheduling_strategy=strategy)
        self.adopt(name, handle)
        await handle.ping.remote()
        return name, handle

    def adopt(self, name: str, handle: Any) -> None:
        """Watch an actor that exists."""
        self.handles[name] = handle
        self._on_change()
        self._spawn(self._watch(name, handle))

    async def add_spare(self, node_id: str | None) -> None:
        """Create one more actor without a seat."""
        coming = asyncio.get_running_loop().create_task(self._create_spare(node_id))
        self._coming.add(coming)
        coming.add_done_callback(self._coming.discard)
        await coming

    async def _create_spare(self, node_id: str | None) -> None:
        name, handle = await self.create(node_id)
        self.spares.append((name, await handle.node.remote()))

    def end(self, name: str) -> None:
        """End an actor that is of no more use."""
        handle = self.handles.pop(name, None)
        if handle is not None:
            with contextlib.suppress(Exception):
                ray.kill(handle)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, name: str, handle: Any) -> None:
        # The call never returns while the actor lives; Ray fails it 10 to 40 ms after a kill -9.
        try:
            await handle.wait_closed.remote()
        except Exception as error:
            _log.info("replica actor gone", actor=name, reason=type(error).__name__)
        if self.handles.pop(name, None) is None:
            return
        self.spares = [spare for spare in self.spares if spare[0] != name]
        self._on_change()
        await self._on_death(name)
