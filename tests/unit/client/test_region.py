"""What a region says to replicas, and what it makes of their answers and of their silence."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from daycache_ray.client.region_writes import MESSAGE_OPERATIONS_MAX
from daycache_ray.client.router import Router
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import (
    CacheClosedError,
    NotANumberError,
    NotEnoughReplicasError,
    NotPrimaryError,
    RegionFullError,
    ShardUnavailableError,
    UnknownOutcomeError,
    VersionConflictError,
)
from daycache_ray.words.operations import Read, Write
from daycache_ray.words.types import CacheConsistencyLevel, Version
from tests.unit.client.one_replica import Stage, cluster_map


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_region_says_what_it_is(stage: Stage) -> None:
    stage.region.get("nothing")
    assert repr(stage.region) == "<Region 'orders' eventual, 1 shard, 2 copies, 0 hits and 1 misses here>"


@pytest.mark.parametrize("value", [None, 0, "", b"", False, 1.5, [1, {"a": (2,)}], {"bid": 150.25}])
def test_values_come_back_as_they_were(stage: Stage, value: Any) -> None:
    version = stage.region.set("a", value)
    assert version == Version(1, 1)
    found = stage.region.get("a", default="nothing")
    assert found == value
    assert type(found) is type(value)


def test_a_miss_is_a_default(stage: Stage) -> None:
    assert stage.region.get("a") is None
    assert stage.region.get("a", default=7) == 7
    assert stage.region.get_entry("a") is None
    assert stage.region.get_many(["a", "b"]) == {}
    assert stage.region.exists("a") is False
    assert stage.region.ttl("a") is None
    assert stage.region.delete("a") is False
    assert stage.region.touch("a", 5) is False


def test_conditional_writes(stage: Stage) -> None:
    region = stage.region
    assert region.add("a", 1) is True
    assert region.add("a", 2) is False
    version = region.compare_and_set("a", 3, expected=Version(1, 1))
    assert region.get("a") == 3
    with pytest.raises(VersionConflictError) as conflict:
        region.compare_and_set("a", 4, expected=Version(1, 1))
    assert conflict.value.current == version
    assert region.compare_and_set("b", 1, expected=None) > version
    with pytest.raises(VersionConflictError) as absent:
        region.compare_and_set("c", 1, expected=version)
    assert absent.value.current is None


def test_increments(stage: Stage) -> None:
    region = stage.region
    assert region.increment("n") == 1
    assert region.increment("n", 41) == 42
    assert region.increment("n", 0.5) == 42.5
    region.set("text", "x")
    with pytest.raises(NotANumberError):
        region.increment("text")


def test_times_to_live(stage: Stage) -> None:
    stage.region.set("a", 1, ttl_s=5)
    entry = stage.region.get_entry("a", level="strong")
    assert entry is not None
    assert entry.expires_at_s == pytest.approx(stage.replica.wall_ns / 1e9 + 5)
    stage.replica.wall_ns += 6_000_000_000
    assert stage.region.get("a", level="strong") is None


def test_the_region_ttl_applies_unless_a_call_says_otherwise() -> None:
    stage = Stage(RegionConfig(name="orders", ttl_s=10.0, ttl_jitter_ratio=0.5))
    for number in range(20):
        stage.region.set(f"k{number}", 1)
    stage.region.set("mine", 1, ttl_s=3.0, level="strong")
    stage.region.set("forever", 1, ttl_s=None)
    ttls = [request.operations[0].ttl_ns / 1e9 for _, request in stage.replica.requests if isinstance(request, Write)]
    assert all(5.0 <= ttl <= 10.0 for ttl in ttls[:20])
    assert len(set(ttls[:20])) == 20
    assert 1.5 <= ttls[20] <= 3.0
    assert ttls[21] == 0


def test_a_clock_at_the_client_hides_expired_entries_but_not_for_strong_reads(stage: Stage) -> None:
    # The replica's clock here is years behind: it still shows what the client's clock says is over.
    stage.replica.wall_ns -= 100_000_000_000_000_000
    stage.region.set("a", 1, ttl_s=5)
    assert stage.region.get("a", level="eventual") is None
    assert stage.region.get("a", level="strong") == 1


def test_an_entry_says_where_it_comes_from(stage: Stage) -> None:
    stage.region.set("a", 1)
    entry = stage.region.get_entry("a", level="strong")
    assert entry is not None
    assert (entry.value, entry.version, entry.expires_at_s) == (1, Version(1, 1), None)
    assert (entry.served_by, entry.staleness_bound_s, entry.level) == ("primary", 0.0, CacheConsistencyLevel.STRONG)
    eventual = stage.region.get_entry("a")
    assert eventual is not None
    assert eventual.staleness_bound_s is None


def test_long_keys_are_compared_in_full(stage: Stage) -> None:
    key = "k" * 600
    stage.region.set(key, {"a": 1})
    assert stage.region.get(key) == {"a": 1}
    (record,) = stage.replica.records.values()
    assert key.encode() in record
    stored = next(iter(stage.replica.records))
    other = record.replace(b"k" * 600, b"j" * 600)
    stage.replica.records[stored] = other
    assert stage.region.get(key) is None


def test_an_own_weak_write_under_a_long_key_is_read_without_its_key() -> None:
    stage = Stage(RegionConfig(name="orders", level="weak"))
    key = "k" * 600
    stage.region.set(key, b"value")
    assert stage.region.get(key) == b"value"
    assert stage.region.get_many([key]) == {key: b"value"}
    assert stage.replica.requests == []


def test_batches_touch_each_shard_once() -> None:
    stage = Stage(RegionConfig(name="orders", shards=4))
    values = {f"k{number}": number for number in range(200)}
    versions = stage.region.set_many(values)
    assert versions.keys() == values.keys()
    assert len(stage.replica.requests) == 4
    assert stage.region.get_many([*values, "nothing"]) == values
    assert len([1 for _, request in stage.replica.requests if isinstance(request, Read)]) == 4


def test_large_batches_are_cut(stage: Stage) -> None:
    count = MESSAGE_OPERATIONS_MAX * 2 + 1
    assert len(stage.region.set_many({f"k{number}": number for number in range(count)})) == count
    sizes = [len(request.operations) for _, request in stage.replica.requests if isinstance(request, Write)]
    assert sizes == [MESSAGE_OPERATIONS_MAX, MESSAGE_OPERATIONS_MAX, 1]


def test_batches_of_large_values_are_cut_so_that_a_shard_can_make_room() -> None:
    stage = Stage(RegionConfig(name="orders", memory_bytes=8 * 1024 * 1024))
    stage.region.set_many({f"k{number}": bytes(600_000) for number in range(4)})
    assert len(stage.replica.requests) == 4


def test_scans_and_clear() -> None:
    stage = Stage(RegionConfig(name="orders", shards=3), service="a")
    other = stage.other("b")
    other.set("k1", "other")
    keys = {f"k{number}" for number in range(2_500)}
    stage.region.set_many(dict.fromkeys(keys, 1))
    stage.region.set(b"\xff", 1)
    assert set(stage.region.scan()) == keys | {b"\xff"}
    assert sorted(stage.region.scan("k100")) == sorted(key for key in keys if key.startswith("k100"))
    assert stage.region.clear() == 2_501
    assert list(stage.region.scan()) == []
    assert other.get("k1") == "other"


def test_services_do_not_meet_unless_the_region_is_shared() -> None:
    stage = Stage(service="a")
    other = stage.other("b")
    stage.region.set("k", 1)
    assert other.get("k") is None
    shared = Stage(RegionConfig(name="orders", shared_between_services=True), service="a")
    shared.region.set("k", 1)
    assert shared.other("b").get("k") == 1


def test_a_refusal_is_repeated_until_there_is_a_primary(stage: Stage) -> None:
    stage.replica.script = [NotPrimaryError("no"), ShardUnavailableError("no"), NotPrimaryError("no"), None]
    stage.region.set("a", 1)
    assert len(stage.driver.pauses) == 3
    assert stage.region.get("a") == 1


def test_the_next_attempt_goes_where_the_newest_map_says(stage: Stage) -> None:
    stage.replica.script = [NotPrimaryError("no"), None]

    def new_map() -> None:
        stage.session.take_map(Router(cluster_map(stage.config, version=2, primary_seat=1), "here"))

    stage.driver.on_pause = new_map
    stage.region.set("a", 1)
    assert [seat for seat, _ in stage.replica.requests] == [0, 1]


def test_an_eventual_read_finds_another_copy(stage: Stage) -> None:
    stage.region.set("a", 1)
    stage.replica.script = [ShardUnavailableError("dead"), None]
    assert stage.region.get("a") == 1
    assert [seat for seat, _ in stage.replica.requests][-2:] == [0, 1]
    stage.replica.script = [ShardUnavailableError("dead"), None]
    assert stage.region.get("a", level="strong") == 1
    assert [seat for seat, _ in stage.replica.requests][-2:] == [0, 0]


def test_an_entry_of_another_copy_says_so(stage: Stage) -> None:
    stage.region.set("a", 1)
    stage.replica.script = [ShardUnavailableError("dead"), None]
    entry = stage.region.get_entry("a", level="eventual")
    assert entry is not None
    assert (entry.served_by, entry.staleness_bound_s) == ("secondary", None)


def test_a_repeated_write_keeps_its_number_and_is_applied_once(stage: Stage) -> None:
    stage.region.increment("n")
    replica, answer = stage.replica, stage.replica.answer
    lost: list[int] = []

    def lose_the_first_answer(seat: int, request: Any) -> Any:
        result = answer(seat, request)
        if not lost:
            lost.append(1)
            raise UnknownOutcomeError("the connection broke")
        return result

    replica.answer = lose_the_first_answer  # type: ignore[method-assign]
    assert stage.region.increment("n") == 2
    assert stage.region.get("n") == 2
    sequences = [request.first_sequence for _, request in replica.requests if isinstance(request, Write)]
    assert sequences == [1, 2, 2]


def test_a_write_nobody_answers_has_an_unknown_outcome(stage: Stage) -> None:
    stage.replica.script = [UnknownOutcomeError("broke")] * 1_000
    with pytest.raises(UnknownOutcomeError, match="may have happened"):
        stage.region.set("a", 1, deadline_s=2)
    assert 1.5 < stage.driver.now_s <= 2.0


def test_refusals_that_outlive_the_deadline(stage: Stage) -> None:
    stage.replica.script = [NotEnoughReplicasError("1 of 2")] * 1_000
    with pytest.raises(NotEnoughReplicasError):
        stage.region.set("a", 1, level="strong", deadline_s=0.5)
    stage.replica.script = [RegionFullError("full")]
    with pytest.raises(RegionFullError):
        stage.region.set("a", 1)


def test_a_shard_without_primary_is_unavailable(stage: Stage) -> None:
    stage.session.take_map(Router(cluster_map(stage.config, version=2, primary_seat=-1, members=()), "here"))
    with pytest.raises(ShardUnavailableError):
        stage.region.set("a", 1, deadline_s=0.1)
    with pytest.raises(ShardUnavailableError):
        stage.region.get("a", deadline_s=0.1)
    with pytest.raises(ShardUnavailableError):
        stage.region.shard_for("a")


def test_reads_carry_what_the_session_has_seen(stage: Stage) -> None:
    stage.region.set("a", 1)
    stage.region.get("a")
    read = stage.replica.requests[-1][1]
    assert isinstance(read, Read)
    assert (read.session_epoch, read.session_lsn) == (1, 1)


def test_after_close_every_call_says_so(stage: Stage) -> None:
    stage.session.close()
    region = stage.region
    for call in (
        lambda: region.get("a"),
        lambda: region.set("a", 1),
        lambda: region.set("a", 1, level="weak"),
        lambda: region.set_many({"a": 1}, level="weak"),
        lambda: region.get_many(["a"]),
        lambda: region.get_entry("a"),
        lambda: region.delete("a"),
        lambda: region.get_or_load("a", lambda key: 1),
        lambda: list(region.scan()),
        lambda: region.clear(),
        lambda: region.flush(),
        lambda: region.shard_for("a"),
        lambda: region.statistics(),
    ):
        with pytest.raises(CacheClosedError, match="connect"):
            call()
    assert stage.replica.requests == []


def test_counts_of_this_client(stage: Stage) -> None:
    stage.region.set("a", 1)
    stage.region.get("a")
    stage.region.get("b")
    stage.region.get_many(["a", "b", "c"])
    reads = stage.core.reads
    assert (reads.hits_count, reads.misses_count, reads.socket_reads_count, reads.memory_reads_count) == (2, 3, 5, 0)
    assert [type(access) for access in reads.accesses] == [bytes, tuple, bytes, tuple, tuple]


def test_a_region_does_not_travel(stage: Stage) -> None:
    with pytest.raises(TypeError, match="connect"):
        pickle.dumps(stage.region)
