"""An AsyncCache in memory, with the real one's surface, checks and codecs, for tests of what stands before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from daycache_ray.client.arguments import (
    REGION_TTL,
    deadline_of,
    expected_of,
    key_bytes,
    level_number,
    region_name,
    service_name,
    ttl_ns_of,
)
from daycache_ray.codecs.registry import decode, encode
from daycache_ray.words.cluster_map import ClusterMap, MemberAddress, ShardMap
from daycache_ray.words.config import ClusterConfig, RegionConfig
from daycache_ray.words.errors import ValueTooLargeError, VersionConflictError
from daycache_ray.words.types import CacheConsistencyLevel, Entry, RegionStatistics, ShardId, Version

NOW_S = 1_800_000_000.0
VALUE_BYTES_MAX = 100_000
_SET = {"region", "entries_count", "hits_count", "misses_count", "shards"}
_ZEROS = [field.name for field in dataclasses.fields(RegionStatistics) if field.name not in _SET]


class FakeRegion:
    """The calls of AsyncRegion that the HTTP door makes."""

    def __init__(self, config: RegionConfig, service: str, cluster: FakeCluster) -> None:
        self.config = config
        self.name = config.name
        self._service = service
        self._cluster = cluster

    def _place(self, key: Any, level: Any, deadline_s: Any) -> tuple[str, str, bytes]:
        raw = key_bytes(key)
        self._level(level)
        deadline_of(deadline_s)
        if self._cluster.failure is not None:
            raise self._cluster.failure
        return self.name, self._service, raw

    def _level(self, level: Any) -> CacheConsistencyLevel:
        return CacheConsistencyLevel(level_number(level or self.config.level).name.lower())

    async def get_entry(self, key: Any, *, level: Any = None, deadline_s: Any = None) -> Entry | None:
        stored = self._cluster.entries.get(self._place(key, level, deadline_s))
        if stored is None:
            return None
        version, expires_at_s, codec, payload = stored
        value = decode(codec, payload)
        return Entry(value, version, expires_at_s, self._level(level), "memory", 0.0)

    async def get_many(self, keys: Iterable[Any], *, level: Any = None, deadline_s: Any = None) -> dict[Any, Any]:
        entries = {key: await self.get_entry(key, level=level, deadline_s=deadline_s) for key in keys}
        return {key: entry.value for key, entry in entries.items() if entry is not None}

    async def set(
        self, key: Any, value: Any, *, ttl_s: Any = REGION_TTL, level: Any = None, deadline_s: Any = None
    ) -> Version:
        place = self._place(key, level, deadline_s)
        self._put(place, value, ttl_s)
        weak = self._level(level) is CacheConsistencyLevel.WEAK
        return Version(0, 0) if weak else self._cluster.entries[place][0]

    async def compare_and_set(
        self, key: Any, value: Any, expected: Any, *, ttl_s: Any = REGION_TTL, level: Any = None, deadline_s: Any = None
    ) -> Version:
        place = self._place(key, level, deadline_s)
        stored = self._cluster.entries.get(place)
        current = stored[0] if stored else None
        if expected_of(expected) != (current or Version(0, 0)):
            raise VersionConflictError(f"{key!r} is at {current}", current=current)
        self._put(place, value, ttl_s)
        return self._cluster.entries[place][0]

    async def delete(self, key: Any, *, level: Any = None, deadline_s: Any = None) -> bool:
        return self._cluster.entries.pop(self._place(key, level, deadline_s), None) is not None

    async def statistics(self) -> RegionStatistics:
        count = sum(place[0] == self.name for place in self._cluster.entries)
        return RegionStatistics(
            region=self.name,
            entries_count=count,
            hits_count=3,
            misses_count=1,
            shards=(),
            **dict.fromkeys(_ZEROS, 0),
        )

    def _put(self, place: tuple[str, str, bytes], value: Any, ttl_s: Any) -> None:
        ttl_ns = ttl_ns_of(self.config.ttl_s if ttl_s is REGION_TTL else ttl_s)
        codec, payload = encode(value, allow_pickle=self.config.allow_pickle)
        if len(payload) > VALUE_BYTES_MAX:
            raise ValueTooLargeError(f"the encoded value has {len(payload)} bytes")
        self._cluster.lsn += 1
        expires_at_s = NOW_S + ttl_ns / 1e9 if ttl_ns else None
        self._cluster.entries[place] = (Version(1, self._cluster.lsn), expires_at_s, codec, payload)


class FakeCache:
    """The calls of AsyncCache that the HTTP door makes."""

    def __init__(self, cluster: FakeCluster, service: str) -> None:
        self.service_name = service_name(service, cluster.config)
        self._cluster = cluster
        self.is_closed = False

    @property
    def cluster_map(self) -> ClusterMap:
        return self._cluster.cluster_map()

    def region(self, name: str) -> FakeRegion:
        config = self._cluster.config
        return FakeRegion(config.region(region_name(name, config)), self.service_name, self._cluster)

    async def statistics(self) -> dict[str, RegionStatistics]:
        return {config.name: await self.region(config.name).statistics() for config in self._cluster.config.regions}

    async def close(self) -> None:
        self.is_closed = True


class FakeCluster:
    """What the caches of one test share. `failure` is raised by every call of a region."""

    def __init__(self, config: ClusterConfig | None = None) -> None:
        self.config = config or ClusterConfig(
            name="shop",
            regions=[
                RegionConfig(name="orders"),
                RegionConfig(name="short", ttl_s=60),
                RegionConfig(name="trusted", allow_pickle=True),
            ],
        )
        self.entries: dict[tuple[str, str, bytes], tuple[Version, float | None, int, bytes]] = {}
        self.lsn = 0
        self.failure: Exception | None = None
        self.primary_seat = 0

    def cache(self, service: str) -> FakeCache:
        return FakeCache(self, service)

    async def connect(self, service: str) -> FakeCache:
        return FakeCache(self, service)

    def cluster_map(self) -> ClusterMap:
        member = MemberAddress(0, 1, True, "shop:replica:0", "node", 7, "/dev/shm/x", "/dev/shm/x/socket", "::1", 9)
        shards = {
            region.name: (ShardMap(ShardId(region.name, 0), 1, self.primary_seat, (member,)),)
            for region in self.config.regions
        }
        return ClusterMap(3, self.config.name, "id", "the-secret", "/dev/shm/x", self.config, shards)
