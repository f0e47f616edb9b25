"""Every call of a region: what it answers, at its region's level and at each other one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from daycache_ray import (
    CacheConsistencyLevel,
    Entry,
    NotANumberError,
    RegionStatistics,
    Version,
    VersionConflictError,
)

EACH_LEVEL = pytest.mark.parametrize("level", [None, "strong", "eventual", "weak", CacheConsistencyLevel.STRONG])


@EACH_LEVEL
def test_what_was_set_is_got(region: Any, level: Any) -> None:
    assert isinstance(region.set("k", {"bid": 150.25}, level=level), Version)
    assert region.get("k", level=level) == {"bid": 150.25}
    assert region.exists("k", level=level) is True
    assert region.delete("k", level=level) is True
    assert region.delete("k", level=level) is False
    assert region.get("k", level=level) is None
    assert region.get("k", default=7, level=level) == 7
    assert region.exists("k", level=level) is False
    assert region.get_entry("k", level=level) is None


@EACH_LEVEL
def test_batches(region: Any, level: Any) -> None:
    values = {f"k{number}": number for number in range(300)}
    versions = region.set_many(values, level=level)
    assert versions.keys() == values.keys()
    assert region.get_many([*values, "nowhere"], level=level) == values
    assert region.get_many([]) == {}
    assert region.set_many({}) == {}


def test_versions_rise(region: Any) -> None:
    first = region.set("k", 1, level="eventual")
    second = region.set("k", 2, level="strong")
    assert second > first > Version(0, 0)
    entry = region.get_entry("k", level="strong")
    assert isinstance(entry, Entry)
    assert entry.version == second
    assert entry.value == 2
    assert entry.level is CacheConsistencyLevel.STRONG
    assert entry.staleness_bound_s == 0.0
    assert entry.served_by in ("memory", "primary")


def test_a_weak_write_has_no_version_yet(region: Any) -> None:
    assert region.set("k", 1, level="weak") == Version(0, 0)
    assert region.get("k", level="weak") == 1
    region.flush()
    assert region.get("k", level="strong") == 1
    assert region.statistics().weak_writes_lost_count == 0


def test_weak_writes_land_by_themselves(stage: Any, region: Any) -> None:
    region.set_many({f"k{number}": number for number in range(200)}, level="weak")
    stage.pass_time(0.002, lambda: len(region.get_many([f"k{n}" for n in range(200)], level="strong")) == 200)


def test_one_s_own_writes_keep_their_order(region: Any) -> None:
    region.set("k", "weak", level="weak")
    region.set("k", "strong", level="strong")
    assert region.get("k", level="strong") == "strong"
    region.set("k", "weak again", level="weak")
    assert region.delete("k") is True
    assert region.get("k", level="strong") is None


def test_add(region: Any) -> None:
    assert region.add("k", 1) is True
    assert region.add("k", 2) is False
    assert region.get("k", level="strong") == 1


def test_compare_and_set(region: Any) -> None:
    first = region.compare_and_set("k", 1, expected=None)
    with pytest.raises(VersionConflictError) as there:
        region.compare_and_set("k", 2, expected=None)
    assert there.value.current == first
    second = region.compare_and_set("k", 2, expected=first)
    assert second > first
    with pytest.raises(VersionConflictError) as late:
        region.compare_and_set("k", 3, expected=first)
    assert late.value.current == second
    with pytest.raises(VersionConflictError) as absent:
        region.compare_and_set("nowhere", 3, expected=first)
    assert absent.value.current is None
    assert region.get("k", level="strong") == 2


def test_increment(region: Any) -> None:
    assert region.increment("n") == 1
    assert region.increment("n", by=41) == 42
    assert region.increment("n", by=-0.5) == 41.5
    assert region.get("n", level="strong") == 41.5
    region.set("text", "x", level="eventual")
    with pytest.raises(NotANumberError, match="text"):
        region.increment("text")
    assert region.get("text", level="strong") == "x"


def test_times_to_live(stage: Any, region: Any) -> None:
    region.set("short", 1, ttl_s=0.3, level="eventual")
    region.set("long", 1, ttl_s=60, level="eventual")
    region.set("forever", 1, ttl_s=None, level="eventual")
    left_s = region.ttl("long", level="eventual")
    assert 50 < left_s <= 60
    assert region.ttl("forever", level="eventual") is None
    assert region.ttl("nowhere", level="eventual") is None
    stage.pass_time(0.3, lambda: region.get("short", level="eventual") is None)
    stage.pass_time(0.2, lambda: region.get("short", level="strong") is None)
    assert region.exists("short") is False
    assert region.add("short", 2) is True
    assert region.get("long", level="strong") == 1


def test_touch(stage: Any, region: Any) -> None:
    assert region.touch("k", 60) is False
    region.set("k", 1, ttl_s=0.4, level="eventual")
    assert region.touch("k", 60) is True
    assert region.ttl("k", level="strong") > 50
    stage.pass_time(0.4, lambda: True)
    assert region.get("k", level="strong") == 1
    assert region.touch("k", None) is True
    assert region.ttl("k", level="strong") is None


def test_an_increment_keeps_the_time_to_live(region: Any) -> None:
    region.set("n", 1, ttl_s=60, level="eventual")
    region.increment("n")
    assert 50 < region.ttl("n", level="strong") <= 60
    region.increment("n", ttl_s=600)
    assert region.ttl("n", level="strong") > 500


def test_scan_and_clear(region: Any) -> None:
    region.set_many({f"k{number}": number for number in range(1_200)}, level="eventual")
    region.set(b"\xff\xfe", 1, level="eventual")
    region.set("é", 1, level="eventual")
    assert set(region.scan()) == {f"k{number}" for number in range(1_200)} | {b"\xff\xfe", "é"}
    assert sorted(region.scan("k119")) == sorted(["k119", *(f"k119{number}" for number in range(10))])
    assert list(region.scan("nothing")) == []
    assert region.clear() == 1_202
    assert region.clear() == 0
    assert list(region.scan()) == []


def test_views(stage: Any, region: Any) -> None:
    array = np.arange(100_000.0)
    region.set("array", array, level="eventual")
    region.set("bytes", b"x" * 10_000, level="eventual")
    seen = stage.view(region, "array")
    assert np.array_equal(seen, array)
    assert not seen.flags.writeable
    shown = stage.view(region, "bytes")
    assert shown == b"x" * 10_000
    assert isinstance(shown, memoryview)
    assert shown.readonly
    assert stage.view(region, "nowhere") is None


def test_services_do_not_meet(stage: Any, region: Any) -> None:
    other = stage.cache.service("other").region(region.name)
    region.set("k", 1, level="strong")
    other.clear()
    assert other.get("k", level="strong") is None
    other.set("k", 2, level="strong")
    assert region.get("k", level="strong") == 1
    assert list(other.scan()) == ["k"]
    assert other.clear() == 1
    assert region.get("k", level="strong") == 1


@pytest.mark.parametrize("on_stale", ["raise", "refresh", "serve"])
def test_how_old_an_answer_may_be(stage: Any, region: Any, on_stale: str) -> None:
    region.set_many({"a": 1, "b": 2}, level="eventual")
    options = {"level": "eventual", "max_staleness_s": 5.0, "on_stale": on_stale}
    # On a cluster the copies know their leases from the first beacons on.
    stage.pass_time(0.2, lambda: region.get_entry("a", level="eventual").staleness_bound_s == 0.0)
    assert region.get("a", **options) == 1
    assert region.get("nowhere", default=7, **options) == 7
    assert region.get_many(["a", "b", "nowhere"], **options) == {"a": 1, "b": 2}
    assert region.get_entry("a", **options).staleness_bound_s <= 5.0
    assert region.get("a", level="strong", max_staleness_s=0, on_stale=on_stale) == 1


def test_one_s_own_weak_write_is_not_too_old(region: Any) -> None:
    region.set("k", 1, level="eventual")
    region.set("k", 2, level="weak")
    assert region.get("k", level="weak", max_staleness_s=60) in (1, 2)
    region.flush()
    assert region.get("k", level="weak", max_staleness_s=60) == 2


def test_statistics(region: Any) -> None:
    region.set("k", 1, level="eventual")
    region.get("k")
    found = region.statistics()
    assert isinstance(found, RegionStatistics)
    assert found.region == region.name
    assert found.entries_count == 1
    assert found.used_bytes > 0
    assert found.limit_bytes > found.used_bytes
    assert found.writes_count >= 1
    assert found.hits_count >= 1
    assert 0 < found.hit_ratio <= 1
    assert len(found.shards) == region.config.shards
    assert {shard.role for shard in found.shards} == {"primary"}
