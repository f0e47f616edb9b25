"""How a replica takes a seat: it opens the store, says what it found, and gets the settings of its machine."""

from __future__ import annotations

import asyncio
import os
from typing import Final, NamedTuple

import structlog

from daycache_ray.protocol.replica import ReplicaSettings
from daycache_ray.storage.directory import wipe
from daycache_ray.storage.store import Store
from daycache_ray.words.config import ClusterConfig, RegionConfig
from daycache_ray.words.errors import StoreFormatError, StoreInUseError
from daycache_ray.words.types import ShardId

STORE_WAIT_S: Final = 5.0

_log = structlog.get_logger("daycache.replica")


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


async def open_store(
    directory: str, cluster: str, shard: ShardId, seat: int, config: ClusterConfig, *, fresh: bool
) -> Store:
    """Open the store in `directory`, warm where one is there; `fresh` removes what lies there first.

    Raises:
        StoreInUseError: its owner has not let it go for five seconds.
        StoreFullError: the shared memory is too small.
    """
    region = config.region(shard.region)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    clock_s = asyncio.get_running_loop().time
    deadline_s = clock_s() + STORE_WAIT_S
    while True:
        try:
            if fresh:
                wipe(directory)
            return Store.open(
                directory,
                cluster=cluster,
                shard=shard,
                seat=seat,
                limit_bytes=region.memory_bytes // region.shards,
                eviction=region.eviction,
                shares=config.shares(shard.region),
            )
        except StoreInUseError:
            # The former owner is just dying, or its heir on this node reads its log.
            if clock_s() > deadline_s:
                raise
            await asyncio.sleep(0.002)
        except StoreFormatError as error:
            _log.warning("store refused and wiped", reason=str(error))
            fresh = True


def settings_of(config: ClusterConfig, region: RegionConfig) -> ReplicaSettings:
    """Return the times and copies of a region's replicas, as its machine wants them."""
    timing = config.timing
    return ReplicaSettings(
        beacon_ns=int(timing.beacon_s * 1e9),
        lease_ns=int(timing.lease_s * 1e9),
        grace_ns=int(timing.grace_s * 1e9),
        silence_ns=int(timing.silence_s * 1e9),
        strong_copies=region.strong_copies,
        writes_behind=region.writes_behind,
    )
