"""Who sits where: every seat of every shard gets an actor, and gets another one when that dies or hangs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import ray
import structlog

from daycache_ray.actors.cluster_state import Roster
from daycache_ray.actors.cluster_view import Seat
from daycache_ray.actors.fleet import Fleet
from daycache_ray.actors.opening import OpenedStore
from daycache_ray.actors.replica import ReplicaActor
from daycache_ray.protocol.coordinator import ShardCoordinator
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import CacheError, StoreFullError, UsageError
from daycache_ray.words.messages import MemberDied, Register, StoreLost
from daycache_ray.words.naming import NAMESPACE, coordinator_name
from daycache_ray.words.types import CacheConsistencyLevel, Member, ShardId

REFILL_S: Final = 0.5
"""Pause before a seat that could not be filled is tried again."""

HUNG_S: Final = 3.0
"""How long an actor that its shard dropped may leave a call unanswered before it is ended."""

_log = structlog.get_logger("daycache.coordinator")


class Seating:
    """Fills seats. `handle` gives a message to a shard's machine, `changed` saves the roster."""

    def __init__(
        self,
        config: ClusterConfig,
        cluster_id: str,
        token: str,
        *,
        machines: Mapping[ShardId, ShardCoordinator],
        seats: Mapping[tuple[ShardId, int], Seat],
        first_actor_number: int,
        handle: Callable[[ShardId, Any], Awaitable[None]],
        changed: Callable[[], None],
        refused: Callable[[CacheError], None],
    ) -> None:
        self._config = config
        self._cluster_id = cluster_id
        self._token = token
        self._machines = machines
        self._seats = seats
        self._handle = handle
        self._changed = changed
        self._refused = refused
        self._stopping = False
        self._node_id = ray.get_runtime_context().get_node_id()
        self._tasks: set[asyncio.Task[None]] = set()
        self.fleet = Fleet(
            config.name,
            self._create_actor,
            first_number=first_actor_number,
            on_death=self._on_death,
            on_change=changed,
        )

    async def fill_all(self) -> None:
        """Fill every empty seat, then make spares ready."""
        # First what a start waits for: as many copies as each region needs to serve at its level. Processes
        # that start at the same time on few cores only delay each other.
        empty = [seat for seat in self._seats.values() if seat.member is None]
        await asyncio.gather(*(self._fill(seat) for seat in empty if seat.number < self._copies_to_serve(seat)))
        await asyncio.gather(*(self._fill(seat) for seat in empty if seat.number >= self._copies_to_serve(seat)))
        for _ in range(self._config.spare_actors - len(self.fleet.spares)):
            await self._add_spare()

    async def adopt(self, roster: Roster) -> None:
        """Take over the actors of an earlier life of the coordinator, those that still live."""
        for name, (region, number, seat_number) in list(roster.seats.items()):
            seat = self._seats.get((ShardId(region, number), seat_number))
            try:
                handle = ray.get_actor(name, namespace=NAMESPACE)
                member, opened = await handle.describe.remote()
            except Exception as error:
                _log.info("member gone meanwhile", actor=name, reason=type(error).__name__)
                continue
            if seat is None or member is None:
                continue
            seat.actor, seat.opened, seat.node_id, seat.member = name, opened, opened.node_id, Member(*member)
            self.fleet.adopt(name, handle)
        for name in roster.spares:
            try:
                handle = ray.get_actor(name, namespace=NAMESPACE)
                node_id = await handle.node.remote()
            except Exception as error:
                _log.info("spare gone meanwhile", actor=name, reason=type(error).__name__)
                continue
            self.fleet.adopt(name, handle)
            self.fleet.spares.append((name, node_id))
        _log.info("coordinator restarted", members=sum(seat.member is not None for seat in self._seats.values()))

    def examine(self, seat: Seat) -> None:
        """Look whether a member that its shard dropped still answers; Ray never notices one that hangs."""
        self._spawn(self._examine(seat, seat.actor))

    async def drain(self, deadline_s: float) -> int:
        """Let write-behind regions write what waits; return how many entries the origins have not got."""
        drained = []
        for seat in self._seats.values():
            handle = self.fleet.handles.get(seat.actor)
            if handle is not None and self._config.region(seat.shard.region).writes_behind:
                drained.append(_drained(handle, deadline_s))
        return sum(await asyncio.gather(*drained))

    async def stop(self) -> None:
        """End every actor, in order where it can."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        handles = list(self.fleet.handles.values())
        leaving = [asyncio.ensure_future(_quietly(handle.leave.remote(True))) for handle in handles]
        if leaving:
            await asyncio.wait(leaving, timeout=5)
        for handle in handles:  # not by name: who has left in order is off the fleet's list already
            ray.kill(handle)

    async def _fill(self, seat: Seat) -> None:
        seat.filling = True
        try:
            while not await self._try_to_fill(seat):
                await asyncio.sleep(REFILL_S)
                if self._stopping:
                    return
        finally:
            seat.filling = False

    async def _try_to_fill(self, seat: Seat) -> bool:
        name = ""
        try:
            name, handle = await self.fleet.obtain(self._place(seat))
            seat.actor = name
            fresh = self._machines[seat.shard].state.configuration is None
            opened: OpenedStore = await handle.open_store.remote(tuple(seat.shard), seat.number, fresh)
            seat.opened, seat.node_id = opened, opened.node_id
            register = Register(0, seat.number, opened.node_id, opened.store_id, opened.last_epoch, opened.last_lsn)
            await self._handle(seat.shard, register)
        except Exception as error:
            cause = getattr(error, "cause", error)
            reason = f"{type(cause).__name__}: {cause}"
            _log.warning("seat not filled", shard=str(seat.shard), seat=seat.number, reason=reason)
            if isinstance(cause, (StoreFullError, UsageError)):
                self._refused(cause)
            if name:
                self.fleet.end(name)
            seat.actor, seat.member, seat.trouble = "", None, reason
            return False
        seat.trouble = ""
        self._changed()
        return True

    def _copies_to_serve(self, seat: Seat) -> int:
        region = self._config.region(seat.shard.region)
        return region.strong_copies if region.level is CacheConsistencyLevel.STRONG else 1

    def _place(self, seat: Seat) -> str | None:
        nodes = self.fleet.nodes()
        if seat.node_id in nodes:
            return seat.node_id  # its store may still be there
        taken = [other.node_id for (shard, _), other in self._seats.items() if shard == seat.shard and other.member]
        free = [node for node in nodes if node not in taken] or nodes
        order = list(self._machines).index(seat.shard) + seat.number
        return free[order % len(free)] if free else None

    async def _on_death(self, name: str) -> None:
        if self._stopping:
            return
        seat = next((seat for seat in self._seats.values() if seat.actor == name), None)
        if seat is None:
            await self._add_spare()
            return
        if seat.filling and seat.member is None:
            return  # the one who fills it sees the failure and goes on
        member, seat.member, seat.actor = seat.member, None, ""
        if member is not None:
            await self._handle(seat.shard, MemberDied(member))
            if seat.node_id not in self.fleet.nodes():
                await self._handle(seat.shard, StoreLost(member))
        self._spawn(self._fill(seat))
        self._spawn(self._add_spare())

    async def _examine(self, seat: Seat, actor: str) -> None:
        handle = self.fleet.handles.get(actor)
        if handle is None:
            return
        try:
            await asyncio.wait_for(handle.ping.remote(), HUNG_S)
        except asyncio.TimeoutError:
            if seat.actor != actor or seat.opened is None:
                return
            _log.warning("member hangs and is ended", shard=str(seat.shard), seat=seat.number, pid=seat.opened.pid)
            # Ray's own kill asks the process; a stopped one does not answer.
            if seat.opened.node_id == self._node_id:
                os.kill(seat.opened.pid, signal.SIGKILL)
            else:
                ray.kill(handle)
        except Exception as error:
            _log.info("dropped member is gone", actor=actor, reason=type(error).__name__)

    async def _add_spare(self) -> None:
        if self._config.spare_actors > len(self.fleet.spares) and not self._stopping:
            try:
                await self.fleet.add_spare(None)
            except Exception as error:
                _log.warning("no spare actor", reason=f"{type(error).__name__}: {error}")

    def _create_actor(self, *, name: str, **options: Any) -> Any:
        number = int(name.rpartition(":")[2])
        return ReplicaActor.options(name=name, **options).remote(
            self._config, self._cluster_id, self._token, number, coordinator_name(self._config.name)
        )

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _drained(handle: Any, deadline_s: float) -> int:
    try:
        return int(await asyncio.wait_for(handle.drain.remote(deadline_s), deadline_s + 2))
    except Exception as error:  # it dies, or hangs: what it had stays unwritten, and its successor may say more
        _log.warning("a replica was not drained", reason=type(error).__name__)
        return 0


async def _quietly(reference: Any) -> None:
    try:
        await reference
    except Exception as error:
        _log.info("actor did not leave in order", reason=type(error).__name__)
