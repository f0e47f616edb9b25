"""Starting and stopping: what must not be there, what must be gone, and what a stop does to writes in flight."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

import daycache_ray as daycache
from daycache_ray import Cache, ClusterConfig, RegionConfig
from daycache_ray.words.errors import (
    CacheClosedError,
    CacheError,
    ClusterExistsError,
    ClusterNotFoundError,
    StoreFullError,
    UnavailableError,
)


def small(name: str, **fields: object) -> ClusterConfig:
    """A cluster of one shard in one copy, without companions."""
    region = RegionConfig(name="orders", replicas=1, memory_bytes=4 << 20)
    return ClusterConfig(name=name, regions=(region,), prediction={"enabled": False}, spare_actors=0, **fields)


def directories(name: str) -> list[Path]:
    """What clusters of that name have in shared memory."""
    return list(Path("/dev/shm/daycache").glob(f"{name}-*"))


def test_connect_before_start_says_what_to_do(embedded_ray: str) -> None:
    with pytest.raises(ClusterNotFoundError, match="start"):
        daycache.connect("never-started")
    with pytest.raises(ClusterNotFoundError, match="never-started"):
        daycache.stop("never-started")


def test_two_starts_of_one_name(embedded_ray: str) -> None:
    with daycache.start(small("twice")) as cache:
        cache.region("orders").set("a", 1)
        with pytest.raises(ClusterExistsError, match="connect"):
            daycache.start(small("twice"))
        # The second start must not have touched the first one's cluster.
        assert cache.region("orders").get("a") == 1
        assert daycache.connect("twice").region("orders").get("a") == 1


def test_stop_leaves_nothing_and_the_name_is_free_again(embedded_ray: str) -> None:
    cache = daycache.start(small("again"))
    cache.region("orders").set("a", 1)
    pids = [member.pid for shard in cache.cluster_map.shards["orders"] for member in shard.members]
    assert len(directories("again")) == 1
    cache.close()
    assert daycache.connect("again").region("orders").get("a") == 1
    daycache.stop("again")
    assert directories("again") == []
    end_s = time.monotonic() + 20  # Ray ends processes behind one's back
    while any(_is_replica(pid) for pid in pids) and time.monotonic() < end_s:
        time.sleep(0.02)
    assert not [pid for pid in pids if _is_replica(pid)]
    with daycache.start(small("again")) as second:
        assert second.region("orders").get("a") is None


def _is_replica(pid: int) -> bool:
    try:
        return "ray::Replica" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_two_clusters_side_by_side(embedded_ray: str) -> None:
    with daycache.start(small("left")) as left, daycache.start(small("right")) as right:
        left.region("orders").set("a", "left")
        assert right.region("orders").get("a") is None
        assert left.region("orders").get("a") == "left"


def test_stop_in_the_middle_of_writes_is_a_typed_error(embedded_ray: str) -> None:
    cache = daycache.start(small("midst"))
    region = cache.region("orders")
    written, failed = threading.Event(), []

    def write() -> None:
        try:
            for number in range(1_000_000):
                region.set(f"key-{number % 100}", number, deadline_s=1.0)
                written.set()
        except CacheError as error:
            failed.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    assert written.wait(10)
    daycache.stop("midst")
    thread.join(20)
    assert not thread.is_alive()
    assert isinstance(failed[0], (UnavailableError, CacheClosedError)), repr(failed[0])
    cache.close()


def test_calls_after_close_say_so(embedded_ray: str) -> None:
    with daycache.start(small("closed")) as cache:
        other = daycache.connect("closed")
        region = other.region("orders")
        region.set("a", 1)
        other.close()
        for call in (lambda: region.get("a"), lambda: region.set("a", 2), lambda: other.region("orders")):
            with pytest.raises(CacheClosedError, match="closed"):
                call()
        assert cache.region("orders").get("a") == 1


def test_too_small_shared_memory_is_said_at_start(embedded_ray: str, tmp_path: Path) -> None:
    free = os.statvfs("/dev/shm")
    too_much = free.f_blocks * free.f_frsize * 2
    config = ClusterConfig(
        name="toolarge",
        regions=(RegionConfig(name="orders", replicas=1, memory_bytes=too_much),),
        prediction={"enabled": False},
        spare_actors=0,
    )
    with pytest.raises((StoreFullError, UnavailableError), match="shm-size|memory_bytes"):
        daycache.start(config)
    assert directories("toolarge") == []


def test_repr_is_a_sentence(embedded_ray: str) -> None:
    with daycache.start(small("spoken")) as cache:
        assert isinstance(cache, Cache)
        assert "spoken" in repr(cache)
        assert "orders" in repr(cache.region("orders"))
