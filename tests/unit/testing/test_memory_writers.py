"""Write-through on a cache in memory, whose machines are the replicas' own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from daycache_ray import ClusterConfig, NotANumberError, RegionConfig, VersionConflictError, WriteError
from daycache_ray.testing.memory_cache import amemory_cache, memory_cache
from tests.unit.testing.origin_table import Table, a_cache


@pytest.mark.parametrize("level", ["strong", "eventual", "weak"])
def test_a_write_through_is_in_the_origin_when_it_returns(level: str) -> None:
    table = Table()
    orders = a_cache(table, level=level).region("orders")
    orders.set("a", 1)
    assert table.rows == {"a": 1}
    orders.set_many({"b": 2, "c": 3})
    assert table.rows == {"a": 1, "b": 2, "c": 3}
    assert len(table.calls) == 2
    assert orders.get_many(["a", "b", "c"]) == table.rows
    assert orders.delete("a")
    assert not orders.delete("a")
    assert "a" not in table.rows
    assert orders.get("a") is None


def test_conditions_of_a_write_through_look_at_the_cache_and_write_the_origin() -> None:
    table = Table()
    orders = a_cache(table).region("orders")
    assert orders.add("a", 1)
    assert not orders.add("a", 2)
    assert orders.increment("a", 4) == 5
    version = orders.get_entry("a").version  # type: ignore[union-attr]
    orders.compare_and_set("a", 6, version)
    with pytest.raises(VersionConflictError) as caught:
        orders.compare_and_set("a", 7, version)
    assert caught.value.current is not None
    orders.set("text", "x")
    with pytest.raises(NotANumberError):
        orders.increment("text")
    assert table.rows == {"a": 6, "text": "x"}
    assert orders.get("a") == 6
    orders.set("a", 8)  # no right was left behind
    assert table.rows["a"] == 8


def test_an_increment_keeps_the_time_to_live() -> None:
    cache = a_cache(Table())
    orders = cache.region("orders")
    orders.set("a", 1, ttl_s=10)
    cache.advance(4)
    orders.increment("a")
    assert orders.ttl("a") == pytest.approx(6, abs=0.1)


def test_an_origin_that_refuses_changes_nothing_in_the_cache() -> None:
    table = Table()
    orders = a_cache(table).region("orders")
    orders.set("a", 1)
    table.error = ValueError("read-only")
    for call in (
        lambda: orders.set("a", 2),
        lambda: orders.set_many({"a": 2, "b": 2}),
        lambda: orders.delete("a"),
        lambda: orders.increment("a"),
        lambda: orders.add("b", 1),
    ):
        with pytest.raises(WriteError, match="read-only") as caught:
            call()
        assert isinstance(caught.value.__cause__, ValueError)
    assert orders.get("a") == 1
    assert orders.get("b") is None
    table.error = None
    orders.set("a", 3)
    assert (table.rows, orders.get("a")) == ({"a": 3}, 3)


def test_a_batch_of_single_writes_that_breaks_off_leaves_no_entry_that_could_be_wrong() -> None:
    rows: dict[str, Any] = {}

    def write(key: str, value: Any) -> None:
        if len(rows) == 3:
            raise OSError("gone")
        rows[key] = value

    region = RegionConfig(name="orders", writer=write)
    orders = memory_cache(ClusterConfig(name="memory", regions=(region,))).region("orders")
    orders.set("a", 1)
    with pytest.raises(WriteError):
        orders.set_many(dict.fromkeys("abcd", 2))
    for key in "abcd":
        assert orders.get(key) in (None, rows.get(key))


def test_two_writers_of_a_key_leave_cache_and_origin_equal() -> None:
    first_is_in, may_go = threading.Event(), threading.Event()
    rows: dict[str, Any] = {}
    order: list[Any] = []

    def write(key: str, value: Any) -> None:
        if value == "first":
            first_is_in.set()
            assert may_go.wait(10)
        order.append(value)
        rows[key] = value

    region = RegionConfig(name="orders", writer=write)
    orders = memory_cache(ClusterConfig(name="memory", regions=(region,))).region("orders")
    one = threading.Thread(target=orders.set, args=("a", "first"))
    one.start()
    assert first_is_in.wait(10)
    two = threading.Thread(target=orders.set, args=("a", "second"))
    two.start()
    may_go.set()
    one.join(10)
    two.join(10)
    assert order == ["first", "second"]
    assert rows["a"] == orders.get("a") == "second"


def test_a_load_that_began_before_a_write_does_not_bring_back_the_old_value() -> None:
    table = Table()
    table.rows["a"] = "old"
    cache = a_cache(table)
    orders = cache.region("orders")

    def slow_load(key: str) -> Any:
        found = table.rows[key]
        orders.set("a", "new")
        return found

    assert orders.get_or_load("a", slow_load) in ("old", "new")
    assert orders.get("a") == table.rows["a"] == "new"


def test_a_write_whose_primary_fails_over_in_the_middle_is_done_again() -> None:
    table = Table()
    cache = a_cache(table, level="strong", copies=2, replicas=2, min_in_sync=1)
    orders = cache.region("orders")
    orders.set("a", 1)
    failed = []

    def failing_over(key: str, value: Any) -> None:
        table.write_many({key: value})
        if not failed:
            failed.append(key)
            cache.primary_down("orders")

    region = cache.cluster.config.region("orders")
    writes = orders._writes
    writes._config = region.model_copy(update={"writer": failing_over})  # type: ignore[attr-defined]
    writes._writer = None  # type: ignore[attr-defined]
    orders.set("a", 2)
    assert len(table.calls) == 3
    assert (table.rows["a"], orders.get("a")) == (2, 2)


def test_clear_is_about_the_cache_alone() -> None:
    table = Table()
    orders = a_cache(table).region("orders")
    orders.set("a", 1)
    assert orders.clear() == 1
    assert table.rows == {"a": 1}
    assert orders.get("a") is None
    assert orders.get_or_load("a") == 1


def test_write_through_from_asyncio_runs_an_async_writer_on_the_callers_loop() -> None:
    rows: dict[str, Any] = {}
    loops = []

    async def write(key: str, value: Any) -> None:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        rows[key] = value

    async def play() -> None:
        region = RegionConfig(name="orders", writer=write)
        orders = amemory_cache(ClusterConfig(name="memory", regions=(region,))).region("orders")
        await orders.set("a", 1)
        assert (rows, await orders.get("a")) == ({"a": 1}, 1)
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(play())
