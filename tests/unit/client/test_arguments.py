"""Wrong arguments are refused at the door, by typed errors, before anything is sent."""

from __future__ import annotations

import math
from typing import Any

import pytest

from daycache_ray.client.arguments import REGION_TTL
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import (
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTtlError,
    InvalidValueError,
    NoLoaderError,
    UnknownLevelError,
    UsageError,
)
from daycache_ray.words.types import CacheConsistencyLevel
from tests.unit.client.one_replica import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage(RegionConfig(name="orders", shards=4))


@pytest.mark.parametrize(
    "key", ["", b"", "x" * 4097, "é" * 2049, b"x" * 4097, 7, None, ["a"], 1.5, "\ud800", bytearray(b"a")]
)
def test_keys_that_are_none(stage: Stage, key: Any) -> None:
    calls = [
        lambda: stage.region.get(key),
        lambda: stage.region.set(key, 1),
        lambda: stage.region.delete(key),
        lambda: stage.region.get_entry(key),
        lambda: stage.region.increment(key),
        lambda: stage.region.get_or_load(key, lambda key: 1),
        lambda: stage.region.get_many([key]),
        lambda: stage.region.shard_for(key),
    ]
    for call in calls:
        with pytest.raises(InvalidKeyError):
            call()
    assert stage.replica.requests == []


@pytest.mark.parametrize("key", ["a", "x" * 4096, "é" * 2048, b"\x00", b"\xff\xfe", "a b\n", "{tag}.a"])
def test_keys_that_are(stage: Stage, key: Any) -> None:
    stage.region.set(key, 1)
    assert stage.region.get(key) == 1
    assert stage.region.get(key if isinstance(key, bytes) else key.encode()) == 1


@pytest.mark.parametrize("ttl_s", [0, -1, math.nan, math.inf, -math.inf, 1e12, "5", True, [1], 0.0, -0.0])
def test_ttls_that_are_none(stage: Stage, ttl_s: Any) -> None:
    for call in (
        lambda: stage.region.set("a", 1, ttl_s=ttl_s),
        lambda: stage.region.touch("a", ttl_s),
        lambda: stage.region.set_many({"a": 1, "b": 2}, ttl_s=ttl_s),
        lambda: stage.region.increment("a", ttl_s=ttl_s),
    ):
        with pytest.raises(InvalidTtlError):
            call()
    assert stage.replica.requests == []


@pytest.mark.parametrize("level", ["", "sure", 2, object(), ["strong"], b"strong"])
def test_levels_that_are_none(stage: Stage, level: Any) -> None:
    for call in (lambda: stage.region.get("a", level=level), lambda: stage.region.set("a", 1, level=level)):
        with pytest.raises(UnknownLevelError):
            call()
    assert stage.replica.requests == []


def test_levels_by_name_in_any_case_and_by_member(stage: Stage) -> None:
    for level in ("strong", "STRONG", CacheConsistencyLevel.STRONG):
        stage.region.set("a", 1, level=level)
        assert stage.region.get("a", level=level) == 1
    assert {request.level for _, request in stage.replica.requests} == {2}  # type: ignore[union-attr]


@pytest.mark.parametrize("deadline_s", [0, -1, math.nan, math.inf, "1", True, 1e9])
def test_deadlines_that_are_none(stage: Stage, deadline_s: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        stage.region.get("a", deadline_s=deadline_s)
    with pytest.raises(InvalidArgumentError):
        stage.region.set("a", 1, deadline_s=deadline_s)


@pytest.mark.parametrize("by", ["1", True, None, math.nan, math.inf, 2**63])
def test_increments_that_are_none(stage: Stage, by: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        stage.region.increment("a", by)


@pytest.mark.parametrize("expected", [7, "1,2", (1,), (1, 2, 3), (-1, 2), (1.5, 2)])
def test_versions_that_are_none(stage: Stage, expected: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        stage.region.compare_and_set("a", 1, expected)


def test_a_value_that_no_codec_takes_leaves_the_others_unsent(stage: Stage) -> None:
    with pytest.raises(InvalidValueError):
        stage.region.set_many({"a": 1, "b": object()})
    assert stage.replica.requests == []


def test_set_many_takes_a_mapping(stage: Stage) -> None:
    with pytest.raises(InvalidArgumentError, match="mapping"):
        stage.region.set_many([("a", 1)])  # type: ignore[arg-type]


def test_loading_without_a_loader(stage: Stage) -> None:
    with pytest.raises(NoLoaderError, match="orders"):
        stage.region.get_or_load("a")


def test_a_prefix_is_text_or_bytes(stage: Stage) -> None:
    with pytest.raises(UsageError):
        list(stage.region.scan(7))  # type: ignore[arg-type]


def test_the_region_ttl_has_a_name() -> None:
    assert repr(REGION_TTL) == "REGION_TTL"
