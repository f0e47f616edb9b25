"""What the world looks like: seats and configurations as one map, and what is still missing in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from daycache_ray.actors.opening import OpenedStore
from daycache_ray.protocol.coordinator import ShardCoordinator
from daycache_ray.words.cluster_map import ClusterMap, MemberAddress, ShardMap
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.naming import cluster_directory
from daycache_ray.words.types import CacheConsistencyLevel, Member, ShardId


class Seat(msgspec.Struct):
    """What the coordinator's shell knows of one seat; `member` None: nobody has it at the moment."""

    shard: ShardId
    number: int
    actor: str = ""
    node_id: str = ""
    opened: OpenedStore | None = None
    member: Member | None = None
    filling: bool = False
    trouble: str = ""
    """Why the last try to fill it failed."""


class ClusterView:
    """Reads machines and seats, changes nothing."""

    def __init__(
        self,
        config: ClusterConfig,
        cluster_id: str,
        token: str,
        machines: Mapping[ShardId, ShardCoordinator],
        seats: Mapping[tuple[ShardId, int], Seat],
    ) -> None:
        self._config = config
        self._cluster_id = cluster_id
        self._token = token
        self._machines = machines
        self._seats = seats

    def addresses(self, shard: ShardId) -> list[MemberAddress]:
        """Return the members of a shard that live, and the ways to them."""
        configuration = self._machines[shard].state.configuration
        in_sync = configuration.in_sync if configuration is not None else ()
        return [
            _address(seat, seat.opened, seat.member, seat.member in in_sync)
            for (owner, _), seat in self._seats.items()
            if owner == shard and seat.member is not None and seat.opened is not None
        ]

    def build_map(self, version: int, http_url: str, companions: Mapping[str, Any]) -> ClusterMap:
        """Return the map of this moment."""
        shards = {
            region.name: tuple(self._shard_map(ShardId(region.name, number)) for number in range(region.shards))
            for region in self._config.regions
        }
        return ClusterMap(
            version=version,
            name=self._config.name,
            cluster_id=self._cluster_id,
            token=self._token,
            directory=cluster_directory(self._config.memory_path, self._config.name, self._cluster_id),
            config=self._config,
            shards=shards,
            http_url=http_url,
            services=frozenset(service.name for service in self._config.services),
            **companions,
        )

    def missing(self, cluster_map: ClusterMap) -> list[str]:
        """Return what keeps shards from serving at their region's level."""
        lacks = []
        for region in self._config.regions:
            copies = region.strong_copies if region.level is CacheConsistencyLevel.STRONG else 1
            lacks += [_lack(shard_map, copies) for shard_map in cluster_map.shards[region.name]]
        lacks += sorted({seat.trouble for seat in self._seats.values() if seat.trouble})
        return [lack for lack in lacks if lack]

    def _shard_map(self, shard: ShardId) -> ShardMap:
        configuration = self._machines[shard].state.configuration
        addresses = self.addresses(shard)
        if configuration is None:
            return ShardMap(shard, 0, -1, tuple(addresses))
        lives = any((address.seat, address.incarnation) == configuration.primary for address in addresses)
        return ShardMap(shard, configuration.epoch, configuration.primary.seat if lives else -1, tuple(addresses))


def _lack(shard_map: ShardMap, copies: int) -> str:
    if shard_map.primary is None:
        return f"{shard_map.shard} has no primary"
    count = sum(member.in_sync for member in shard_map.members)
    return "" if count >= copies else f"{shard_map.shard} has {count} of {copies} copies in sync"


def _address(seat: Seat, opened: OpenedStore, member: Member, in_sync: bool) -> MemberAddress:
    return MemberAddress(
        seat=seat.number,
        incarnation=member.incarnation,
        in_sync=in_sync,
        actor_name=seat.actor,
        node_id=opened.node_id,
        pid=opened.pid,
        directory=opened.directory,
        socket_path=opened.socket_path,
        host=opened.host,
        port=opened.port,
    )
