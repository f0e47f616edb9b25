"""DAYCACHE_TRACE=1 tells every call; what a region answers stays the same."""

from __future__ import annotations

import re

import pytest

from daycache_ray import ShardUnavailableError, Version
from daycache_ray.client.region import Region
from daycache_ray.testing import amemory_cache, memory_cache

LINE = re.compile(r"daycache .+ region=market_data (served_by=\S+ version=\S+|raised \w+) \d+\.\d us")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYCACHE_TRACE", "1")


@pytest.mark.usefixtures("traced")
def test_each_call_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    cache = memory_cache()
    region = cache.region("market_data")
    version = region.set("k", 1)
    assert region.get("k") == 1
    assert region.get("nowhere", 7) == region.get("nowhere", default=7) == 7
    assert region.get("k", max_staleness_s=1) == 1
    assert region.set("weak", 1, level="weak") == Version(0, 0)
    assert region.get("weak", level="weak") == 1
    assert region.get_many(["k", "nowhere"]) == {"k": 1}
    assert region.get_or_load("j", lambda key: key) == "j"
    cache.primary_down()
    with pytest.raises(ShardUnavailableError):
        region.get("k")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert lines[0].startswith("daycache set 'k' region=market_data served_by=primary")
    assert f"version={version.epoch}:{version.lsn} " in lines[0]
    assert f"version={version.epoch}:{version.lsn} " in lines[1]
    assert "served_by=client version=- " in lines[5]
    assert "served_by=client version=- " in lines[6]
    assert "get_many 2 keys" in lines[7]
    assert "raised ShardUnavailableError" in lines[9]


@pytest.mark.usefixtures("traced")
async def test_with_await(capsys: pytest.CaptureFixture[str]) -> None:
    region = amemory_cache().region("market_data")

    @region.cached()
    def double(number: int) -> int:
        return number * 2

    await region.set("k", 1)
    assert await region.get("k") == 1
    assert [await double(2), await double(2)] == [4, 4]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["set", "get", "get_or_load", "get_or_load"]
    assert all(LINE.fullmatch(line) for line in lines), lines


def test_off_it_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    region = memory_cache().region("market_data")
    region.set("k", 1)
    assert region.get("k") == 1
    assert capsys.readouterr().err == ""
    assert "get" not in vars(region)
    assert region.get.__func__ is Region.get


def test_reprs_are_sentences() -> None:
    cache = memory_cache(started_at_s=1_000.0)
    region = cache.region("market_data")
    region.set("k", "x" * 1000, ttl_s=5)
    entry = region.get_entry("k")
    assert repr(entry).startswith("<Entry 'xxx")
    origin = "eventual from primary, at most 0 s old"
    assert repr(entry).endswith(f", version 2 of epoch 1, expires at 1005.000 s, {origin}>")
    assert len(repr(entry)) < 200
    statistics = region.statistics()
    assert repr(statistics) == (
        "<RegionStatistics 'market_data': 1 entries, 0.0 of 256.0 MiB, 1 hits and 0 misses here (100.0%)>"
    )
    assert repr(statistics.shards[0]) == (
        "<ShardStatistics market_data/0 seat 0, primary of epoch 1 in process 0, 1 entries, 0.0 of 256.0 MiB, "
        "log at 2, 2 committed, 1 in sync>"
    )
    assert repr(cache) == (
        "<Cache 'memory' as service 'default', regions market_data, trading_positions, analysis_results>"
    )
