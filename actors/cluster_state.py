"""What a coordinator must not forget, in Ray's own key-value store: synced before anybody hears of it.

The store lives as long as the Ray cluster does, survives the coordinator, and with GCS fault tolerance
survives the head node. `claim_epoch` is put-if-absent, so that two coordinators of one cluster (one of
them cut off and unaware of its successor) can never publish two configurations of one epoch.
"""

from __future__ import annotations

import msgspec
from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_exists,
    _internal_kv_get,
    _internal_kv_initialized,
    _internal_kv_put,
)

_NAMESPACE = b"daycache"


class Roster(msgspec.Struct):
    """Which actors exist, and numbers that may never be given twice."""

    next_actor_number: int = 1
    map_version: int = 0
    seats: dict[str, tuple[str, int, int]] = {}
    """Actor name to (region, shard number, seat); spares are absent."""
    spares: list[str] = []


class ClusterState:
    """The durable state of one cluster; `cluster_id` tells lives of clusters of one name apart."""

    def __init__(self, cluster: str, cluster_id: str) -> None:
        assert _internal_kv_initialized(), "only an actor or driver of a Ray cluster has its key-value store"
        self._prefix = f"{cluster}/{cluster_id}/".encode()

    def load_roster(self) -> Roster | None:
        """Return the roster, or None when this cluster has never saved one."""
        payload = _internal_kv_get(self._prefix + b"roster", namespace=_NAMESPACE)
        return None if payload is None else msgspec.msgpack.decode(payload, type=Roster)

    def save_roster(self, roster: Roster) -> None:
        """Save the roster."""
        _internal_kv_put(self._prefix + b"roster", msgspec.msgpack.encode(roster), overwrite=True, namespace=_NAMESPACE)

    def load_shard(self, shard: str) -> bytes | None:
        """Return what was saved of a shard, or None."""
        payload: bytes | None = _internal_kv_get(self._prefix + b"shard/" + shard.encode(), namespace=_NAMESPACE)
        return payload

    def save_shard(self, shard: str, payload: bytes) -> None:
        """Save the state of a shard's configuration machine."""
        _internal_kv_put(self._prefix + b"shard/" + shard.encode(), payload, overwrite=True, namespace=_NAMESPACE)

    def claim_epoch(self, shard: str, epoch: int, configuration: bytes) -> bool:
        """Make `configuration` the only one of its epoch; False when another one is."""
        key = self._prefix + f"epoch/{shard}/{epoch}".encode()
        existed = _internal_kv_put(key, configuration, overwrite=False, namespace=_NAMESPACE)
        if not existed:
            if epoch > 1:
                _internal_kv_del(self._prefix + f"epoch/{shard}/{epoch - 2}".encode(), namespace=_NAMESPACE)
            return True
        return bool(_internal_kv_get(key, namespace=_NAMESPACE) == configuration)

    def forget(self) -> None:
        """Remove everything of this cluster."""
        _internal_kv_del(self._prefix, del_by_prefix=True, namespace=_NAMESPACE)


def is_known(cluster: str, cluster_id: str) -> bool:
    """Return whether a cluster of that name and id has a roster in this Ray: it runs, or its coordinator comes back."""
    return bool(_internal_kv_exists(f"{cluster}/{cluster_id}/roster".encode(), namespace=_NAMESPACE))
