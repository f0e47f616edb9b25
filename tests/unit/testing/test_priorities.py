"""Priorities as a caller sees them."""

from __future__ import annotations

import pytest

from daycache_ray.testing import memory_cache
from daycache_ray.words.config import ClusterConfig, RegionConfig
from daycache_ray.words.errors import InvalidArgumentError

VALUE = b"x" * 20_000


def test_low_goes_first() -> None:
    region = RegionConfig(name="r", memory_bytes=1 << 20, replicas=1)
    with memory_cache(ClusterConfig(regions=(region,))) as cache:
        entries = cache.region("r")
        entries.set_many({f"normal{number}": VALUE for number in range(20)})
        entries.set_many({f"low{number}": VALUE for number in range(10)}, priority="low")
        entries.set("high", VALUE, priority="high")
        entries.set("number", 1, priority="low")
        entries.increment("number")
        for number in range(30):
            entries.set(f"more{number}", VALUE)
        assert entries.get_many([f"low{number}" for number in range(10)]) == {}
        assert entries.get("number") is None, "an increment keeps the priority"
        assert len(entries.get_many([f"normal{number}" for number in range(20)])) > 15
        assert entries.get("high") is not None


def test_no_other_priority() -> None:
    with memory_cache() as cache:
        for wrong in ("urgent", 1, None):
            with pytest.raises(InvalidArgumentError, match="write 'low', 'normal' or 'high'"):
                cache.region("market_data").set("k", 1, priority=wrong)  # type: ignore[arg-type]
