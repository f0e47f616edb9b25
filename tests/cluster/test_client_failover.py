"""What a client notices when a primary dies or stops: a pause, never a wrong answer."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import daycache_ray as daycache
from daycache_ray import Cache, ClusterConfig, RegionConfig
from daycache_ray.words.cluster_map import MemberAddress

CONFIG = ClusterConfig(
    name="client-failover",
    regions=(RegionConfig(name="strong", level="strong", replicas=3, memory_bytes=32 << 20),),
    prediction={"enabled": False},
)
PAUSE_S_MAX = 20.0
"""On a busy test machine; on a quiet one it is a tenth of a second after a kill, a second after a stop."""


@pytest.fixture(scope="module")
def cache(embedded_ray: str) -> Iterator[Cache]:
    with daycache.start(CONFIG) as found:
        yield found


def wait_until(condition: Callable[[], object], deadline_s: float = 60.0) -> None:
    """Return when a condition holds; fail at the deadline."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true in time"
        threading.Event().wait(0.02)


def primary_of(cache: Cache) -> MemberAddress:
    """Return the primary once the shard can lose it: a STRONG write needs two in-sync members."""

    def is_whole() -> bool:
        (shard,) = cache.cluster_map.shards["strong"]
        return shard.primary is not None and sum(member.in_sync for member in shard.members) == 3

    wait_until(is_whole)
    (shard,) = cache.cluster_map.shards["strong"]
    assert shard.primary is not None
    return shard.primary


class Writers:
    """Threads that count upwards and check that nothing they were told is taken back."""

    def __init__(self, cache: Cache, count: int = 4) -> None:
        self.region = cache.region("strong")
        self.errors: list[BaseException] = []
        self.longest_s = 0.0
        self.rounds_count = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(f"writer-{n}",)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop, and raise what went wrong."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        if self.errors:
            raise self.errors[0]

    def _work(self, key: str) -> None:
        try:
            self.region.delete(key)
            expected = 0
            while not self._stop.is_set():
                began_s = time.monotonic()
                expected += 1
                # An increment that was applied twice, or lost, shows in the next one.
                assert self.region.increment(key, deadline_s=60) == expected
                assert self.region.get(key, level="strong", deadline_s=60) == expected
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)
                self.rounds_count += 1
        except BaseException as error:
            self.errors.append(error)


def test_a_killed_primary_costs_a_pause(cache: Cache) -> None:
    former = primary_of(cache)
    writers = Writers(cache)
    try:
        wait_until(lambda: writers.rounds_count > 50)
        os.kill(former.pid, signal.SIGKILL)
        before = writers.rounds_count
        wait_until(lambda: writers.errors or writers.rounds_count > before + 100)
    finally:
        writers.end()
    assert writers.longest_s < PAUSE_S_MAX
    assert primary_of(cache).pid != former.pid


def test_a_stopped_primary_costs_a_pause_and_never_answers_again(cache: Cache) -> None:
    former = primary_of(cache)
    writers = Writers(cache)
    try:
        wait_until(lambda: writers.rounds_count > 50)
        os.kill(former.pid, signal.SIGSTOP)
        before = writers.rounds_count
        wait_until(lambda: writers.errors or writers.rounds_count > before + 100)
        assert writers.longest_s < PAUSE_S_MAX
        os.kill(former.pid, signal.SIGCONT)
        before = writers.rounds_count
        wait_until(lambda: writers.errors or writers.rounds_count > before + 100)
    finally:
        os.kill(former.pid, signal.SIGCONT)
        writers.end()


async def test_asyncio_sees_the_same(cache: Cache) -> None:
    former = await asyncio.to_thread(primary_of, cache)
    async with await daycache.aconnect(CONFIG.name) as other:
        region = other.region("strong")
        is_over = False

        async def count(key: str) -> int:
            expected = 0
            while not is_over:
                expected += 1
                assert await region.increment(key, deadline_s=60) == expected
                assert await region.get(key, level="strong", deadline_s=60) == expected
            return expected

        await asyncio.gather(*(region.delete(f"task-{n}") for n in range(20)))
        tasks = [asyncio.ensure_future(count(f"task-{n}")) for n in range(20)]
        await asyncio.sleep(0.3)
        os.kill(former.pid, signal.SIGKILL)
        before = [await region.get(f"task-{n}", 0, level="strong", deadline_s=60) for n in range(20)]
        end_s = time.monotonic() + 60
        for number, task in enumerate(tasks):
            while not task.done():
                now = await region.get(f"task-{number}", 0, level="strong", deadline_s=60)
                if now > before[number] + 5:
                    break
                assert time.monotonic() < end_s
                await asyncio.sleep(0.05)
        is_over = True
        assert min(await asyncio.gather(*tasks)) > 0
