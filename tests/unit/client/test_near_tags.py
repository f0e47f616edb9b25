"""Entries with tags out of shared memory: record and rows as of one moment, under the levels' rules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daycache_ray.codecs.registry import encode
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.structures.tags import TAG_ROW, TAGGED, TagRow, pack_tags, row_key
from daycache_ray.words.records import LogRecord, RecordKind
from tests.unit.client.test_node_reads import Owner

PREFIX = service_prefix(b"default")
LEVELS = ["strong", "eventual", "weak"]


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    found = Owner(tmp_path)
    yield found
    found.stage.session.close()
    found.store.close()


def put(owner: Owner, key: str, *tags: bytes, expires_at_ns: int = 0) -> None:
    """Make a value with tags visible and committed."""
    codec, payload = encode("value")
    stored = store_key(key.encode(), PREFIX)
    value = pack_tags(tags) + payload
    owner.apply(LogRecord(owner.lsn + 1, 1, RecordKind.PUT, stored, value, codec, TAGGED, expires_at_ns), True)


def invalidate(owner: Owner, tag: bytes, *, publish: bool = True) -> None:
    """Make an invalidation visible; it is committed where the fence page is published."""
    lsn = owner.lsn + 1
    owner.apply(LogRecord(lsn, 1, RecordKind.PUT, row_key(PREFIX, tag), TagRow(lsn).packed(), 0, TAG_ROW), publish)


@pytest.mark.parametrize("level", LEVELS)
def test_an_entry_with_tags_is_a_hit_until_one_of_them_is_invalidated(owner: Owner, level: str) -> None:
    put(owner, "a", b"news", b"eu")
    assert owner.near("a", level) == "value"
    entry = owner.stage.region.get_entry("a", level=level)
    assert entry is not None
    assert entry.tags == ("news", "eu")
    invalidate(owner, b"sports")
    assert owner.near("a", level) == "value"
    invalidate(owner, b"eu")
    assert owner.near("a", level) == "miss"
    put(owner, "a", b"news", b"eu")
    assert owner.near("a", level) == "value"
    assert owner.stage.replica.requests == []


def test_strong_asks_the_primary_where_an_invalidation_is_not_committed(owner: Owner) -> None:
    put(owner, "a", b"news")
    invalidate(owner, b"news", publish=False)
    assert owner.near("a", "strong") == "far"
    assert owner.near("a", "eventual") == "miss"


def test_expiry_lease_and_commit_hold_for_tagged_entries_too(owner: Owner) -> None:
    put(owner, "a", b"news", expires_at_ns=time.time_ns() - 1)
    assert owner.near("a", "eventual") == "miss"
    put(owner, "b", b"news")
    owner.publish(lease_until_ns=1)
    assert owner.near("b", "strong") == "far"
    owner.publish(commit_lsn=owner.lsn - 1)
    assert owner.near("b", "strong") == "far"
    assert owner.near("b", "eventual") == "value"


def test_a_row_of_another_service_hides_nothing(owner: Owner) -> None:
    put(owner, "a", b"news")
    lsn = owner.lsn + 1
    row = row_key(service_prefix(b"other"), b"news")
    owner.apply(LogRecord(lsn, 1, RecordKind.PUT, row, TagRow(lsn).packed(), 0, TAG_ROW), True)
    assert owner.near("a") == "value"
