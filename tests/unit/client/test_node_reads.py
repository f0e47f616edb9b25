"""Reads out of a real store: what each level may conclude, and what it must leave to a socket."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daycache_ray.client.router import Router
from daycache_ray.codecs.registry import encode
from daycache_ray.storage.directory import replica_directory
from daycache_ray.storage.store import Store
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.effects import Append, Apply, Commit, FinishCopy, PublishFence, ResetStore
from daycache_ray.words.records import Flag, LogRecord, RecordKind
from daycache_ray.words.types import Role, ShardId
from tests.unit.client.one_replica import Stage, cluster_map, member

SHARD = ShardId("orders", 0)
LEASE_NS = 3_600 * 10**9


class Owner:
    """The owner of a store on this node, seat 0, and a region that may read it."""

    def __init__(self, memory: Path) -> None:
        self.directory = replica_directory(str(memory), "shop", SHARD, 0)
        os.makedirs(self.directory)
        self.store = Store.open(self.directory, cluster="shop", shard=SHARD, seat=0, limit_bytes=8 << 20)
        self.lsn = 0
        self.stage = Stage(RegionConfig(name="orders"))
        self.publish()
        self.primary_is(0)

    def primary_is(self, seat: int) -> None:
        """Say in a newer map who is primary; seat 0 is this node's."""
        version = self.stage.session.router.cluster_map.version + 1
        members = (member(0, node_id="here", directory=self.directory), member(1))
        newer = cluster_map(self.stage.config, version=version, members=members, primary_seat=seat)
        self.stage.session.take_map(Router(newer, "here"))

    def publish(self, *, commit_lsn: int | None = None, **words: int) -> None:
        """Write the fence page: a leased primary whose log is committed, unless `words` say otherwise."""
        fence = {
            "epoch": 1,
            "role": Role.PRIMARY,
            "incarnation": 1,
            "lease_until_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME) + LEASE_NS,
            "commit_lsn": self.lsn if commit_lsn is None else commit_lsn,
            "applied_lsn": self.lsn,
            "horizon_ns": 0,
        }
        self.store.fence.publish(PublishFence(**(fence | words)))

    def put(self, key: str, value: Any, *, flags: int = 0, expires_at_ns: int = 0, publish: bool = True) -> None:
        """Make a value visible; it is committed where the fence page is published."""
        codec, payload = encode(value)
        stored = store_key(key.encode(), service_prefix(b"default"))
        if not stored.endswith(key.encode()):
            payload, flags = len(key).to_bytes(2, "little") + key.encode() + payload, flags | Flag.LONG_KEY
        self.apply(LogRecord(self.lsn + 1, 1, RecordKind.PUT, stored, payload, codec, flags, expires_at_ns), publish)

    def delete(self, key: str, *, publish: bool = True) -> None:
        """Remove an entry."""
        stored = store_key(key.encode(), service_prefix(b"default"))
        self.apply(LogRecord(self.lsn + 1, 1, RecordKind.DELETE, stored), publish)

    def apply(self, record: LogRecord, publish: bool) -> None:
        """Append and apply one record."""
        self.lsn = record.lsn
        self.store.begin()
        self.store.perform(Append((record,)))
        self.store.perform(Apply((record,), undoable=not publish))
        if publish:
            self.store.perform(Commit(record.lsn, 1, 0, record.lsn))
        self.store.commit()
        if publish:
            self.publish()

    def near(self, key: str, level: str = "eventual") -> Any:
        """Return what shared memory answers, "miss", or "far" where a replica must be asked."""
        reads = self.stage.core.reads
        self.stage.session.look_near(reads.place(key).part)
        value = reads.near_value(key, "miss", level)
        return "far" if repr(value) == "FAR" else value


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    found = Owner(tmp_path)
    yield found
    found.stage.session.close()
    found.store.close()


@pytest.mark.parametrize("level", ["strong", "eventual", "weak"])
def test_a_committed_record_under_a_lease_answers_every_level(owner: Owner, level: str) -> None:
    owner.put("a", {"bid": 150.25})
    assert owner.near("a", level) == {"bid": 150.25}
    assert owner.stage.region.get("a", level=level) == {"bid": 150.25}
    assert owner.stage.replica.requests == []


def test_misses(owner: Owner) -> None:
    assert owner.near("a", "eventual") == "miss"
    assert owner.near("a", "weak") == "miss"
    # An uncommitted delete leaves nothing that could be compared with the commit LSN.
    assert owner.near("a", "strong") == "far"


def test_strong_never_depends_on_an_uncommitted_record(owner: Owner) -> None:
    owner.put("a", 1)
    owner.put("a", 2, publish=False)
    assert owner.near("a", "strong") == "far"
    owner.publish(commit_lsn=owner.lsn - 1)
    assert owner.near("a", "strong") == "far"
    assert owner.near("a", "eventual") == 2
    owner.publish()
    assert owner.near("a", "strong") == 2


def test_strong_needs_the_lease_and_eventual_does_not(owner: Owner) -> None:
    owner.put("a", 1)
    assert owner.near("a", "strong") == 1
    owner.publish(lease_until_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    assert owner.near("a", "strong") == "far"
    assert owner.near("a", "eventual") == 1
    owner.publish(lease_until_ns=0)
    assert owner.near("a", "strong") == "far"


def test_a_lease_that_runs_out_without_a_word_of_its_owner(owner: Owner) -> None:
    owner.put("a", 1)
    lease_until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 20_000_000
    owner.publish(lease_until_ns=lease_until_ns)
    while time.clock_gettime_ns(time.CLOCK_BOOTTIME) < lease_until_ns:
        assert owner.near("a", "strong") in (1, "far")
    assert owner.near("a", "strong") == "far"


@pytest.mark.parametrize("role", [Role.NONE, Role.JOINING, Role.FENCED])
def test_a_store_that_is_nobodys_answers_nothing(owner: Owner, role: Role) -> None:
    owner.put("a", 1)
    assert owner.near("a") == 1
    owner.publish(role=role)
    for level in ("strong", "eventual", "weak"):
        assert owner.near("a", level) == "far"


def test_a_revoked_fence_ends_all_reads(owner: Owner) -> None:
    owner.put("a", 1)
    assert owner.near("a", "strong") == 1
    owner.store.fence.revoke()
    for level in ("strong", "eventual", "weak"):
        assert owner.near("a", level) == "far"


def test_an_owner_that_stopped_while_it_wrote_the_page(owner: Owner) -> None:
    owner.put("a", 1)
    assert owner.near("a") == 1
    words = owner.store.fence._words
    words[1] |= 1
    for level in ("strong", "eventual", "weak"):
        assert owner.near("a", level) == "far"


def test_a_secondary_answers_only_what_the_session_may_hear(owner: Owner) -> None:
    owner.put("a", 1)
    owner.primary_is(1)
    owner.publish(role=Role.SECONDARY, lease_until_ns=0)
    assert owner.near("a", "eventual") == 1
    assert owner.near("a", "strong") == "far"
    entry = owner.stage.region.get_entry("a")
    assert entry is not None
    assert (entry.served_by, entry.staleness_bound_s) == ("memory-secondary", None)
    token = owner.stage.session.part(SHARD).token
    assert (token.epoch, token.lsn) == (1, owner.lsn)
    token.observe(1, owner.lsn + 1)
    assert owner.near("a", "eventual") == "far"
    assert owner.near("a", "weak") == 1
    owner.publish(role=Role.SECONDARY, lease_until_ns=0, applied_lsn=owner.lsn + 1)
    assert owner.near("a", "eventual") == 1


def test_a_later_epoch_is_a_new_history_that_only_its_primary_vouches_for(owner: Owner) -> None:
    owner.put("a", 1)
    owner.near("a")
    owner.publish(role=Role.SECONDARY, epoch=2, applied_lsn=99)
    assert owner.near("a", "eventual") == "far"
    owner.publish(role=Role.PRIMARY, epoch=2)
    assert owner.near("a", "eventual") == 1
    owner.publish(role=Role.PRIMARY, epoch=1)
    assert owner.near("a", "eventual") == "far"


def test_expiry_follows_the_horizon_and_for_others_the_clock_too(owner: Owner) -> None:
    past_ns, future_ns = time.time_ns() - 10**9, time.time_ns() + 3_600 * 10**9
    owner.put("over", 1, expires_at_ns=past_ns)
    owner.put("young", 2, expires_at_ns=future_ns)
    assert owner.near("over", "strong") == 1
    assert owner.near("over", "eventual") == "miss"
    owner.publish(horizon_ns=past_ns)
    assert owner.near("over", "strong") == "miss"
    assert owner.near("young", "strong") == 2
    owner.publish(horizon_ns=future_ns)
    assert owner.near("young", "strong") == "miss"
    assert owner.near("young", "eventual") == "miss"


def test_a_deleted_entry(owner: Owner) -> None:
    owner.put("a", 1)
    assert owner.near("a") == 1
    owner.delete("a")
    assert owner.near("a") == "miss"


def test_a_remembered_miss_is_a_miss(owner: Owner) -> None:
    owner.put("a", None, flags=Flag.NEGATIVE)
    assert owner.near("a") == "miss"
    assert owner.stage.region.exists("a") is False
    assert owner.stage.region.get_entry("a") is None


def test_a_prefetched_entry_is_an_entry(owner: Owner) -> None:
    owner.put("a", 1, flags=Flag.PREFETCHED)
    assert owner.near("a") == 1


def test_a_large_array_lies_on_the_store_and_outlives_its_key(owner: Owner) -> None:
    array = np.arange(200_000, dtype=np.float64)
    owner.put("a", array)
    found = owner.near("a")
    assert np.array_equal(found, array)
    assert not found.flags.writeable
    with owner.stage.region.view("a") as view:
        assert np.array_equal(view, array)
    owner.delete("a")
    assert np.array_equal(found, array)
    assert owner.near("a") == "miss"


def test_views_of_bytes_are_not_copied(owner: Owner) -> None:
    owner.put("a", b"x" * 100_000)
    with owner.stage.region.view("a") as view:
        assert isinstance(view, memoryview)
        assert view.readonly
        assert view == b"x" * 100_000
    owner.put("small", b"y")
    with owner.stage.region.view("small") as view:
        assert bytes(view) == b"y"
    with owner.stage.region.view("nothing") as view:
        assert view is None


@pytest.mark.parametrize("value", ["small", "x" * 100_000])
def test_long_keys_are_compared_in_full(owner: Owner, value: str) -> None:
    key = "k" * 600
    owner.put(key, value)
    assert owner.near(key) == value
    assert owner.near("j" * 600) == "miss"


def test_another_generation_is_opened(owner: Owner) -> None:
    owner.put("a", 1)
    assert owner.near("a") == 1
    owner.store.begin()
    owner.store.perform(ResetStore())
    owner.store.perform(FinishCopy(10, 1, 0))
    owner.store.commit()
    owner.lsn = 10
    owner.publish()
    assert owner.near("a") in ("miss", "far")
    assert owner.near("a") == "miss"
    owner.put("b", 2)
    assert owner.near("b", "strong") == 2


def test_entries_say_that_memory_served_them(owner: Owner) -> None:
    owner.put("a", 1, expires_at_ns=time.time_ns() + 3_600 * 10**9)
    entry = owner.stage.region.get_entry("a")
    assert entry is not None
    assert (entry.served_by, entry.staleness_bound_s) == ("memory", 0.0)
    assert owner.stage.region.ttl("a") == pytest.approx(3_600, abs=5)
    owner.publish(lease_until_ns=0)
    entry = owner.stage.region.get_entry("a")
    assert entry is not None
    assert entry.staleness_bound_s is None


def test_one_buffered_weak_write_is_seen_by_weak_reads_only(owner: Owner) -> None:
    owner.put("a", 1)
    owner.stage.region.set("a", 2, level="weak")
    assert owner.stage.region.get("a", level="weak") == 2
    assert owner.stage.region.get("a", level="eventual") == 1
    assert owner.stage.region.get_many(["a"], level="weak") == {"a": 2}


def test_readers_set_the_visited_byte(owner: Owner) -> None:
    owner.put("a", 1)
    owner.near("a")
    reads = owner.stage.core.reads
    near = reads.place("a").part.near.near
    assert near is not None
    near.visited[reads.place("a").bucket & near.mask] = 0
    owner.near("a")
    assert near.visited[reads.place("a").bucket & near.mask] == 1


def test_a_store_that_is_not_there_yet_is_looked_for_again(tmp_path: Path) -> None:
    stage = Stage(RegionConfig(name="orders"))
    members = (member(0, node_id="here", directory=str(tmp_path / "nothing")),)
    stage.session.take_map(Router(cluster_map(stage.config, version=2, members=members), "here"))
    stage.region.set("a", 1)
    assert stage.region.get("a") == 1
    assert stage.core.reads.socket_reads_count == 1


def test_after_close_memory_answers_nothing(owner: Owner) -> None:
    owner.put("a", 1)
    assert owner.near("a") == 1
    owner.stage.session.close()
    assert repr(owner.stage.core.reads.near_value("a", None, None)) == "FAR"


def test_counts_and_access_records(owner: Owner) -> None:
    owner.put("a", 1)
    owner.near("a")
    owner.near("b")
    reads = owner.stage.core.reads
    assert (reads.hits_count, reads.misses_count, reads.memory_reads_count) == (1, 1, 2)
    assert list(reads.accesses) == [reads.place("a").stored, (reads.place("b").stored,)]
