"""What a replica says of itself when it takes a seat, and the settings of its machine."""

from __future__ import annotations

from typing import NamedTuple

from daycache_ray.protocol.replica import ReplicaSettings
from daycache_ray.words.config import ClusterConfig, RegionConfig


class OpenedStore(NamedTuple):
    """What a replica found in its store, and how it can be reached."""

    node_id: str
    pid: int
    store_id: int
    last_epoch: int
    last_lsn: int
    directory: str
    socket_path: str
    host: str
    port: int


def settings_of(config: ClusterConfig, region: RegionConfig) -> ReplicaSettings:
    """Return the times and copies of a region's replicas, as its machine wants them."""
    timing = config.timing
    return ReplicaSettings(
        beacon_ns=int(timing.beacon_s * 1e9),
        lease_ns=int(timing.lease_s * 1e9),
        grace_ns=int(timing.grace_s * 1e9),
        silence_ns=int(timing.silence_s * 1e9),
        strong_copies=region.strong_copies,
    )
