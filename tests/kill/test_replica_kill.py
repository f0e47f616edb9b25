"""kill -9 of every kind of actor in the middle of writes: nothing acknowledged is lost.

STRONG with two replicas survives the death of any one actor. Where the store survives on the node, what was
acknowledged at EVENTUAL survives too: the heir reads the dead primary's log, or the store is reopened warm.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

import daycache_ray as daycache
from daycache_ray import Cache, ClusterConfig, RegionConfig
from daycache_ray.words.errors import CacheError
from daycache_ray.words.naming import NAMESPACE, coordinator_name

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def cache(embedded_ray: None) -> Iterator[Cache]:
    config = ClusterConfig(
        name="killed",
        regions=(
            RegionConfig(name="strong", level="strong", replicas=2, memory_bytes=16 << 20),
            RegionConfig(name="eventual", replicas=2, memory_bytes=16 << 20),
            RegionConfig(name="single", replicas=1, memory_bytes=16 << 20),
        ),
        prediction={"enabled": False},
    )
    with daycache.start(config) as found:
        yield found


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true answer of `condition`, within the deadline."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


def whole(cache: Cache, region: str) -> bool:
    """Whether every copy of a region is in sync."""
    wanted = cache.cluster_map.config.region(region).replicas
    return all(
        shard.primary is not None and sum(member.in_sync for member in shard.members) == wanted
        for shard in cache.cluster_map.shards[region]
    )


class Writer:
    """Writes numbered values to many keys until told to stop; knows what was acknowledged."""

    def __init__(self, cache: Cache, region: str) -> None:
        self._region = cache.region(region)
        self.acknowledged: dict[str, int] = {}
        self.unknown: set[str] = set()
        self.gaps_s: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number, last = 0, time.monotonic()
        while not self._stop.is_set():
            number += 1
            key = f"key-{number % 500}"
            try:
                self._region.set(key, number, deadline_s=10)
            except CacheError:
                self.unknown.add(key)
                continue
            self.acknowledged[key] = number
            now = time.monotonic()
            self.gaps_s.append(now - last)
            last = now

    def stop(self) -> None:
        """End and wait for the thread."""
        self._stop.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


def lost(cache: Cache, region: str, writer: Writer) -> dict[str, tuple[int, Any]]:
    """Return the keys whose newest acknowledged number is not there."""
    found = cache.region(region)
    missing = {}
    for key, number in writer.acknowledged.items():
        value = found.get(key, level="strong", deadline_s=10)
        if value != number and not (key in writer.unknown and value is not None and value > number):
            missing[key] = (number, value)
    return missing


def kill_member(cache: Cache, region: str, *, primary: bool) -> int:
    """Kill one member's process; return its pid."""
    shard = cache.cluster_map.shards[region][0]
    assert shard.primary is not None
    pid = next(member.pid for member in shard.members if (member.seat == shard.primary_seat) is primary)
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.parametrize("region", ["strong", "eventual", "single"])
def test_primary_killed_again_and_again(cache: Cache, region: str) -> None:
    for _ in range(3):
        wait_until(lambda: whole(cache, region), "all copies in sync")
        writer = Writer(cache, region)
        wait_until(lambda: len(writer.gaps_s) > 200, "writes before the kill")  # noqa: B023
        before = len(writer.gaps_s)
        pid = kill_member(cache, region, primary=True)
        wait_until(lambda: len(writer.gaps_s) > before + 200, "writes after the kill")  # noqa: B023
        writer.stop()
        assert lost(cache, region, writer) == {}
        wait_until(lambda: all(m.pid != pid for m in cache.cluster_map.shards[region][0].members), "a new process")  # noqa: B023


def test_secondary_killed(cache: Cache) -> None:
    wait_until(lambda: whole(cache, "strong"), "all copies in sync")
    writer = Writer(cache, "strong")
    wait_until(lambda: len(writer.gaps_s) > 200, "writes before the kill")
    before = len(writer.gaps_s)
    kill_member(cache, "strong", primary=False)
    wait_until(lambda: len(writer.gaps_s) > before + 200, "writes after the kill")
    writer.stop()
    assert lost(cache, "strong", writer) == {}
    wait_until(lambda: whole(cache, "strong"), "all copies in sync again")


def test_coordinator_killed(cache: Cache) -> None:
    wait_until(lambda: whole(cache, "strong"), "all copies in sync")
    coordinator = ray.get_actor(coordinator_name("killed"), namespace=NAMESPACE)
    writer = Writer(cache, "strong")
    wait_until(lambda: len(writer.gaps_s) > 200, "writes before the kill")
    before = len(writer.gaps_s)
    os.kill(ray.get(coordinator.pid.remote()), signal.SIGKILL)
    wait_until(lambda: len(writer.gaps_s) > before + 200, "writes go on without the coordinator")
    kill_member(cache, "strong", primary=True)
    after = len(writer.gaps_s)
    wait_until(lambda: len(writer.gaps_s) > after + 200, "writes after coordinator and primary died")
    writer.stop()
    assert lost(cache, "strong", writer) == {}
    wait_until(lambda: whole(cache, "strong"), "all copies in sync again")


def test_all_members_killed_at_once(cache: Cache) -> None:
    wait_until(lambda: whole(cache, "strong"), "all copies in sync")
    region = cache.region("strong")
    for number in range(200):
        region.set(f"all-{number}", number)
    for member in cache.cluster_map.shards["strong"][0].members:
        os.kill(member.pid, signal.SIGKILL)
    for number in range(200):
        assert region.get(f"all-{number}", level="strong", deadline_s=DEADLINE_S) == number


def test_a_hung_secondary_is_replaced(cache: Cache) -> None:
    wait_until(lambda: whole(cache, "strong"), "all copies in sync")
    shard = cache.cluster_map.shards["strong"][0]
    secondary = next(member for member in shard.members if member.seat != shard.primary_seat)
    os.kill(secondary.pid, signal.SIGSTOP)
    cache.region("strong").set("written-beside-a-hung-copy", 1, deadline_s=DEADLINE_S)
    assert cache.region("strong").get("written-beside-a-hung-copy", level="strong") == 1
    wait_until(lambda: whole(cache, "strong"), "all copies in sync again")
    assert secondary.pid not in {member.pid for member in cache.cluster_map.shards["strong"][0].members}
