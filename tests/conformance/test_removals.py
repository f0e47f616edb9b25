"""What goes is counted by its cause, and told to who listens: the same in memory and on a cluster, plain and async."""

from __future__ import annotations

from typing import Any

import pytest

from daycache_ray import InvalidArgumentError, Removal, RemovalCause
from tests.conformance.conftest import Blocking, Stage


def listened(region: Any, listener: Any, causes: Any = None) -> Any:
    """Begin to listen."""
    return region.on_removed(listener, causes)


def poke(region: Any) -> None:
    """An asyncio listener is called while its loop runs."""
    if isinstance(region, Blocking):
        region.get("poke")


def causes_of(heard: list[Removal], key: str) -> list[str]:
    return [removal.cause.value for removal in heard if removal.key == key]


def test_each_cause_is_counted_and_told(stage: Stage, region: Any) -> None:
    before = region.statistics()
    heard: list[Removal] = []
    with listened(region, heard.append) as subscription:
        first = region.set("a", 1, level="eventual")
        second = region.set("a", 2, level="eventual")
        region.delete("a")
        region.set("short", 3, ttl_s=0.3, level="eventual")
        region.set("cleared", 4, level="eventual")
        region.delete("cleared")

        def is_told() -> bool:
            poke(region)
            return len(heard) >= 4

        stage.pass_time(1.0, is_told)
        assert causes_of(heard, "a") == ["replaced", "explicit"]
        assert causes_of(heard, "short") == ["expired"]
        assert causes_of(heard, "cleared") == ["explicit"]
        versions = [removal.version for removal in heard if removal.key == "a"]
        assert versions == [first, second] and heard[0].region == region.name
        assert subscription.delivered_count == 4 and subscription.lost_count == subscription.failures_count == 0
    after = region.statistics()
    counts = {
        cause.value: getattr(after, f"removed_{cause.value}_count") - getattr(before, f"removed_{cause.value}_count")
        for cause in RemovalCause
    }
    assert counts == {"explicit": 2, "replaced": 1, "expired": 1, "evicted": 0, "invalidated": 0, "lost": 0}


def test_only_the_causes_that_are_wanted(stage: Stage, region: Any) -> None:
    heard: list[Removal] = []
    with listened(region, heard.append, ["expired"]):
        region.set("a", 1, level="eventual")
        region.delete("a")
        region.set("short", 3, ttl_s=0.2, level="eventual")

        def is_told() -> bool:
            poke(region)
            return bool(heard)

        stage.pass_time(1.0, is_told)
        assert [removal.cause for removal in heard] == [RemovalCause.EXPIRED]


def test_a_listener_that_raises_is_counted_and_goes_on(stage: Stage, region: Any) -> None:
    heard: list[Removal] = []

    def break_once(removal: Removal) -> None:
        heard.append(removal)
        if len(heard) == 1:
            raise RuntimeError("of the listener")

    with listened(region, break_once) as subscription:
        for key in ("a", "b"):
            region.set(key, 1, level="eventual")
            region.delete(key)

        def is_told() -> bool:
            poke(region)
            return len(heard) == 2

        stage.pass_time(1.0, is_told)
        stage.pass_time(0.0, lambda: subscription.delivered_count == 2)
        assert subscription.failures_count == 1


def test_nothing_is_told_after_the_end(stage: Stage, region: Any) -> None:
    heard: list[Removal] = []
    subscription = listened(region, heard.append)
    subscription.cancel()
    region.set("a", 1, level="eventual")
    region.delete("a")

    def is_forgotten() -> bool:
        poke(region)
        return all(not shard.removal_followers_count for shard in region.statistics().shards)

    if stage.kind.startswith("cluster"):
        stage.pass_time(1.0, is_forgotten)
    else:
        stage.pass_time(1.0, lambda: True)
    assert not heard and not subscription.is_active


def test_wrong_causes_and_listeners_are_refused(region: Any) -> None:
    for listener, causes in ((print, ["bored"]), (print, []), (3, None)):
        with pytest.raises(InvalidArgumentError):
            listened(region, listener, causes)
