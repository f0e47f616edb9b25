"""Who serves what, as one immutable value with a version. The coordinator publishes it, clients watch it."""

from __future__ import annotations

from dataclasses import dataclass, field

from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.types import ShardId


@dataclass(frozen=True, slots=True)
class MemberAddress:
    """One replica and the ways to it. `directory` and `socket_path` mean something on `node_id` only."""

    seat: int
    incarnation: int
    in_sync: bool
    actor_name: str
    node_id: str
    pid: int
    directory: str
    socket_path: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ShardMap:
    """One shard: its epoch, its primary's seat (-1: none at the moment) and its members by seat."""

    shard: ShardId
    epoch: int
    primary_seat: int
    members: tuple[MemberAddress, ...]

    @property
    def primary(self) -> MemberAddress | None:
        """The member that orders writes, or None while there is none."""
        return next((member for member in self.members if member.seat == self.primary_seat), None)


@dataclass(frozen=True, slots=True)
class ClusterMap:
    """A cluster as it is. `directory` is the part of the node's shared memory that holds its stores.

    `token` opens the sockets. `config` is what the cluster was started with; its loaders are sealed
    (see origins.sealed), so that only those who load have to import them. `prefetcher_socket_path`
    is empty where none runs; it means something on `prefetcher_node_id` only.
    """

    version: int
    name: str
    cluster_id: str
    token: str
    directory: str
    config: ClusterConfig
    shards: dict[str, tuple[ShardMap, ...]]
    prefetcher_node_id: str = ""
    prefetcher_socket_path: str = ""
    prefetcher_host: str = ""
    prefetcher_port: int = 0
    http_url: str = ""
    services: frozenset[str] = field(default_factory=frozenset)

    def __repr__(self) -> str:
        return f"<ClusterMap '{self.name}' version {self.version}, {sum(map(len, self.shards.values()))} shards>"
