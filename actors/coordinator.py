"""The configuration manager of a cluster, as a detached, named actor.

It decides nothing about who may be primary: one `ShardCoordinator` machine per shard does. This shell
fills seats, hears of deaths, saves what the machines say before anybody hears of it, and publishes one
versioned map. Nothing needs it while nothing fails. It restarts by Ray with its state in Ray's own
key-value store.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec
import ray
import structlog

from daycache_ray.actors.clocks import read_clocks
from daycache_ray.actors.cluster_state import ClusterState, Roster
from daycache_ray.actors.cluster_view import ClusterView, Seat
from daycache_ray.actors.companions import Companions
from daycache_ray.actors.fleet import Fleet
from daycache_ray.actors.replica import OpenedStore, ReplicaActor
from daycache_ray.protocol.coordinator import ShardCoordinator
from daycache_ray.words.cluster_map import ClusterMap
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import CacheError, StoreFullError, UsageError
from daycache_ray.words.messages import (
    Configure,
    CoordinatorEffect,
    CoordinatorState,
    MemberDied,
    Persist,
    Register,
    Registered,
    SendConfigure,
    StoreLost,
)
from daycache_ray.words.naming import NAMESPACE, coordinator_name
from daycache_ray.words.types import CacheConsistencyLevel, Member, ShardId

REFILL_S = 0.5
"""Pause before a seat that could not be filled is tried again."""

_log = structlog.get_logger("daycache.coordinator")


class Coordinator:
    """The actor's class; see the module. Everything runs on the actor's event loop."""

    def __init__(self, config: ClusterConfig, cluster_id: str, token: str) -> None:
        self._config = config
        self._cluster_id = cluster_id
        self._token = token
        self._state = ClusterState(config.name, cluster_id)
        saved = self._state.load_roster()
        self._is_new = saved is None
        self._roster = saved if saved is not None else Roster()
        self._machines: dict[ShardId, ShardCoordinator] = {}
        self._seats: dict[tuple[ShardId, int], Seat] = {}
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._refusal: CacheError | None = None
        self._http_url = ""
        for region in config.regions:
            for number in range(region.shards):
                shard = ShardId(region.name, number)
                payload = self._state.load_shard(str(shard))
                state = None if payload is None else msgspec.msgpack.decode(payload, type=CoordinatorState)
                self._machines[shard] = ShardCoordinator(shard, region.replicas, state)
                for seat in range(region.replicas):
                    self._seats[shard, seat] = Seat(shard, seat)
        self._fleet = Fleet(
            config.name,
            self._create_actor,
            first_number=self._roster.next_actor_number,
            on_death=self._on_death,
            on_change=self._save_roster,
        )
        self._companions = Companions(config, lambda: self._map, self._publish_soon)
        # Versions of an earlier life may not have been saved to the last; a jump is beyond them all.
        self._view = ClusterView(config, cluster_id, token, self._machines, self._seats)
        version = self._roster.map_version + (0 if self._is_new else 1_000_000)
        self._map = self._view.build_map(version, "", {})
        self._spawn(self._bring_up())

    # What others call.

    async def get_map(self, known_version: int = -1, wait_s: float = 0.0) -> ClusterMap | None:
        """Return the map, as soon as it is newer than `known_version`; None after `wait_s` seconds."""
        if self._map.version > known_version:
            return self._map
        try:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(lambda: self._map.version > known_version), wait_s)
        except asyncio.TimeoutError:
            return None
        return self._map

    async def wait_ready(self, deadline_s: float) -> str:
        """Return "" when every shard can serve at its region's level, else after `deadline_s` what is missing.

        Raises:
            CacheError: a store can never be opened as configured; the message says what to change.
        """
        def settled() -> bool:
            return not self._view.missing(self._map) or self._refusal is not None

        try:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(settled), deadline_s)
        except asyncio.TimeoutError:
            return "; ".join(self._view.missing(self._map))
        if self._refusal is not None:
            raise self._refusal
        return ""

    async def wait_complete(self, deadline_s: float) -> str:
        """Return "" when every seat is filled and in sync, else after `deadline_s` what is missing."""
        try:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(lambda: not self._view.incomplete(self._map)), deadline_s)
        except asyncio.TimeoutError:
            return "; ".join(self._view.incomplete(self._map))
        return ""

    async def tell(self, message: Any) -> None:
        """Take a message of a replica's machine."""
        await self._handle(message.shard, message)

    async def pid(self) -> int:
        """Return this process's id."""
        return os.getpid()

    async def set_http_url(self, url: str) -> None:
        """Publish where HTTP is served."""
        self._http_url = url
        await self._publish()

    async def stop(self) -> None:
        """End every actor of the cluster and remove its memory; the caller ends this one."""
        self._stopping = True
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        self._companions.stop()
        handles = list(self._fleet.handles.items())
        leaving = [handle.leave.remote(True) for _, handle in handles]
        if leaving:
            await asyncio.wait([asyncio.ensure_future(_quietly(reference)) for reference in leaving], timeout=5)
        for _, handle in handles:  # not by name: who has left in order is off the fleet's list already
            ray.kill(handle)
        self._state.forget()

    # Seats.

    async def _bring_up(self) -> None:
        if not self._is_new:
            await self._adopt_survivors()
        empty = [seat for seat in self._seats.values() if seat.member is None]
        # Primaries first, then what a strong region needs, then the rest: start() returns before the rest.
        strong = {region.name for region in self._config.regions if region.level is CacheConsistencyLevel.STRONG}
        empty.sort(key=lambda seat: (seat.number - (seat.shard.region in strong), seat.number))
        await asyncio.gather(*(self._fill(seat) for seat in empty))
        for _ in range(self._config.spare_actors - len(self._fleet.spares)):
            await self._add_spare()
        await self._companions.start()

    async def _adopt_survivors(self) -> None:
        for name, (region, number, seat_number) in list(self._roster.seats.items()):
            seat = self._seats.get((ShardId(region, number), seat_number))
            try:
                handle = ray.get_actor(name, namespace=NAMESPACE)
                member, info = await handle.describe.remote()
            except Exception:
                continue
            if seat is None or member is None:
                continue
            seat.actor, seat.info, seat.node_id = name, info, info.node_id
            seat.member = Member(*member)
            self._fleet.adopt(name, handle)
        for name in self._roster.spares:
            try:
                handle = ray.get_actor(name, namespace=NAMESPACE)
                node_id = await handle.node.remote()
            except Exception:
                continue
            self._fleet.adopt(name, handle)
            self._fleet.spares.append((name, node_id))
        _log.info("coordinator restarted", members=sum(seat.member is not None for seat in self._seats.values()))
        await self._publish()

    async def _fill(self, seat: Seat) -> None:
        while not self._stopping:
            name = ""
            try:
                node_id = self._place(seat)
                name, handle = await self._fleet.obtain(node_id)
                seat.actor = name
                fresh = self._machines[seat.shard].state.configuration is None
                info: OpenedStore = await handle.open_store.remote(tuple(seat.shard), seat.number, fresh)
                seat.info, seat.node_id = OpenedStore(*info), info.node_id
                await self._handle(
                    seat.shard,
                    Register(0, seat.number, info.node_id, info.store_id, info.last_epoch, info.last_lsn),
                )
                self._save_roster()
                return
            except Exception as error:
                _log.warning(
                    "seat not filled",
                    shard=str(seat.shard),
                    seat=seat.number,
                    reason=f"{type(error).__name__}: {error}",
                )
                cause = getattr(error, "cause", error)
                if isinstance(cause, (StoreFullError, UsageError)):
                    self._refusal = cause
                    self._publish_soon()
                if name:
                    self._fleet.end(name)
                seat.actor, seat.member = "", None
                await asyncio.sleep(REFILL_S)

    def _place(self, seat: Seat) -> str | None:
        nodes = self._fleet.nodes()
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
        member, seat.member, seat.actor = seat.member, None, ""
        if member is not None:
            await self._handle(seat.shard, MemberDied(member))
            if seat.node_id not in self._fleet.nodes():
                await self._handle(seat.shard, StoreLost(member))
        self._spawn(self._fill(seat))
        self._spawn(self._add_spare())

    async def _add_spare(self) -> None:
        if self._config.spare_actors > len(self._fleet.spares) and not self._stopping:
            try:
                await self._fleet.add_spare(None)
            except Exception as error:
                _log.warning("no spare actor", reason=f"{type(error).__name__}: {error}")

    def _create_actor(self, *, name: str, **options: Any) -> Any:
        number = int(name.rpartition(":")[2])
        return ReplicaActor.options(name=name, **options).remote(
            self._config, self._cluster_id, self._token, number, coordinator_name(self._config.name)
        )

    # The machines.

    async def _handle(self, shard: ShardId, message: Any) -> None:
        effects = self._machines[ShardId(*shard)].handle(message, read_clocks())
        for effect in effects:
            self._perform(ShardId(*shard), effect, message)
        if effects:
            await self._publish()

    def _perform(self, shard: ShardId, effect: CoordinatorEffect, cause: Any) -> None:
        if isinstance(effect, Persist):
            self._persist(shard, effect.state)
        elif isinstance(effect, SendConfigure):
            seat = self._seats[shard, effect.member.seat]
            handle = self._fleet.handles.get(seat.actor)
            if handle is not None and seat.member == effect.member:
                handle.configure.remote(effect.message, self._view.addresses(shard))
        elif isinstance(effect, Registered):
            seat = self._seats[shard, effect.member.seat]
            seat.member = effect.member
            configuration = effect.configuration
            configure = None if configuration is None else Configure(shard, configuration, effect.member)
            self._spawn(self._begin(seat.actor, effect.member, configure))

    async def _begin(self, actor: str, member: Member, configure: Configure | None) -> None:
        handle = self._fleet.handles.get(actor)
        if handle is None:
            return
        shard = next(seat.shard for seat in self._seats.values() if seat.actor == actor)
        try:
            await handle.begin.remote(tuple(member), configure, self._view.addresses(shard))
        except Exception as error:  # its death is noticed, and the seat filled anew
            _log.warning("replica did not begin", actor=actor, reason=f"{type(error).__name__}: {error}")
            ray.kill(handle)

    def _persist(self, shard: ShardId, state: CoordinatorState) -> None:
        configuration = state.configuration
        if configuration is not None:
            proof = msgspec.msgpack.encode((configuration.primary, configuration.in_sync))
            if not self._state.claim_epoch(str(shard), configuration.epoch, proof):
                # Another coordinator has given this epoch: it is our successor, and we are cut off.
                _log.error("deposed", shard=str(shard), epoch=configuration.epoch)
                os._exit(1)
        self._state.save_shard(str(shard), msgspec.msgpack.encode(state))

    # The map.

    def _publish_soon(self) -> None:
        self._spawn(self._publish())

    async def _publish(self) -> None:
        self._map = self._view.build_map(self._map.version + 1, self._http_url, self._companions.map_fields())
        self._roster.map_version = self._map.version
        async with self._changed:
            self._changed.notify_all()

    def _save_roster(self) -> None:
        self._roster.next_actor_number = self._fleet.next_number if hasattr(self, "_fleet") else 1
        self._roster.seats = {
            seat.actor: (seat.shard.region, seat.shard.number, seat.number)
            for seat in self._seats.values()
            if seat.actor
        }
        self._roster.spares = [name for name, _ in self._fleet.spares] if hasattr(self, "_fleet") else []
        self._state.save_roster(self._roster)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _quietly(reference: Any) -> None:
    try:
        await reference
    except Exception as error:
        _log.info("actor did not leave in order", reason=type(error).__name__)


_remote: Any = ray.remote
CoordinatorActor = _remote(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=10_000)(Coordinator)
