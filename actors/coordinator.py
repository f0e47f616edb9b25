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
from daycache_ray.actors.seating import Seating
from daycache_ray.protocol.coordinator import ShardCoordinator
from daycache_ray.words.cluster_map import ClusterMap
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import CacheError
from daycache_ray.words.messages import (
    Configure,
    CoordinatorEffect,
    CoordinatorState,
    Persist,
    Registered,
    SendConfigure,
)
from daycache_ray.words.types import Member, ShardId

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
        self._seating = Seating(
            config,
            cluster_id,
            token,
            machines=self._machines,
            seats=self._seats,
            first_actor_number=self._roster.next_actor_number,
            handle=self._handle,
            changed=self._save_roster,
            refused=self._refuse,
        )
        self._companions = Companions(config, lambda: self._map, lambda: self._spawn(self._publish()))
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

    async def stop(self, drain_s: float = 0.0) -> int:
        """End every actor of the cluster and remove its memory; the caller ends this one.

        Write-behind regions first write what waits, at most for `drain_s`; return how many entries are left.
        """
        left_count = await self._seating.drain(drain_s) if drain_s > 0 else 0
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        self._companions.stop()
        await self._seating.stop()
        self._state.forget()
        return left_count

    async def _bring_up(self) -> None:
        if not self._is_new:
            await self._seating.adopt(self._roster)
            await self._publish()
        await self._seating.fill_all()
        await self._companions.start()

    # The machines.

    async def _handle(self, shard: ShardId, message: Any) -> None:
        shard = ShardId(*shard)
        before = self._in_sync(shard)
        effects = self._machines[shard].handle(message, read_clocks())
        for effect in effects:
            self._perform(shard, effect)
        for member in before - self._in_sync(shard):
            seat = self._seats[shard, member.seat]
            if seat.member == member:
                self._seating.examine(seat)
        if effects:
            await self._publish()

    def _in_sync(self, shard: ShardId) -> set[Member]:
        configuration = self._machines[shard].state.configuration
        return set() if configuration is None else set(configuration.in_sync)

    def _refuse(self, error: CacheError) -> None:
        self._refusal = error
        self._spawn(self._publish())

    def _perform(self, shard: ShardId, effect: CoordinatorEffect) -> None:
        if isinstance(effect, Persist):
            self._persist(shard, effect.state)
        elif isinstance(effect, SendConfigure):
            seat = self._seats[shard, effect.member.seat]
            handle = self._seating.fleet.handles.get(seat.actor)
            if handle is not None and seat.member == effect.member:
                handle.configure.remote(effect.message, self._view.addresses(shard))
        elif isinstance(effect, Registered):
            seat = self._seats[shard, effect.member.seat]
            seat.member = effect.member
            configuration = effect.configuration
            configure = None if configuration is None else Configure(shard, configuration, effect.member)
            self._spawn(self._begin(seat.actor, effect.member, configure))

    async def _begin(self, actor: str, member: Member, configure: Configure | None) -> None:
        handle = self._seating.fleet.handles.get(actor)
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

    async def _publish(self) -> None:
        self._map = self._view.build_map(self._map.version + 1, self._http_url, self._companions.map_fields())
        self._roster.map_version = self._map.version
        async with self._changed:
            self._changed.notify_all()

    def _save_roster(self) -> None:
        fleet = self._seating.fleet
        self._roster.next_actor_number = fleet.next_number
        self._roster.seats = {
            seat.actor: (seat.shard.region, seat.shard.number, seat.number)
            for seat in self._seats.values()
            if seat.actor
        }
        self._roster.spares = [name for name, _ in fleet.spares]
        self._state.save_roster(self._roster)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_remote: Any = ray.remote
CoordinatorActor = _remote(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=10_000)(Coordinator)
