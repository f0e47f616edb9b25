"""The replica's machine; see shard_replica for the theory of operation."""

from daycache_ray.protocol.replica.shard_replica import ShardReplica
from daycache_ray.protocol.replica.statistics import ReplicaFigures
from daycache_ray.protocol.settings import ReplicaSettings

__all__ = ["ReplicaFigures", "ReplicaSettings", "ShardReplica"]
