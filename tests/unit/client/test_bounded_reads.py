"""How old an answer is at most, and what a call does that allows less."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daycache_ray.codecs.registry import encode
from daycache_ray.words.errors import StaleError
from daycache_ray.words.records import HEADER
from daycache_ray.words.types import Role
from tests.unit.client.test_node_reads import Owner


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    found = Owner(tmp_path)
    yield found
    found.stage.session.close()
    found.store.close()


def bound_s(owner: Owner) -> float | None:
    """Return the greatest age of what an EVENTUAL read answers."""
    entry = owner.stage.region.get_entry("a", level="eventual")
    assert entry is not None
    return entry.staleness_bound_s


def boot_ns() -> int:
    """Return this node's clock that never steps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_a_primary_s_store_is_as_new_as_its_lease(owner: Owner) -> None:
    owner.put("a", 1)
    assert bound_s(owner) == 0.0
    owner.publish(lease_until_ns=boot_ns() - 2 * 10**9)
    found = bound_s(owner)
    assert found is not None
    assert 2.0 <= found < 60.0
    owner.publish(lease_until_ns=0)
    assert bound_s(owner) is None


def test_a_secondary_s_store_is_as_new_as_it_was_told(owner: Owner) -> None:
    owner.put("a", 1)
    owner.primary_is(1)
    owner.publish(role=Role.SECONDARY, lease_until_ns=0, fresh_ns=boot_ns() - 3 * 10**9)
    found = bound_s(owner)
    assert found is not None
    assert 3.0 <= found < 60.0
    owner.store.fence.set_namespaces(1, 1)
    assert bound_s(owner) is None


@pytest.mark.parametrize("key", ["a", "nowhere"])
def test_an_answer_that_is_too_old(owner: Owner, key: str) -> None:
    owner.put("a", 1)
    owner.primary_is(1)
    owner.publish(role=Role.SECONDARY, lease_until_ns=0, fresh_ns=boot_ns() - 3 * 10**9)
    region, replica = owner.stage.region, owner.stage.replica
    near = 1 if key == "a" else None
    for options in ({}, {"max_staleness_s": 3_600}, {"max_staleness_s": 0.5, "on_stale": "serve"}):
        assert region.get(key, level="eventual", **options) == near
    assert replica.requests == []
    for call in (region.get, region.get_entry):
        with pytest.raises(StaleError, match="3"):
            call(key, level="eventual", max_staleness_s=0.5)
    with pytest.raises(StaleError, match="2 keys"):
        region.get_many([key, "other"], level="eventual", max_staleness_s=0.5)
    assert replica.requests == []
    # The primary has another value, and says how old it is.
    place = owner.stage.core.reads.place(key)
    codec, payload = encode("newer")
    replica.records[0, place.stored] = HEADER.pack(1, owner.lsn + 9, 0, 0, 0, codec, 0, 0) + payload
    replica.lsn = owner.lsn + 9
    replica.age_ns = 100_000_000
    assert region.get(key, level="eventual", max_staleness_s=0.5, on_stale="refresh") == "newer"
    assert {seat for seat, _ in replica.requests} == {1}
    found = region.get_many([key, "other"], level="eventual", max_staleness_s=0.5, on_stale="refresh")
    assert found == {key: "newer"}
    replica.age_ns = -1
    with pytest.raises(StaleError, match="not known"):
        region.get("b", level="eventual", max_staleness_s=0.5, on_stale="refresh")


def test_the_nearest_copy_that_can_prove_it_answers(owner: Owner) -> None:
    owner.put("a", 1)
    owner.primary_is(1)
    owner.publish(role=Role.SECONDARY, lease_until_ns=0, fresh_ns=boot_ns())
    entry = owner.stage.region.get_entry("a", level="eventual", max_staleness_s=60)
    assert entry is not None
    assert entry.served_by == "memory-secondary"
    assert 0.0 <= (entry.staleness_bound_s or 0.0) <= 60
    assert owner.stage.replica.requests == []
