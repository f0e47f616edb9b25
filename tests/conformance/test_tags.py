"""Invalidation by tag and prefix, in memory and on a cluster, by the plain and the asyncio face."""

from __future__ import annotations

from typing import Any

import pytest

from daycache_ray.words.errors import InvalidArgumentError, LoadError
from tests.conformance.conftest import LEVELS, Stage
from tests.conformance.test_cached import calls_of

pytestmark = pytest.mark.usefixtures("stage")


@pytest.fixture(params=LEVELS)
def region(stage: Stage, request: Any) -> Any:
    """Each region, empty."""
    found = stage.region(request.param)
    found.flush()
    found.clear()
    return found


def test_tags_come_back_with_the_entry_and_are_replaced_by_a_write(region: Any) -> None:
    region.set("a", 1, tags=("news", "eu", "news"), level="eventual")
    assert region.get_entry("a").tags == ("news", "eu")
    assert region.get("a") == 1
    region.set("a", 2, level="eventual")
    assert region.get_entry("a").tags == ()
    assert region.invalidate_tag("news") == 0
    assert region.get("a") == 2


def test_an_invalidation_hides_what_is_there_and_nothing_written_later(region: Any) -> None:
    level = "strong" if region.config.level == "strong" else "eventual"
    region.set_many({f"k{n}": n for n in range(40)}, tags=["news"], level=level)
    region.set_many({f"p{n}": n for n in range(5)}, level=level)
    region.set("k7", 7, tags=["sports"], level=level)
    assert region.invalidate_tag("news", level=level) == 39
    assert region.get_many([f"k{n}" for n in range(40)]) == {"k7": 7}
    assert sorted(region.scan("k")) == ["k7"]
    assert not region.exists("k1")
    assert region.get_entry("k1") is None
    assert region.ttl("k1") is None
    assert not region.touch("k1", 5, level=level)
    assert not region.delete("k1", level=level)
    assert region.add("k1", "new", tags=["news"], level=level)
    assert region.increment("k2", level=level) == 1
    assert region.get("k1") == "new"
    assert region.invalidate_tag("news", level=level) == 1
    assert region.get("k1") is None
    assert region.get_many([f"p{n}" for n in range(5)]) == {f"p{n}": n for n in range(5)}
    assert region.statistics().invalidations_count > 0


def test_other_writes_keep_the_tags(region: Any) -> None:
    region.set("n", 1, tags=["numbers"], level="eventual")
    assert region.increment("n", level="eventual") == 2
    assert region.touch("n", 60, level="eventual")
    assert region.get_entry("n").tags == ("numbers",)
    version = region.get_entry("n").version
    region.compare_and_set("n", 5, version, tags=["other"], level="eventual")
    assert region.invalidate_tag("numbers") == 0
    assert region.invalidate_tag("other") == 1
    assert region.get("n") is None


def test_long_keys_large_values_and_services(stage: Stage, region: Any) -> None:
    key = "long" * 400
    region.set(key, b"x" * 100_000, tags=["t" * 128, "ä"], level="eventual")
    assert region.get(key) == b"x" * 100_000
    assert region.get_entry(key).tags == ("t" * 128, "ä")
    other = stage.cache.service("other")
    other = other if not hasattr(other, "__await__") else None
    if other is not None:
        assert other.region(region.name).invalidate_tag("ä") == 0
        other.close()
    assert region.get(key) == b"x" * 100_000
    assert region.invalidate_tag("ä") == 1
    assert region.get(key) is None


def test_what_is_hidden_is_removed_by_and_by(stage: Stage, region: Any) -> None:
    others_count = region.statistics().entries_count  # `clear` leaves what no scan shows
    region.set_many({f"k{n}": n for n in range(200)}, tags=["gone"], level="eventual")
    region.set("stays", 1, level="eventual")
    assert region.invalidate_tag("gone") == 200
    stage.pass_time(1.0, lambda: region.statistics().entries_count <= others_count + 1)
    assert region.get("stays") == 1
    assert region.statistics().removed_invalidated_count >= 200


def test_prefixes(region: Any) -> None:
    region.set_many({f"user:{n}": n for n in range(30)}, level="eventual")
    region.set("users", 1, level="eventual")
    assert region.invalidate_prefix("user:") == 30
    assert sorted(region.scan()) == ["users"]
    assert region.invalidate_prefix("nobody") == 0


def test_loads_and_cached_functions_take_tags(region: Any) -> None:
    assert region.get_or_load("a", lambda key: key * 2, tags=["loaded"]) == "aa"
    assert region.get_or_load_many(["b", "c"], lambda key: key, tags=["loaded"]) == {"b": "b", "c": "c"}
    assert region.get_entry("b").tags == ("loaded",)
    assert region.invalidate_tag("loaded") == 3
    calls = []

    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    cached = calls_of(region, region.cached(tags=lambda number: [f"number-{number}"])(double))
    assert [cached(1), cached(1), cached(2)] == [2, 2, 4]
    assert region.invalidate_tag("number-1") == 1
    assert [cached(1), cached(2)] == [2, 4]
    assert calls == [1, 2, 1]


@pytest.mark.parametrize("tags", ["news", b"news", [""], ["x" * 129], [1], 5, [str(n) for n in range(17)], ["\ud800"]])
def test_wrong_tags_are_refused_before_anything_is_sent(region: Any, tags: Any) -> None:
    for call in (
        lambda: region.set("a", 1, tags=tags),
        lambda: region.set_many({"a": 1}, tags=tags),
        lambda: region.add("a", 1, tags=tags),
        lambda: region.get_or_load("a", lambda key: 1, tags=tags),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    assert region.get("a") is None


@pytest.mark.parametrize("tag", ["", "x" * 129, b"news", None])
def test_wrong_words_for_a_tag_are_refused(region: Any, tag: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        region.invalidate_tag(tag)


def test_a_load_that_fails_stays_a_failure(region: Any) -> None:
    def broken(key: str) -> Any:
        raise RuntimeError("down")

    with pytest.raises(LoadError):
        region.get_or_load("a", broken, tags=["t"])
