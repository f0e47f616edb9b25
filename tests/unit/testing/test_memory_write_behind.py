"""Write-behind on a cache in memory, whose machines are the replicas' own."""

from __future__ import annotations

import pytest

from daycache_ray import MISSING, BackpressureError, ClusterConfig, PermanentWriteError, RegionConfig
from daycache_ray.testing.memory_cache import memory_cache
from tests.unit.testing.origin_table import Table, a_cache


@pytest.mark.parametrize("level", ["strong", "eventual"])
def test_a_write_behind_reaches_the_origin_after_its_delay_coalesced(level: str) -> None:
    table = Table()
    cache = a_cache(table, level=level, write_behind_s=1.0)
    orders = cache.region("orders")
    for value in range(5):
        orders.set("a", value)
    orders.set("b", 1)
    orders.increment("b", 2)
    assert orders.get("a") == 4
    assert table.rows == {}
    statistics = orders.statistics()
    assert (statistics.dirty_count, statistics.dead_letters_count) == (2, 0)
    cache.advance(0.9)
    assert table.rows == {}
    assert orders.statistics().dirty_age_s == pytest.approx(0.9, abs=0.02)
    cache.advance(0.15)
    assert table.calls == [{"a": 4, "b": 3}]
    statistics = orders.statistics()
    assert (statistics.dirty_count, statistics.dirty_bytes, statistics.dirty_age_s) == (0, 0, 0.0)
    cache.advance(100)
    assert len(table.calls) == 1


def test_a_delete_behind_hides_the_origins_value_until_it_is_gone_there() -> None:
    table = Table()
    table.rows["a"] = "old"
    cache = a_cache(table, write_behind_s=5.0)
    orders = cache.region("orders")
    assert orders.get_or_load("a") == "old"
    assert orders.delete("a")
    assert not orders.delete("a")
    assert orders.get_or_load("a", default="gone") == "gone"
    assert list(orders.scan()) == []
    assert table.rows == {"a": "old"}
    cache.advance(6)
    assert table.rows == {}
    assert orders.statistics().entries_count == 0
    assert not orders.delete("never there")
    cache.advance(6)
    assert table.calls == [{"a": MISSING}, {"never there": MISSING}]


def test_what_was_loaded_is_not_written_back() -> None:
    table = Table()
    table.rows["a"] = 1
    cache = a_cache(table, write_behind_s=0.1)
    assert cache.region("orders").get_or_load("a") == 1
    cache.advance(10)
    assert table.calls == []


def test_a_dirty_entry_is_written_though_it_expired() -> None:
    table = Table()
    cache = a_cache(table, write_behind_s=10.0)
    orders = cache.region("orders")
    orders.set("a", 1, ttl_s=1)
    cache.advance(5)
    assert orders.get("a") is None
    assert orders.statistics().dirty_count == 1
    cache.advance(6)
    assert table.rows == {"a": 1}
    cache.advance(1)
    assert orders.statistics().entries_count == 0


def test_a_load_never_replaces_what_the_origin_has_not_got() -> None:
    table = Table()
    table.rows["a"] = "old"
    cache = a_cache(table, write_behind_s=10.0)
    orders = cache.region("orders")
    orders.set("a", "new", ttl_s=1)
    cache.advance(2)
    orders.get_or_load("a")
    cache.advance(10)
    assert table.rows == {"a": "new"}


def test_clear_leaves_what_waits() -> None:
    table = Table()
    cache = a_cache(table, write_behind_s=1.0)
    orders = cache.region("orders")
    orders.set("a", 1)
    assert orders.clear() == 0
    cache.advance(2)
    assert table.rows == {"a": 1}
    assert orders.clear() == 1


def test_a_writer_that_is_down_for_a_while_gets_everything_afterwards() -> None:
    table = Table()
    table.error = ConnectionError("down")
    cache = a_cache(table, write_behind_s=0.1)
    orders = cache.region("orders")
    for number in range(20):
        orders.set(f"key {number}", number)
    cache.advance(60)
    assert orders.statistics().shards[0].write_failures_count > 5
    assert orders.statistics().dead_letters_count == 0
    table.error = None
    cache.advance(20)
    assert table.rows == {f"key {number}": number for number in range(20)}
    assert orders.statistics().dirty_count == 0


def test_a_poisoned_item_becomes_a_dead_letter_and_can_be_retried_or_dropped() -> None:
    table = Table()
    table.poisoned = {"bad", "worse"}
    cache = a_cache(table, write_behind_s=0.05)
    orders = cache.region("orders")
    for number in range(30):
        orders.set(f"key {number}", number)
        if number == 11:
            orders.set("bad", 1)
            orders.delete("worse")
    for number in range(100):
        orders.set("beat", number)
        cache.advance(1)
    letters = {letter.key: letter for letter in orders.dead_letters()}
    assert set(letters) == {"bad", "worse"}
    assert (letters["bad"].value, letters["worse"].value) == (1, MISSING)
    assert "poisoned" in letters["bad"].error
    assert letters["bad"].version == orders.get_entry("bad").version  # type: ignore[union-attr]
    assert len(table.rows) == 31
    assert orders.statistics().dead_letters_count == orders.statistics().dirty_count == 2
    assert orders.drop_dead_letters(["worse"]) == 1
    table.poisoned = set()
    assert orders.retry_dead_letters() == 1
    cache.advance(1)
    assert table.rows["bad"] == 1
    assert orders.dead_letters() == []
    assert orders.statistics().dirty_count == 0
    assert orders.get("bad") == 1


def test_a_permanent_error_makes_a_dead_letter_at_once() -> None:
    table = Table()
    table.error = PermanentWriteError("no such column")
    cache = a_cache(table, write_behind_s=0.0)
    orders = cache.region("orders")
    orders.set("a", 1)
    assert [letter.key for letter in orders.dead_letters()] == ["a"]
    assert len(table.calls) == 1
    table.error = None
    orders.set("a", 2)
    assert table.rows == {"a": 2}
    assert orders.dead_letters() == []


def test_the_queue_survives_a_failover_and_is_written_by_the_new_primary() -> None:
    table = Table()
    table.error = ConnectionError("down")
    cache = a_cache(table, copies=2, replicas=2, level="strong", write_behind_s=0.1)
    orders = cache.region("orders")
    orders.set("a", 1)
    orders.set("b", 2)
    orders.delete("b")
    cache.primary_down("orders")
    table.error = None
    cache.advance(30)
    assert table.rows == {"a": 1}
    cache.primary_up("orders")
    cache.advance(5)
    orders.set("a", 3)
    cache.advance(1)
    assert table.rows == {"a": 3}
    cache.primary_down("orders")
    cache.advance(30)
    assert orders.statistics().dirty_count == 0, "what is clean is clean on every copy"


def test_a_region_full_of_dirty_entries_says_so_and_takes_more_when_they_are_written() -> None:
    table = Table()
    table.error = ConnectionError("down")
    cache = a_cache(table, write_behind_s=0.1, memory_bytes=1024 * 1024)
    orders = cache.region("orders")
    with pytest.raises(Exception) as caught:
        for number in range(100):
            orders.set(f"key {number}", b"x" * 50_000, deadline_s=0.1)
    assert "origin has not got" in str(caught.value) or isinstance(caught.value, BackpressureError)
    table.error = None
    cache.advance(20)
    assert all(key in table.rows for key in ("key 0", "key 5"))
    orders.set("more", b"x" * 50_000)
    cache.advance(1)
    assert "more" in table.rows


def test_a_drain_writes_at_once_and_says_what_is_left() -> None:
    table = Table()
    cache = a_cache(table, write_behind_s=3600.0)
    cache.region("orders").set("a", 1)
    assert cache.cluster.drain() == 0
    assert table.rows == {"a": 1}
    table.error = PermanentWriteError("no")
    cache.region("orders").set("b", 1)
    assert cache.cluster.drain() == 1


def test_long_keys_go_to_the_origin_as_they_are() -> None:
    table = Table()
    cache = a_cache(table, write_behind_s=0.0)
    orders = cache.region("orders")
    key = "k" * 2_000
    orders.set(key, 1)
    orders.increment(key)
    assert table.rows == {key: 2}
    assert orders.delete(key)
    assert table.rows == {}


def test_configurations_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="needs a writer"):
        RegionConfig(name="orders", write_behind_s=1.0)
    with pytest.raises(ValueError, match="cannot write"):
        RegionConfig(name="orders", writer=7)
    with pytest.raises(ValueError, match=r"package\.module:name"):
        RegionConfig(name="orders", writer="nothing")
    region = RegionConfig(name="orders")
    orders = memory_cache(ClusterConfig(name="memory", regions=(region,))).region("orders")
    with pytest.raises(Exception, match="writes nothing behind"):
        orders.dead_letters(deadline_s=0.1)


def test_tags_do_not_go_to_the_origin() -> None:
    table = Table()
    orders = a_cache(table, write_behind_s=0.0).region("orders")
    orders.set("a", [1, 2], tags=("eu",))
    orders.set("k" * 600, 3, tags=("eu",))
    assert table.rows == {"a": [1, 2], "k" * 600: 3}
    assert orders.dead_letters() == []
