"""Origins on a real cluster: stale answers and who may not see them, loads behind answers, queues, tasks, crowds."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import ray

import daycache_ray as daycache
from daycache_ray import Cache, ClusterConfig, LoadError, PredictionConfig, RayTaskLoader, RegionConfig

TTL_S = 0.4
STALE_S = 6.0
SMALL: dict[str, Any] = {"replicas": 1, "memory_bytes": 16 << 20}
CONFIG = ClusterConfig(
    name="origin-tests",
    regions=(
        RegionConfig(name="stale", ttl_s=TTL_S, stale_for_s=STALE_S, **SMALL),
        RegionConfig(name="strong", level="strong", ttl_s=TTL_S, stale_for_s=STALE_S, memory_bytes=16 << 20),
        RegionConfig(name="soft", ttl_s=TTL_S, stale_for_s=60, soft_deadline_s=0.05, **SMALL),
        RegionConfig(name="ahead", ttl_s=2.0, refresh_ahead_ratio=0.1, **SMALL),
        RegionConfig(name="window", load_window_s=0.05, **SMALL),
        RegionConfig(name="narrow", load_concurrency_max=2, **SMALL),
        RegionConfig(name="plain", **SMALL),
    ),
    prediction=PredictionConfig(enabled=False),
    spare_actors=0,
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


def fail(key: str) -> Any:
    """Be an origin that is down."""
    raise OSError("the origin is down")


def together(works: Sequence[Callable[[], Any]], deadline_s: float = 60.0) -> list[Any]:
    """Do things at the same time in threads; return what they gave, or raised, in order."""
    outcomes: list[Any] = [None] * len(works)

    def run(number: int) -> None:
        try:
            outcomes[number] = works[number]()
        except Exception as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    end_s = time.monotonic() + deadline_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end_s - time.monotonic()))
        assert not thread.is_alive(), "not done in time"
    return outcomes


@pytest.mark.parametrize("name", ["stale", "strong"])
def test_what_has_expired_is_for_failed_loads_only(cache: Cache, name: str) -> None:
    region = cache.region(name)
    assert region.get_or_load("k", lambda key: "loaded") == "loaded"
    primary = region.shard_for("k")
    wait_until(lambda: region.get("k", level="strong") is None and region.get("k") is None)
    for level in ("strong", "eventual", "weak"):
        assert region.get("k", level=level) is None
        assert ray.get(primary.get.remote("k", level=level)) is None, "by the primary's socket neither (R24)"
    assert region.get_many(["k"]) == {}
    assert region.exists("k") is False
    assert list(region.scan()) == []
    assert region.get_or_load("k", fail) == "loaded"
    assert region.get_or_load_many(["k"], fail) == {"k": "loaded"}
    assert region.statistics().stale_answers_count >= 2
    assert region.statistics().entries_count == 1
    wait_until(lambda: region.statistics().entries_count == 0, STALE_S + 5)
    with pytest.raises(LoadError, match="is down"):
        region.get_or_load("k", fail)
    assert region.add("k", "added")


def test_later_entries_expire_in_time_while_earlier_ones_are_kept(cache: Cache) -> None:
    region = cache.region("strong")
    region.clear()
    for number in range(6):
        region.set(f"k{number}", number, ttl_s=0.2 + 0.2 * number)
    primary = region.shard_for("k0")
    for number in range(6):
        wait_until(lambda number=number: ray.get(primary.get.remote(f"k{number}", level="strong")) is None, 3.0)
    assert region.statistics().entries_count >= 5


def test_a_soft_deadline_and_the_load_behind_it(cache: Cache) -> None:
    region = cache.region("soft")
    region.get_or_load("k", lambda key: 1)
    wait_until(lambda: region.get("k") is None)
    release = threading.Event()

    def slowly(key: str) -> int:
        assert release.wait(20)
        return 2

    started_s = time.monotonic()
    assert region.get_or_load("k", slowly) == 1
    assert region.get_or_load("k", slowly) == 1, "and so has everybody else meanwhile"
    assert time.monotonic() - started_s < 5
    release.set()
    wait_until(lambda: region.get_or_load("k", slowly) == 2)


async def test_a_soft_deadline_for_asyncio(cache: Cache) -> None:
    async with await daycache.aconnect(CONFIG.name) as other:
        region = other.region("soft")
        assert await region.get_or_load("a", lambda key: 1) == 1
        end_s = time.monotonic() + 10
        while await region.get("a") is not None:
            assert time.monotonic() < end_s
            await asyncio.sleep(0.01)
        release = asyncio.Event()
        asked: list[str] = []

        async def slowly(key: str) -> int:
            asked.append(key)
            await release.wait()
            return 2

        assert await region.get_or_load("a", slowly) == 1
        release.set()
        while await region.get_or_load("a", slowly) != 2:
            assert time.monotonic() < end_s
            await asyncio.sleep(0.01)


def test_refresh_ahead(cache: Cache) -> None:
    region = cache.region("ahead")
    versions = iter(range(1_000))
    assert region.get_or_load("k", lambda key: next(versions)) == 0
    asked = time.monotonic()
    wait_until(lambda: region.get_or_load("k", lambda key: next(versions)) == 1)
    assert time.monotonic() - asked < 2.0, "before it expired"


def test_loads_in_a_window_are_one_question(cache: Cache) -> None:
    region = cache.region("window")
    asked: list[int] = []

    class Origin:
        def load_many(self, keys: Sequence[str]) -> dict[str, str]:
            asked.append(len(keys))
            return {key: key.upper() for key in keys}

    origin = Origin()
    found = together([lambda n=n: region.get_or_load(f"w{n}", origin) for n in range(40)])
    assert found == [f"W{n}" for n in range(40)]
    assert sum(asked) == 40
    assert len(asked) <= 10


async def test_loads_in_a_window_of_asyncio(cache: Cache) -> None:
    asked: list[int] = []

    class Origin:
        async def load_many(self, keys: Sequence[str]) -> dict[str, str]:
            asked.append(len(keys))
            return {key: key.upper() for key in keys}

    origin = Origin()
    async with await daycache.aconnect(CONFIG.name) as other:
        region = other.region("window")
        found = await asyncio.gather(*(region.get_or_load(f"a{n}", origin) for n in range(200)))
    assert found == [f"A{n}" for n in range(200)]
    assert len(asked) <= 10


def test_no_more_questions_at_once_than_allowed(cache: Cache) -> None:
    region = cache.region("narrow")
    lock = threading.Lock()
    open_count = most = 0

    def load(key: str) -> str:
        nonlocal open_count, most
        with lock:
            open_count += 1
            most = max(most, open_count)
        threading.Event().wait(0.02)
        with lock:
            open_count -= 1
        return key

    assert together([lambda n=n: region.get_or_load(f"n{n}", load) for n in range(20)]) == [f"n{n}" for n in range(20)]
    assert most == 2


def test_a_thousand_threads_on_one_missing_key(cache: Cache) -> None:
    region = cache.region("plain")
    asked: list[str] = []

    def load(key: str) -> str:
        asked.append(key)
        threading.Event().wait(1.0)
        return "loaded"

    assert together([lambda: region.get_or_load("crowd", load)] * 1_000) == ["loaded"] * 1_000
    assert asked == ["crowd"]


async def test_a_thousand_tasks_on_one_missing_key(cache: Cache) -> None:
    asked: list[str] = []

    async def load(key: str) -> str:
        asked.append(key)
        await asyncio.sleep(0.3)
        return "loaded"

    async with await daycache.aconnect(CONFIG.name) as other:
        region = other.region("plain")
        loads = (region.get_or_load("queue", load) for _ in range(1_000))
        assert await asyncio.wait_for(asyncio.gather(*loads), 60) == ["loaded"] * 1_000
    assert asked == ["queue"]


def test_a_miss_is_a_task(cache: Cache) -> None:
    region = cache.region("plain")

    def load(key: str) -> tuple[str, int, float]:
        return key, os.getpid(), ray.get_runtime_context().get_assigned_resources().get("CPU", 0.0)

    loader = RayTaskLoader(load, num_cpus=2)
    key, pid, cpus = region.get_or_load("task", loader)
    assert (key, cpus) == ("task", 2.0)
    assert pid != os.getpid()
    assert region.get("task") == (key, pid, cpus)
    found = region.get_or_load_many(["t1", "t2", "task"], loader)
    assert [found[name][0] for name in ("t1", "t2", "task")] == ["t1", "t2", "task"]


def test_a_batch_is_one_task(cache: Cache) -> None:
    class Origin:
        def load_many(self, keys: Sequence[str]) -> dict[str, int]:
            return {key: os.getpid() for key in keys if key != "nowhere"}

    found = cache.region("plain").get_or_load_many(["b1", "b2", "nowhere"], RayTaskLoader(Origin(), num_cpus=0.5))
    assert sorted(found) == ["b1", "b2"]
    assert len(set(found.values())) == 1


def test_tasks_that_fail_die_or_find_no_room(cache: Cache) -> None:
    region = cache.region("plain")
    with pytest.raises(LoadError, match="is down") as failure:
        region.get_or_load("f", RayTaskLoader(fail))
    assert isinstance(failure.value.__cause__, Exception)
    with pytest.raises(LoadError, match="WorkerCrashedError"):
        region.get_or_load("f", RayTaskLoader(lambda key: os._exit(1)))
    with pytest.raises(LoadError, match="within 1 s"):
        region.get_or_load("f", RayTaskLoader(lambda key: 1, resources={"no_such_thing": 1}, deadline_s=1.0))
    assert region.get_or_load("f", RayTaskLoader(lambda key: 1, num_cpus=0)) == 1


async def test_a_task_from_asyncio(cache: Cache) -> None:
    async with await daycache.aconnect(CONFIG.name) as other:
        assert await other.region("plain").get_or_load("at", RayTaskLoader(lambda key: key * 2)) == "atat"
