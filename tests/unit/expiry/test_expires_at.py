"""An absolute end is kept to the nanosecond, without jitter; what is no moment to come is refused."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from daycache_ray import ClusterConfig, InvalidTtlError, RegionConfig
from daycache_ray.client.arguments import REGION_TTL
from daycache_ray.client.lifetimes import Until, lifetime
from daycache_ray.testing import MemoryCache, memory_cache


@pytest.fixture
def cache() -> MemoryCache:
    """A region whose own TTL is a minute, jittered by half."""
    regions = (RegionConfig(name="quotes", ttl_s=60.0, ttl_jitter_ratio=0.5),)
    return memory_cache(ClusterConfig(name="exact", regions=regions))


@pytest.mark.parametrize("kind", ["datetime", "seconds"])
def test_set_set_many_and_touch_end_at_the_moment(cache: MemoryCache, kind: str) -> None:
    region = cache.region("quotes")
    at_s = cache.cluster.wall_s() + 100.5
    moment: Any = datetime.fromtimestamp(at_s, timezone(timedelta(hours=5))) if kind == "datetime" else at_s
    region.set("set", 1, expires_at=moment)
    region.set_many({"many": 2}, expires_at=moment)
    region.set("touched", 3)
    assert region.touch("touched", expires_at=moment)

    for key in ("set", "many", "touched"):
        entry = region.get_entry(key)
        assert entry is not None and entry.expires_at_s == pytest.approx(at_s, abs=1e-6)
    cache.advance(100.4)
    assert len(region.get_many(["set", "many", "touched"])) == 3
    cache.advance(0.11)
    assert not region.get_many(["set", "many", "touched"])


def test_an_increment_keeps_it(cache: MemoryCache) -> None:
    region = cache.region("quotes")
    region.set("number", 1, expires_at=cache.cluster.wall_s() + 10)
    region.increment("number")
    assert region.ttl("number") == pytest.approx(10.0, abs=1e-6)


def test_what_lies_behind_or_too_far_ahead_is_refused(cache: MemoryCache) -> None:
    region, now_s = cache.region("quotes"), cache.cluster.wall_s()
    for wrong in (now_s, now_s - 0.001, 0, -5.0, now_s + 11 * 365 * 86_400):
        with pytest.raises(InvalidTtlError):
            region.set("a", 1, expires_at=wrong)
    assert region.get("a") is None


@pytest.mark.parametrize(
    "wrong",
    [datetime(2030, 1, 1), float("nan"), float("inf"), True, "2030-01-01", 1_800_000_000_000, [1]],
)
def test_what_is_no_moment_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidTtlError):
        lifetime(REGION_TTL, wrong)


def test_two_ends_are_refused() -> None:
    for ttl_s in (5.0, None):
        with pytest.raises(InvalidTtlError):
            lifetime(ttl_s, 1_900_000_000)
    assert lifetime(REGION_TTL, 1_900_000_000.25) == Until(1_900_000_000_250_000_000)
