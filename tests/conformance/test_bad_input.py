"""What is wrong is refused by a typed error that says what to write; what is strange but right is taken."""

from __future__ import annotations

import math
from typing import Any

import pytest

import daycache_ray
from daycache_ray import (
    CacheClosedError,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTtlError,
    InvalidValueError,
    UnknownLevelError,
    UnknownRegionError,
    UnknownServiceError,
    ValueTooLargeError,
)

STRANGE_KEYS = [
    "\0",
    "a\0b",
    b"\0\xff\0",
    "😀",
    "{tag}.k",
    "{}",
    "a b\n\t",
    "../../etc",
    b"\xff\xfe\xfd",
    "é" * 2048,
    *("k" * length for length in (500, 501, 502, 503, 509, 510, 511, 512, 513, 1024, 4095, 4096)),
    *(b"\xff" * length for length in (511, 512, 4096)),
]
WRONG_KEYS = ["", b"", "k" * 4097, "é" * 2049, b"k" * 4097, 7, None, 1.5, ("k",), ["k"], bytearray(b"k"), "\ud800"]
WRONG_TTLS = [0, -1, -0.0, math.nan, math.inf, -math.inf, 1e12, "5", True, [1]]


def test_strange_keys_are_keys(region: Any) -> None:
    for number, key in enumerate(STRANGE_KEYS):
        region.set(key, number, level="eventual")
    for number, key in enumerate(STRANGE_KEYS):
        assert region.get(key, level="strong") == number
    assert region.get_many(STRANGE_KEYS, level="eventual") == {key: n for n, key in enumerate(STRANGE_KEYS)}
    assert set(region.scan()) == set(STRANGE_KEYS)
    for key in STRANGE_KEYS:
        assert region.increment(key, 1) >= 1
        assert region.touch(key, 60) is True
        assert region.delete(key) is True
    assert region.clear() == 0


def test_long_keys_that_begin_alike_are_different(region: Any) -> None:
    keys = ["k" * 600 + end for end in ("a", "b")]
    region.set(keys[0], 1, level="eventual")
    assert region.get(keys[1], level="strong") is None
    assert region.delete(keys[1]) is False
    assert region.get_or_load(keys[1], lambda key: key[-1]) == "b"
    assert region.get(keys[0], level="strong") == 1


@pytest.mark.parametrize("key", WRONG_KEYS, ids=lambda key: repr(key)[:12])
def test_wrong_keys(region: Any, key: Any) -> None:
    calls = [
        lambda: region.get(key),
        lambda: region.get_entry(key),
        lambda: region.get_many([key]),
        lambda: region.set(key, 1),
        lambda: region.add(key, 1),
        lambda: region.delete(key),
        lambda: region.exists(key),
        lambda: region.touch(key, 1),
        lambda: region.ttl(key),
        lambda: region.increment(key),
        lambda: region.compare_and_set(key, 1, expected=None),
        lambda: region.get_or_load(key, lambda key: 1),
    ]
    for call in calls:
        with pytest.raises(InvalidKeyError):
            call()


@pytest.mark.parametrize("ttl_s", WRONG_TTLS, ids=repr)
def test_wrong_ttls(region: Any, ttl_s: Any) -> None:
    region.set("n", 1, level="strong")
    calls = [
        lambda: region.set("k", 1, ttl_s=ttl_s),
        lambda: region.set("k", 1, ttl_s=ttl_s, level="weak"),
        lambda: region.set_many({"k": 1}, ttl_s=ttl_s),
        lambda: region.add("k", 1, ttl_s=ttl_s),
        lambda: region.touch("n", ttl_s),
        lambda: region.increment("n", ttl_s=ttl_s),
        lambda: region.compare_and_set("k", 1, None, ttl_s=ttl_s),
    ]
    for call in calls:
        with pytest.raises(InvalidTtlError):
            call()
    assert region.get("k", level="strong") is None
    assert region.get("n", level="strong") == 1


def test_values_that_no_codec_takes(stage: Any) -> None:
    region = stage.region("eventual")
    for value in (object(), lambda: 1, stage, {"deep": [object()]}):
        for call in (region.set, region.add):
            with pytest.raises(InvalidValueError):
                call("k", value)
        with pytest.raises(InvalidValueError):
            region.set("k", value, level="weak")
        with pytest.raises(InvalidValueError):
            region.set_many({"good": 1, "k": value})
    assert region.get_many(["good", "k"]) == {}
    pickling = stage.region("weak")
    pickling.set("k", complex(1, 2), level="eventual")
    assert pickling.get("k", level="strong") == complex(1, 2)


def test_a_value_larger_than_its_shard(stage: Any) -> None:
    region = stage.region("weak")
    with pytest.raises(ValueTooLargeError, match="memory_bytes"):
        region.set("large", bytes(17 << 20), level="eventual")
    assert region.get("large", level="strong") is None


@pytest.mark.parametrize("level", ["", "Strongest", 1, True, None.__class__, ["strong"]], ids=repr)
def test_wrong_levels(region: Any, level: Any) -> None:
    for call in (
        lambda: region.get("k", level=level),
        lambda: region.get_entry("k", level=level),
        lambda: region.get_many(["k"], level=level),
        lambda: region.set("k", 1, level=level),
        lambda: region.delete("k", level=level),
    ):
        with pytest.raises(UnknownLevelError, match="strong"):
            call()


@pytest.mark.parametrize("deadline_s", [0, -1, math.nan, math.inf, "1", True, 1e9], ids=repr)
def test_wrong_deadlines(region: Any, deadline_s: Any) -> None:
    for call in (
        lambda: region.get_entry("k", deadline_s=deadline_s),
        lambda: region.set("k", 1, deadline_s=deadline_s),
        lambda: region.get_or_load("k", lambda key: 1, deadline_s=deadline_s),
    ):
        with pytest.raises(InvalidArgumentError):
            call()


def test_wrong_limits_of_age(region: Any) -> None:
    for max_staleness_s in (-1, math.nan, "1", True):
        for call in (region.get, region.get_entry):
            with pytest.raises(InvalidArgumentError, match="max_staleness_s"):
                call("k", max_staleness_s=max_staleness_s)
    with pytest.raises(InvalidArgumentError, match="refresh"):
        region.get_many(["k"], max_staleness_s=1, on_stale="ignore")


def test_other_wrong_arguments(region: Any) -> None:
    for by in ("1", None, True, math.nan, math.inf, 2**63):
        with pytest.raises(InvalidArgumentError):
            region.increment("n", by=by)
    for expected in (1, "1", (1,), (1, 2, 3), (-1, 1), ("a", "b")):
        with pytest.raises(InvalidArgumentError):
            region.compare_and_set("k", 1, expected=expected)
    with pytest.raises(InvalidArgumentError):
        region.set_many([("k", 1)])
    with pytest.raises(InvalidArgumentError):
        list(region.scan(7))


def test_names_that_are_none(stage: Any) -> None:
    for name in ("orders", "", 7, None):
        with pytest.raises(UnknownRegionError, match="strong, eventual, weak"):
            stage.cache.region(name)
    with pytest.raises(UnknownServiceError, match="default, other"):
        stage.cache.service("nobody")
    with pytest.raises(daycache_ray.InvalidArgumentError):
        stage.cache.service("")


def test_after_close(stage: Any) -> None:
    closed = stage.cache.service("other")
    region = closed.region("eventual")
    region.set("k", 1)
    closed.close()
    closed.close()
    for call in (
        lambda: region.get("k"),
        lambda: region.set("k", 1),
        lambda: region.set("k", 1, level="weak"),
        lambda: region.get_many(["k"]),
        lambda: region.get_or_load("k", lambda key: 1),
        lambda: list(region.scan()),
        lambda: region.statistics(),
        lambda: region.flush(),
        lambda: closed.region("eventual"),
    ):
        with pytest.raises(CacheClosedError, match="connect"):
            call()
    assert stage.region("eventual").get("nowhere") is None
