"""Clients come and go: threads, tasks, forks, event loops, closed and stale ones, against a real cluster."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

import daycache_ray as daycache
from daycache_ray import Cache, ClusterConfig, RegionConfig, ServiceConfig
from daycache_ray.client.router import Router

CONFIG = ClusterConfig(
    name="client-lives",
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


def test_weak_writes_are_sent_at_close(cache: Cache) -> None:
    with daycache.connect(CONFIG.name) as other:
        other.region("weak").set("at close", 7)
    assert cache.region("weak").get("at close", level="strong") == 7


def test_weak_writes_are_sent_at_the_end_of_a_process(cache: Cache, embedded_ray: str) -> None:
    code = (
        "import daycache_ray as daycache\n"
        f"region = daycache.connect({CONFIG.name!r}, address={embedded_ray!r}).region('weak')\n"
        "region.set_many({f'end {number}': number for number in range(100)})\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120, capture_output=True)
    found = cache.region("weak").get_many([f"end {number}" for number in range(100)], level="strong")
    assert len(found) == 100


def test_a_forked_child_does_not_send_its_parent_s_weak_writes(cache: Cache) -> None:
    region = cache.region("weak")
    region.set("forked", "by the parent")
    child = os.fork()
    if child == 0:
        # The buffer was copied with the process; what it holds is the parent's to send.
        try:
            region.set("forked", "by the child", level="weak")
        except daycache.CacheClosedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    region.flush()
    assert region.get("forked", level="strong") == "by the parent"
    assert region.statistics().weak_writes_lost_count == 0


def test_threads_share_a_weak_buffer(cache: Cache) -> None:
    region = cache.region("weak")

    def work(number: int) -> None:
        for count in range(300):
            region.set(f"thread {number} {count}", count)
            if count % 50 == 0:
                region.flush()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    region.flush()
    keys = [f"thread {number} {count}" for number in range(6) for count in range(300)]
    assert len(region.get_many(keys, level="strong")) == len(keys)
    assert region.statistics().weak_writes_lost_count == 0


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
        with daycache.connect("client-lives") as mine:
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
        # Nobody tells this session of a newer map: a cluster that is still growing would correct it at once.
        other._desk.watch._sessions.discard(session)
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


async def test_the_async_face(cache: Cache) -> None:
    async with await daycache.aconnect(CONFIG.name) as other:
        region = other.region("eventual")
        versions = await asyncio.gather(*(region.set(f"async-{n}", n) for n in range(200)))
        assert all(version.lsn > 0 for version in versions)
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
