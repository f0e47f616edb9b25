"""The client's calls against a real cluster: the model beside them, memory, expiry, weak writes, loads, services."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

import daycache_ray as daycache
from daycache_ray import Cache, ClusterConfig, RegionConfig, ServiceConfig
from tests.models.test_region_model import RegionBesideDict

CONFIG = ClusterConfig(
    name="client-tests",
    regions=(
        RegionConfig(name="strong", level="strong", shards=2, memory_bytes=64 << 20),
        RegionConfig(name="eventual", shards=2, memory_bytes=64 << 20, negative_ttl_s=30.0),
        RegionConfig(name="weak", level="weak", replicas=1, memory_bytes=16 << 20),
    ),
    services=tuple(ServiceConfig(name=name) for name in ("default", "a", "b")),
)


@pytest.fixture(scope="module")
def cache(embedded_ray: str) -> Iterator[Cache]:
    with daycache.start(CONFIG) as found:
        yield found


def wait_until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    """Return when a condition holds; fail at the deadline."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true in time"
        threading.Event().wait(0.01)


class RegionOverSockets(RegionBesideDict):
    """The same machine, with real replicas behind it."""

    make_region: ClassVar[Any] = None


@pytest.mark.parametrize("name", ["strong", "eventual"])
def test_a_region_beside_a_dict(cache: Cache, name: str) -> None:
    RegionOverSockets.make_region = staticmethod(lambda: cache.region(name))
    run_state_machine_as_test(
        RegionOverSockets,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("name", ["strong", "eventual"])
def test_own_writes_are_read_from_memory(cache: Cache, name: str) -> None:
    region = cache.region(name)
    for number in range(50):
        region.set("mine", number)
        assert region.get("mine") == number
    entry = region.get_entry("mine")
    assert entry is not None
    assert entry.served_by in ("memory", "primary")
    # Memory answers as soon as the commit is published; waiting for that is all a STRONG read may cost.
    wait_until(lambda: (found := region.get_entry("mine")) is not None and found.served_by == "memory")


def test_large_arrays_come_out_of_shared_memory(cache: Cache) -> None:
    region = cache.region("eventual")
    array = np.random.default_rng(1).random(500_000)
    region.set("array", array)
    found = region.get("array")
    assert np.array_equal(found, array)
    assert not found.flags.writeable
    with region.view("array") as view:
        assert np.array_equal(view, array)
    assert np.array_equal(region.get("array", level="strong"), array)
    region.delete("array")
    assert np.array_equal(found, array)


def test_expiry_at_every_level(cache: Cache) -> None:
    region = cache.region("strong")
    region.set("short", 1, ttl_s=0.3)
    ttl_s = region.ttl("short")
    assert ttl_s is not None
    assert 0 < ttl_s <= 0.3
    wait_until(lambda: region.get("short", level="eventual") is None, 2.0)
    wait_until(lambda: region.get("short", level="strong") is None, 2.0)
    assert region.ttl("short") is None
    region.set("kept", 1)
    assert region.ttl("kept") is None
    assert region.touch("kept", 60) is True
    assert (region.ttl("kept") or 0) > 50


def test_weak_writes_land_by_themselves(cache: Cache) -> None:
    region = cache.region("weak")
    region.set_many({f"k{number}": number for number in range(1_000)})
    region.set("last", 1)
    assert region.get("last") == 1
    wait_until(lambda: region.get("last", level="strong") == 1)
    wait_until(lambda: len(region.get_many([f"k{number}" for number in range(1_000)], level="strong")) == 1_000)
    assert region.statistics().weak_writes_lost_count == 0


def test_compare_and_set_loses_no_update(cache: Cache) -> None:
    region = cache.region("strong")
    region.set("balance", 0)

    def add_one() -> None:
        while True:
            entry = region.get_entry("balance")
            assert entry is not None
            try:
                region.compare_and_set("balance", entry.value + 1, entry.version)
                return
            except daycache.VersionConflictError:
                continue

    threads = [threading.Thread(target=add_one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert region.get("balance") == 12


def test_one_load_for_many_threads(cache: Cache) -> None:
    region = cache.region("eventual")
    region.delete("loaded")
    loads: list[str] = []
    barrier = threading.Barrier(16)
    found: list[Any] = []

    def load(key: str) -> str:
        loads.append(key)
        threading.Event().wait(0.2)
        return "from the origin"

    def work() -> None:
        barrier.wait(10)
        found.append(region.get_or_load("loaded", load))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == ["from the origin"] * 16
    assert loads == ["loaded"]


def test_waiters_share_the_error(cache: Cache) -> None:
    region = cache.region("eventual")
    barrier = threading.Barrier(4)
    errors: list[daycache.LoadError] = []

    def load(key: str) -> str:
        threading.Event().wait(0.2)
        raise ValueError("the origin is down")

    def work() -> None:
        barrier.wait(10)
        with pytest.raises(daycache.LoadError) as failure:
            region.get_or_load("broken", load)
        errors.append(failure.value)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(errors) == 4
    assert all("the origin is down" in str(error) for error in errors)
    assert region.get_or_load("broken", lambda key: "well again") == "well again"


def test_a_remembered_miss(cache: Cache) -> None:
    region = cache.region("eventual")
    asked: list[str] = []

    def load(key: str) -> Any:
        asked.append(key)
        return daycache.MISSING

    assert [region.get_or_load("nowhere", load, default=7) for _ in range(3)] == [7, 7, 7]
    assert asked == ["nowhere"]
    assert region.get("nowhere", default=8) == 8
    assert region.add("nowhere", 1) is True
    assert region.get_or_load("nowhere", load) == 1


def test_loads_in_batches(cache: Cache) -> None:
    region = cache.region("eventual")
    region.clear()
    asked: list[int] = []

    class Origin:
        def load_many(self, keys: Any) -> dict[str, int]:
            asked.append(len(keys))
            return {key: len(key) for key in keys if key != "not there"}

    keys = [f"batch-{number}" for number in range(100)] + ["not there"]
    found = region.get_or_load_many(keys, Origin())
    assert found == {key: len(key) for key in keys[:-1]}
    assert asked == [101]
    assert region.get_many(keys) == found


def test_a_loader_that_hangs(cache: Cache) -> None:
    region = cache.region("eventual")
    release = threading.Event()
    try:
        with pytest.raises(daycache.LoadError, match="did not answer"):
            region.get_or_load("slow", lambda key: release.wait(20), deadline_s=0.3)
    finally:
        release.set()
    assert region.get_or_load("slow", lambda key: 1) == 1


def test_services_are_isolated(cache: Cache) -> None:
    a, b = cache.service("a"), cache.service("b")
    a.region("strong").set("k", "of a")
    assert b.region("strong").get("k") is None
    assert b.region("strong").delete("k") is False
    b.region("strong").set("k", "of b")
    assert a.region("strong").get("k") == "of a"
    assert list(a.region("strong").scan()) == ["k"]
    assert b.region("strong").clear() == 1
    assert a.region("strong").get("k") == "of a"
    with pytest.raises(daycache.UnknownServiceError, match="a, b"):
        cache.service("c")
    with pytest.raises(daycache.UnknownServiceError):
        daycache.connect(CONFIG.name, service="c")


def test_unknown_names_say_what_there_is(cache: Cache) -> None:
    with pytest.raises(daycache.UnknownRegionError, match="strong, eventual, weak"):
        cache.region("orders")
    with pytest.raises(daycache.ClusterNotFoundError, match="start"):
        daycache.connect("no such cluster")


def test_statistics(cache: Cache) -> None:
    region = cache.region("strong")
    region.set("k", 1)
    statistics = region.statistics()
    assert statistics.region == "strong"
    assert len(statistics.shards) == 2
    assert statistics.entries_count >= 1
    assert statistics.used_bytes > 0
    assert statistics.hits_count > 0
    assert 0 < statistics.hit_ratio <= 1
    assert set(cache.statistics()) == {"strong", "eventual", "weak"}
    assert pickle.loads(pickle.dumps(statistics)) == statistics
