"""kill -9 of the primary in the middle of write-behind: every acknowledged STRONG write reaches the origin."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

import daycache_ray as daycache
from daycache_ray import Cache, ClusterConfig, Region, RegionConfig, SqlWriter
from daycache_ray.words.errors import CacheError

DEADLINE_S = 60.0
KEYS_COUNT = 200


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true answer of `condition`, within the deadline."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        try:
            if answer := condition():
                return answer
        except CacheError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


def whole(cache: Cache) -> bool:
    """Whether every copy is in sync."""
    return all(
        shard.primary is not None and sum(member.in_sync for member in shard.members) == 2
        for shard in cache.cluster_map.shards["orders"]
    )


class Writing(threading.Thread):
    """Sets, increments and deletes numbered keys; knows the last acknowledged state of each, and what is not known."""

    def __init__(self, region: Region) -> None:
        super().__init__()
        self._region = region
        self._ends = threading.Event()
        self.last: dict[str, int | None] = {}
        self.unknown: set[str] = set()
        self.count = 0

    def run(self) -> None:
        while not self._ends.is_set():
            self.count += 1
            key = f"key-{self.count * 7 % KEYS_COUNT}"
            try:
                if self.count % 11 == 0:
                    self._region.delete(key, deadline_s=20)
                    self.last[key] = None
                else:
                    self._region.set(key, self.count, deadline_s=20)
                    self.last[key] = self.count
                self.unknown.discard(key)
            except CacheError:
                self.unknown.add(key)

    def stop(self) -> None:
        self._ends.set()
        self.join(30)


def rows(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("select name, amount from orders").fetchall())


def test_every_acknowledged_write_reaches_the_origin_across_kills_of_the_primary(
    embedded_ray: None, tmp_path: Path
) -> None:
    path = tmp_path / "orders.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("create table orders (name text primary key, amount integer)")
    config = ClusterConfig(
        name="behind",
        regions=(
            RegionConfig(
                name="orders",
                level="strong",
                replicas=2,
                memory_bytes=16 << 20,
                writer=SqlWriter(f"sqlite:///{path}", table="orders", key_column="name", value_column="amount"),
                write_behind_s=0.1,
                write_deadline_s=0.5,
            ),
        ),
        prediction={"enabled": False},
    )
    with daycache.start(config) as cache:
        orders = cache.region("orders")
        wait_until(lambda: whole(cache), "both copies in sync")
        writing = Writing(orders)
        writing.start()
        killed = set()
        for _ in range(2):
            wait_until(lambda: orders.statistics().shards[0].written_behind_count > 20, "the primary writes behind")
            at = writing.count
            wait_until(lambda at=at: writing.count > at + 200, "writes go on")  # type: ignore[misc]
            primary = ray.get(orders.shard_for("key-1").statistics.remote(), timeout=20)
            assert primary.pid not in killed
            assert primary.dirty_count > 0, "something waits at the moment of the kill"
            killed.add(primary.pid)
            os.kill(primary.pid, signal.SIGKILL)
            wait_until(lambda: whole(cache), "a new copy in sync")
        writing.stop()
        assert len(writing.last) > KEYS_COUNT // 2
        wait_until(lambda: orders.statistics().dirty_count == 0, "the queue is empty")
        found = rows(path)
        for key, value in writing.last.items():
            if key not in writing.unknown:
                assert found.get(key) == value, key
                assert orders.get(key) == value, key
        in_cache = orders.get_many([f"key-{number}" for number in range(KEYS_COUNT)])
        assert in_cache == found
        orders.set("last", 1)
        assert orders.statistics().dead_letters_count == 0
    assert rows(path)["last"] == 1, "a stop drains"
