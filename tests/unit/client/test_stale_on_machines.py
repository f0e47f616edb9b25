"""Stale answers and refreshes on the replicas' own machines, in memory and on a virtual clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from daycache_ray import ClusterConfig, LoadError, RegionConfig
from daycache_ray.testing import memory_cache

CONFIG = ClusterConfig(
    name="stale",
    regions=(
        RegionConfig(name="eventual", ttl_s=10, stale_for_s=60, refresh_ahead_ratio=0.8),
        RegionConfig(name="strong", level="strong", ttl_s=10, stale_for_s=60, refresh_ahead_ratio=0.8),
        RegionConfig(name="soft", ttl_s=10, stale_for_s=60, soft_deadline_s=0.5),
    ),
)


@pytest.fixture
def cache() -> Iterator[Any]:
    with memory_cache(CONFIG) as found:
        yield found


def fail(key: str) -> Any:
    """Be an origin that is down."""
    raise OSError("the origin is down")


@pytest.mark.parametrize("name", ["eventual", "strong"])
def test_an_expired_entry_is_kept_hidden_and_then_removed(cache: Any, name: str) -> None:
    region = cache.region(name)
    region.get_or_load("k", lambda key: 1)
    cache.advance(10.1)
    for level in ("strong", "eventual", "weak"):
        assert region.get("k", level=level) is None
        assert region.get_entry("k", level=level) is None
        assert region.get_many(["k"], level=level) == {}
        assert region.exists("k", level=level) is False
        assert region.ttl("k", level=level) is None
    assert list(region.scan()) == []
    assert region.touch("k", 100) is False
    assert region.delete("k") is False
    assert region.statistics().entries_count == 1
    assert region.get_or_load("k", fail) == 1
    cache.advance(59)
    assert region.get_or_load("k", fail) == 1
    cache.advance(2)
    assert region.statistics().entries_count == 0
    with pytest.raises(LoadError):
        region.get_or_load("k", fail)


def test_what_expires_later_is_hidden_in_time_too(cache: Any) -> None:
    region = cache.region("strong")
    for number in range(5):
        region.set(f"k{number}", number, ttl_s=1 + number)
    for number in range(5):
        assert region.get(f"k{number}") == number
        cache.advance(1.01)
        assert region.get(f"k{number}") is None
    assert region.statistics().entries_count == 5


@pytest.mark.parametrize("name", ["eventual", "strong"])
def test_an_entry_is_refreshed_while_it_is_there(cache: Any, name: str) -> None:
    region = cache.region(name)
    assert region.get_or_load("k", lambda key: 1) == 1
    cache.advance(8.5)
    assert region.get_or_load("k", lambda key: 2) == 1
    assert region.get("k", level="strong") == 2
    cache.advance(9)
    assert region.get("k", level="strong") == 2


def test_a_load_that_takes_too_long_ends_behind_the_answer(cache: Any) -> None:
    region = cache.region("soft")
    region.get_or_load("k", lambda key: 1)
    cache.advance(10.1)

    def slowly(key: str) -> int:
        cache.advance(1.0)
        return 2

    assert region.get_or_load("k", slowly) == 1
    assert region.get("k") == 2
