"""The client against a real cluster: the model beside it, threads, processes, forks, loads, doors of Ray."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import ray
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

import daycache_ray as daycache
from daycache_ray import Cache, ClusterConfig, RegionConfig, ServiceConfig
from daycache_ray.client.router import Router
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


def test_weak_writes_are_sent_at_close(cache: Cache) -> None:
    with daycache.connect(CONFIG.name) as other:
        other.region("weak").set("at close", 7)
    assert cache.region("weak").get("at close", level="strong") == 7


def test_threads_share_a_cache(cache: Cache) -> None:
    region = cache.region("strong")
    region.set("counter", 0)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(25):
                region.increment("counter")
                region.get("counter")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert region.get("counter", level="strong") == 200


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


def test_the_actor_handle_is_a_door_too(cache: Cache) -> None:
    region = cache.region("strong")
    region.set("k", {"n": 1})
    handle = region.shard_for("k")
    assert ray.get(handle.get.remote("k")) == {"n": 1}
    ray.get(handle.set.remote("k", 2))
    assert region.get("k") == 2
    statistics = ray.get(handle.statistics.remote())
    assert statistics.role == "primary"
    assert statistics.pid != os.getpid()


def test_tasks_and_actors_connect(cache: Cache) -> None:
    cache.region("strong").set("for tasks", 41)

    @ray.remote
    def task() -> Any:
        with daycache.connect("client-tests") as mine:
            return mine.region("strong").increment("for tasks"), mine.region("strong").get_entry("for tasks")

    number, entry = ray.get(task.remote(), timeout=60)
    assert number == 42
    assert entry.value == 42
    assert cache.region("strong").get("for tasks", level="strong") == 42


def test_a_forked_child_must_connect_again(cache: Cache) -> None:
    region = cache.region("strong")
    region.set("k", 1)
    assert region.get("k") == 1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                answer = repr(region.get("k"))
            except daycache.CacheClosedError as error:
                answer = str(error)
            os.write(writing, answer.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    assert "forked" in told
    assert "connect() again" in told
    assert region.get("k") == 1
    region.set("k", 2)
    assert region.get("k") == 2


def test_closed_is_closed(cache: Cache) -> None:
    other = daycache.connect(CONFIG.name)
    region = other.region("strong")
    region.set("k", 1)
    view = other.service("a")
    other.close()
    other.close()
    with pytest.raises(daycache.CacheClosedError):
        region.get("k")
    with pytest.raises(daycache.CacheClosedError):
        other.region("strong")
    with pytest.raises(daycache.CacheClosedError):
        view.region("strong")
    assert "was closed" in repr(other)
    assert cache.region("strong").get("k") == 1


def test_clients_leave_nothing_behind(cache: Cache) -> None:
    def count() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    def connect_and_close() -> None:
        with daycache.connect(CONFIG.name) as other:
            other.region("eventual").set("k", 1)
            other.region("eventual").get("k")
            other.region("weak").set("k", 1)

    connect_and_close()
    descriptors_count, threads_count = count()
    for _ in range(5):
        connect_and_close()
    wait_until(lambda: count()[0] <= descriptors_count + 3 and count()[1] <= threads_count + 1)


def test_a_stale_map_is_corrected_by_the_first_refusal(cache: Cache) -> None:
    with daycache.connect(CONFIG.name) as other:
        region = other.region("strong")
        region.set("k", 1)
        session = other._desk.session
        right = session.router.cluster_map
        wrong = {
            name: tuple(
                type(shard)(shard.shard, shard.epoch, (shard.primary_seat + 1) % len(shard.members), shard.members)
                for shard in shards
            )
            for name, shards in right.shards.items()
        }
        stale = type(right)(**{name: getattr(right, name) for name in right.__dataclass_fields__} | {"shards": wrong})
        session.router = Router(stale, session.router.node_id)
        with pytest.raises((daycache.ShardUnavailableError, daycache.DeadlineExceededError)):
            region.set("k", 2, deadline_s=0.3)
        session.router = Router(right, session.router.node_id)
        region.set("k", 3)
        assert region.get("k") == 3


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


async def test_the_async_face(cache: Cache) -> None:
    async with await daycache.aconnect(CONFIG.name) as other:
        region = other.region("eventual")
        versions = await asyncio.gather(*(region.set(f"async-{n}", n) for n in range(200)))
        assert len(set(versions)) == 200
        assert await region.get_many([f"async-{n}" for n in range(200)]) == {f"async-{n}": n for n in range(200)}
        assert sorted([key async for key in region.scan("async-1")])[:2] == ["async-1", "async-10"]
        assert await region.increment("async-1") == 2
        assert await region.delete("async-1") is True
        assert await region.exists("async-1") is False

        async def load(key: str) -> str:
            await asyncio.sleep(0.05)
            return key.upper()

        await region.delete("load me")
        assert await asyncio.gather(*(region.get_or_load("load me", load) for _ in range(10))) == ["LOAD ME"] * 10
        async with region.view("load me") as view:
            assert view == "LOAD ME"
        handle = await region.shard_for("async-2")
        assert await handle.get.remote("async-2") == 2
        assert (await region.statistics()).entries_count > 100
        async with await other.service("a") as view_of_a:
            assert await view_of_a.region("eventual").get("async-2") is None
    with pytest.raises(daycache.CacheClosedError):
        await region.get("async-2")


async def test_a_cancelled_load_lets_the_next_one_load(cache: Cache) -> None:
    async with await daycache.aconnect(CONFIG.name) as other:
        region = other.region("eventual")
        await region.delete("cancelled")
        begun = asyncio.Event()

        async def hang(key: str) -> str:
            begun.set()
            await asyncio.sleep(60)
            return "never"

        loading = asyncio.ensure_future(region.get_or_load("cancelled", hang))
        await asyncio.wait_for(begun.wait(), 5)
        waiting = asyncio.ensure_future(region.get_or_load("cancelled", lambda key: "mine"))
        await asyncio.sleep(0.1)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        try:
            assert await asyncio.wait_for(waiting, 5) == "mine"
        except daycache.LoadError:
            # It waited for the cancelled load and shares its end; whoever comes next loads.
            assert await region.get_or_load("cancelled", lambda key: "mine") == "mine"
