"""Shares in a whole cluster in memory: who pays for a full region, and what is said where nobody can."""

from __future__ import annotations

from typing import Any

import pytest

from daycache_ray.testing import memory_cache
from daycache_ray.words.config import ClusterConfig, RegionConfig, ServiceConfig
from daycache_ray.words.errors import RegionFullError, ValueTooLargeError

MIB = 1024 * 1024
VALUE = b"x" * 20_000


def config(level: str, **fields: Any) -> ClusterConfig:
    region = RegionConfig(name="r", memory_bytes=MIB, replicas=1, level=level, **fields)
    services = (ServiceConfig(name="desk", memory_bytes=MIB // 2), ServiceConfig(name="batch"))
    return ClusterConfig(regions=(region,), services=services)


def test_a_noisy_service_takes_nothing_of_a_share() -> None:
    with (
        memory_cache(config("eventual"), service="desk") as desk,
        memory_cache(service="batch", cluster=desk.cluster) as batch,
    ):
        mine, noisy = desk.region("r"), batch.region("r")
        for number in range(20):
            mine.set(f"k{number}", VALUE)
        for number in range(200):
            noisy.set(f"n{number}", VALUE)
        assert len(mine.get_many([f"k{number}" for number in range(20)])) == 20
        statistics = mine.statistics()
        assert statistics.used_bytes <= MIB
        assert statistics.evictions_count > 100
        for number in range(20, 60):
            mine.set(f"k{number}", VALUE)
        assert len(mine.get_many([f"k{number}" for number in range(60)])) >= 25, "what is guaranteed it can use"


def test_a_strong_region_keeps_what_is_guaranteed_free() -> None:
    with (
        memory_cache(config("strong"), service="desk") as desk,
        memory_cache(service="batch", cluster=desk.cluster) as batch,
    ):
        with pytest.raises(RegionFullError, match="full for 'batch'"):
            for number in range(60):
                batch.region("r").set(f"n{number}", VALUE)
        for number in range(20):
            desk.region("r").set(f"k{number}", VALUE)


def test_where_the_rest_is_guaranteed_the_error_names_who_asked() -> None:
    region = RegionConfig(name="r", memory_bytes=MIB, replicas=1)
    services = (ServiceConfig(name="desk", memory_bytes=int(MIB * 0.9)), ServiceConfig(name="batch"))
    cluster = ClusterConfig(regions=(region,), services=services)
    with memory_cache(cluster, service="desk") as desk, memory_cache(service="batch", cluster=desk.cluster) as batch:
        for number in range(60):
            desk.region("r").set(f"k{number}", VALUE)
        with pytest.raises(RegionFullError, match="of 'batch' nothing more may be evicted"):
            batch.region("r").set("large", VALUE * 8)
        batch.region("r").set("small", VALUE)


def test_one_value_takes_a_quarter_at_most() -> None:
    with memory_cache(config("eventual"), service="desk") as desk:
        mine = desk.region("r")
        mine.set("k", b"x" * (MIB // 4 - 8_192))
        with pytest.raises(ValueTooLargeError, match="more than a quarter"):
            mine.set("k", b"x" * (MIB // 4))
