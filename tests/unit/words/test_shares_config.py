"""What services are guaranteed: how it is spread, and what is refused with the field's path."""

from __future__ import annotations

from typing import Any

import pytest

from daycache_ray.words.config import ClusterConfig, RegionConfig, ServiceConfig
from daycache_ray.words.errors import ConfigError

MIB = 1024 * 1024
REGIONS = (
    RegionConfig(name="small", memory_bytes=10 * MIB),
    RegionConfig(name="large", memory_bytes=30 * MIB, shards=2),
    RegionConfig(name="all", memory_bytes=50 * MIB, shared_between_services=True),
)


def test_one_number_is_spread_in_proportion_and_over_shards() -> None:
    config = ClusterConfig(regions=REGIONS, services=(ServiceConfig(name="desk", memory_bytes=8 * MIB),))
    assert config.shares("small") == {b"desk": 2 * MIB}
    assert config.shares("large") == {b"desk": 3 * MIB}
    assert config.shares("all") == {}


def test_regions_can_be_named() -> None:
    services = (ServiceConfig(name="a", memory_bytes={"large": 4 * MIB}), ServiceConfig(name="b"))
    config = ClusterConfig(regions=REGIONS, services=services)
    assert config.shares("small") == {}
    assert config.shares("large") == {b"a": 2 * MIB}


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ([{"name": "a", "memory_bytes": -1}], r"services\[0\]\.memory_bytes: cannot be -1"),
        ([{"name": "a"}, {"name": "b", "memory_bytes": {"none": 1}}], r"services\[1\].memory_bytes: there is no"),
        ([{"name": "a", "memory_bytes": {"all": 1}}], r"services\[0\]\.memory_bytes: all services share"),
        (
            [{"name": "a", "memory_bytes": {"small": 6 * MIB}}, {"name": "b", "memory_bytes": {"small": 4 * MIB}}],
            r"services\[1\]\.memory_bytes: with it services are guaranteed 10485760 bytes of 'small', 9437184 at most",
        ),
        ([{"name": f"s{n}", "memory_bytes": 1} for n in range(61)], "services: at most 60"),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(services: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClusterConfig(regions=REGIONS, services=services)
