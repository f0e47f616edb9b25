"""A slow or failing origin: stale answers, loads behind the answer, breaker, refreshes; on a clock of the test's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from daycache_ray.client.loading import RegionLoads
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import (
    ConfigError,
    InvalidValueError,
    LoadError,
    OriginDownError,
)
from daycache_ray.words.operations import FillAnswer, FillAsk, Read
from tests.unit.client.one_replica import Stage


class Origin:
    """Counts what it is asked; fails and dawdles as told."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.version = 0
        self.takes_s = 0.0
        self.fails = False
        self.asked: list[tuple[str, ...]] = []

    def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the version for every key."""
        self.asked.append(tuple(keys))
        pass_time(self.stage, self.takes_s)
        if self.fails:
            raise OSError("the origin is down")
        self.version += 1
        return dict.fromkeys(keys, self.version)


def pass_time(stage: Stage, seconds: float) -> None:
    """Move all clocks."""
    stage.driver.now_s += seconds
    stage.replica.wall_ns += round(seconds * 1e9)


def make(**fields: Any) -> tuple[Stage, Origin]:
    """Return a region with TTL 10 s and its origin."""
    stage = Stage(RegionConfig(name="orders", ttl_s=10.0, **fields))
    stage.session.wall_ns = lambda: stage.replica.wall_ns
    return stage, Origin(stage)


def loads_of(stage: Stage) -> RegionLoads:
    """Return the region's loads, for their counts."""
    return stage.core.loads


def test_stale_on_error_within_the_bound_and_not_a_moment_longer() -> None:
    stage, origin = make(stale_for_s=60.0)
    assert stage.region.get_or_load("a", origin) == 1
    origin.fails = True
    pass_time(stage, 11)
    assert stage.region.get("a") is None
    assert stage.region.get_entry("a", level="strong") is None
    assert stage.region.get_or_load("a", origin) == 1
    assert stage.region.get_or_load_many(["a"], origin) == {"a": 1}
    assert loads_of(stage).stale_answers_count == 2
    pass_time(stage, 58.9)
    assert stage.region.get_or_load("a", origin) == 1
    pass_time(stage, 0.2)
    with pytest.raises(LoadError, match="the origin is down"):
        stage.region.get_or_load("a", origin)
    origin.fails = False
    assert stage.region.get_or_load("a", origin) == 2


def test_without_a_bound_nothing_stale_is_asked_for() -> None:
    stage, origin = make()
    stage.region.get_or_load("a", origin)
    origin.fails = True
    pass_time(stage, 11)
    with pytest.raises(LoadError):
        stage.region.get_or_load("a", origin)
    assert not any(request.stale for _, request in stage.replica.requests if isinstance(request, Read))


def test_who_waits_for_another_s_load_answers_stale_too_when_it_fails() -> None:
    stage, origin = make(stale_for_s=60.0)
    stage.region.get_or_load("a", origin)
    pass_time(stage, 11)
    stage.replica.fill_answers = [FillAnswer(7, 0, "OSError: down")]
    assert stage.region.get_or_load("a", origin) == 1


def test_a_batch_is_stale_only_as_a_whole() -> None:
    stage, origin = make(stale_for_s=60.0)
    stage.region.get_or_load_many(["a", "b"], origin)
    pass_time(stage, 11)
    origin.fails = True
    assert stage.region.get_or_load_many(["a", "b"], origin) == {"a": 1, "b": 1}
    with pytest.raises(LoadError):
        stage.region.get_or_load_many(["a", "b", "never seen"], origin)
    assert stage.replica.fills == {}


def test_an_entry_that_was_deleted_is_not_served_stale() -> None:
    stage, origin = make(stale_for_s=60.0)
    stage.region.get_or_load("a", origin)
    stage.region.delete("a")
    origin.fails = True
    with pytest.raises(LoadError):
        stage.region.get_or_load("a", origin)


def test_a_value_that_cannot_be_stored_is_no_outage() -> None:
    stage, _ = make(stale_for_s=60.0, breaker_failures_max=1)
    stage.region.set("a", 1)
    pass_time(stage, 11)
    with pytest.raises(InvalidValueError, match="'a'"):
        stage.region.get_or_load("a", lambda key: object())
    assert loads_of(stage).breaker_openings_count == 0


def test_a_soft_deadline_answers_stale_and_the_load_ends_behind_it() -> None:
    stage, origin = make(stale_for_s=60.0, soft_deadline_s=0.2)
    origin.takes_s = 1.0
    assert stage.region.get_or_load("a", origin) == 1, "nothing is stale yet, so it waits"
    pass_time(stage, 11)
    assert stage.region.get_or_load("a", origin) == 1
    assert stage.region.get("a") is None
    assert stage.driver.run_spawned() == 1
    assert stage.region.get("a") == 2
    assert loads_of(stage).background_loads_count == 1
    origin.takes_s = 0.1
    pass_time(stage, 11)
    assert stage.region.get_or_load("a", origin) == 3, "fast enough"
    assert stage.driver.run_spawned() == 0


def test_a_load_that_fails_behind_the_answer_gives_its_lease_back_and_counts() -> None:
    stage, origin = make(stale_for_s=60.0, soft_deadline_s=0.0, breaker_failures_max=1)
    stage.region.get_or_load("a", origin)
    pass_time(stage, 11)
    origin.fails, origin.takes_s = True, 1.0
    assert stage.region.get_or_load("a", origin) == 1
    stage.driver.run_spawned()
    assert stage.replica.fills == {}
    assert loads_of(stage).breaker_openings_count == 1


def test_who_finds_another_loading_takes_the_stale_value_at_once() -> None:
    stage, origin = make(stale_for_s=60.0, soft_deadline_s=5.0)
    stage.region.get_or_load("a", origin)
    pass_time(stage, 11)
    stage.replica.fill_answers = [FillAnswer(7, -1)]
    assert stage.region.get_or_load("a", origin) == 1
    assert len(origin.asked) == 1
    asks = [request.wait for _, request in stage.replica.requests if isinstance(request, FillAsk)]
    assert asks == [False, False]
    stage.replica.fill_answers = [FillAnswer(7, -1)]
    assert stage.region.get_or_load("new", origin) == 2
    asks = [request.wait for _, request in stage.replica.requests if isinstance(request, FillAsk)]
    assert asks[2:] == [False, True], "without a stale value it waits for the other"


def test_a_soft_deadline_needs_something_stale() -> None:
    with pytest.raises(ConfigError, match="stale_for_s"):
        RegionConfig(name="orders", soft_deadline_s=1.0)


def test_the_breaker_leaves_the_origin_alone_probes_and_recovers() -> None:
    stage, origin = make(stale_for_s=600.0, breaker_failures_max=2, breaker_open_s=1.0)
    keys = [f"k{number}" for number in range(5)]
    stage.region.get_or_load_many(keys, origin)
    pass_time(stage, 11)
    origin.fails = True
    for _ in range(2):
        stage.region.get_or_load("k0", origin)
    asked_count = len(origin.asked)
    for key in keys:
        assert stage.region.get_or_load(key, origin) == 1
    with pytest.raises(OriginDownError, match="left alone") as failure:
        stage.region.get_or_load("never seen", origin)
    assert 0 < failure.value.retry_after_s <= 1
    with pytest.raises(OriginDownError):
        stage.region.get_or_load_many(["never seen"], origin)
    assert len(origin.asked) == asked_count, "not asked while it is left alone"
    assert loads_of(stage).breaker_openings_count == 1
    pass_time(stage, 1.1)
    origin.fails = False
    assert stage.region.get_or_load("never seen", origin) == 2
    assert stage.driver.run_spawned() == 1
    assert sorted(origin.asked[-1]) == keys, "what was answered stale is loaded before anybody asks"
    assert stage.region.get_many(keys) == dict.fromkeys(keys, 3)


def test_a_failed_probe_keeps_it_open() -> None:
    stage, origin = make(breaker_failures_max=1, breaker_open_s=1.0)
    origin.fails = True
    with pytest.raises(LoadError):
        stage.region.get_or_load("a", origin)
    pass_time(stage, 1.1)
    with pytest.raises(LoadError, match="the origin is down"):
        stage.region.get_or_load("a", origin)
    with pytest.raises(OriginDownError):
        stage.region.get_or_load("a", origin)
    assert len(origin.asked) == 2
    assert stage.replica.fills == {}


def test_guards_are_per_loader() -> None:
    stage, origin = make(breaker_failures_max=1)
    origin.fails = True
    with pytest.raises(LoadError):
        stage.region.get_or_load("a", origin)
    with pytest.raises(OriginDownError):
        stage.region.get_or_load("a", origin)
    assert stage.region.get_or_load("a", Origin(stage)) == 1


def test_refresh_ahead_loads_behind_the_answer_and_once() -> None:
    stage, origin = make(refresh_ahead_ratio=0.8)
    stage.region.get_or_load("a", origin)
    pass_time(stage, 7.9)
    assert stage.region.get_or_load("a", origin) == 1
    assert stage.driver.run_spawned() == 0
    pass_time(stage, 0.2)
    for _ in range(3):
        assert stage.region.get_or_load("a", origin) == 1
    assert stage.driver.run_spawned() == 1
    assert stage.region.get("a") == 2
    refreshes = [request for _, request in stage.replica.requests if isinstance(request, FillAsk) and request.refresh]
    assert len(refreshes) == 1


def test_a_refresh_that_fails_is_not_repeated_at_once_and_harms_nobody() -> None:
    stage, origin = make(refresh_ahead_ratio=0.5)
    stage.region.get_or_load("a", origin)
    pass_time(stage, 6)
    origin.fails = True
    stage.region.get_or_load("a", origin)
    assert stage.driver.run_spawned() == 1
    assert stage.region.get_or_load("a", origin) == 1
    assert stage.driver.run_spawned() == 0
    pass_time(stage, 1.1)
    assert stage.region.get_or_load_many(["a"], origin) == {"a": 1}
    assert stage.driver.run_spawned() == 1
    assert stage.replica.fills == {}


def test_a_write_while_it_is_refreshed_wins() -> None:
    stage, origin = make(refresh_ahead_ratio=0.5)
    stage.region.get_or_load("a", origin)
    pass_time(stage, 6)

    def load(key: str) -> str:
        stage.region.set("a", "newer")
        return "older"

    stage.region.get_or_load("a", load)
    stage.driver.run_spawned()
    assert stage.region.get("a") == "newer"


def test_a_call_s_own_ttl_counts() -> None:
    stage, origin = make(refresh_ahead_ratio=0.5)
    stage.region.get_or_load("a", origin, ttl_s=100)
    pass_time(stage, 45)
    stage.region.get_or_load("a", origin, ttl_s=100)
    assert stage.driver.run_spawned() == 0
    pass_time(stage, 10)
    stage.region.get_or_load("a", origin, ttl_s=100)
    assert stage.driver.run_spawned() == 1


def test_early_expiry_knows_what_the_load_took() -> None:
    stage, origin = make(early_expiry_beta=1.0)
    origin.takes_s = 2.0
    stage.region.get_or_load("a", origin)
    pass_time(stage, 7.9)
    refreshed = 0
    for number in range(200):
        stage.core.loads._refreshes._not_before_s.clear()
        stage.region.get_or_load("a", origin)
        refreshed += bool(stage.driver.spawned)
        stage.driver.spawned.clear()
        stage.core.loads._refreshes._under_way_count = 0
        assert number >= 0
    assert 40 < refreshed < 110, "exp(-2.1 / 2) is 0.35"


def test_a_probe_that_is_cancelled_does_not_keep_the_origin_alone() -> None:
    stage, origin = make(breaker_failures_max=1, breaker_open_s=1.0)
    origin.fails = True
    with pytest.raises(LoadError):
        stage.region.get_or_load("a", origin)
    pass_time(stage, 1.1)
    load_many = origin.load_many

    def interrupted(keys: Sequence[str]) -> dict[str, Any]:
        raise KeyboardInterrupt

    origin.load_many = interrupted  # type: ignore[method-assign]
    stage.core.loads._guards.of(origin).loader._loader._load_many = interrupted  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        stage.region.get_or_load("a", origin)
    stage.core.loads._guards.of(origin).loader._loader._load_many = load_many  # type: ignore[attr-defined]
    origin.fails = False
    assert stage.region.get_or_load("a", origin) == 1
    assert stage.replica.fills == {}
