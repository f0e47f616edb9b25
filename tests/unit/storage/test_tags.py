"""Tags in a store: counts, what is undone, what is swept, and that no size makes an invalidation larger."""

from __future__ import annotations

from typing import Any

import pytest

from daycache_ray.storage.tags import TagSweep, has_rows
from daycache_ray.storage.verify import verify
from daycache_ray.structures.tags import TAG_ROW, TAGGED, TagRow, pack_tags, row_key
from daycache_ray.words.effects import Append, Apply, FinishCopy, LoadItems, ResetStore, Truncate
from daycache_ray.words.records import LogRecord, RecordKind
from tests.unit.storage.conftest import SERVICE, Turns

PREFIX = SERVICE[2:]
NEWS, EU = row_key(PREFIX, b"news"), row_key(PREFIX, b"eu")


def put(turns: Turns, name: bytes, *tags: bytes, value: bytes = b"value", applied: bool = True) -> LogRecord:
    """Put an entry with tags."""
    return turns.put(name, pack_tags(tags) + value, applied, flags=TAGGED)


def invalidate(turns: Turns, row: bytes, applied: bool = True, undoable: bool = True) -> LogRecord:
    """Append the row of an invalidation."""
    lsn = turns.last_lsn + 1
    record = LogRecord(lsn, turns.epoch, int(RecordKind.PUT), row, TagRow(lsn).packed(), flags=TAG_ROW)
    return turns.write(record, applied, undoable)


def fresh(turns: Turns) -> tuple[int, int]:
    """Return the fresh entries of the two tags."""
    return turns.store.fresh_count(NEWS), turns.store.fresh_count(EU)


def names(turns: Turns) -> list[bytes]:
    """Return the keys that a scan shows."""
    return turns.store.scan(b"svc", b"", b"", 100)[0]


def sweep(turns: Turns, walk: TagSweep, over_ns: int = 0) -> list[Any]:
    """Walk once through everything, evict what may go, and return it."""
    store = turns.store
    settled_lsn = store._current.state.commit_lsn
    items: list[Any] = []
    has_more = True
    while has_more:
        found, has_more = store.ask(
            lambda reading, entries: walk.step(reading, entries.data, entries.tags, settled_lsn, over_ns, 3)
        )
        items.extend(found)
    for item in items:
        turns.evict(*item)
    return items


def check(turns: Turns) -> None:
    """Every order and count must agree."""
    assert verify(turns.directory).damages == []


def test_counts_follow_writes_overwrites_and_removals(turns: Turns) -> None:
    put(turns, b"a", b"news", b"eu")
    put(turns, b"b", b"news")
    turns.put(b"c")
    assert fresh(turns) == (2, 1)
    put(turns, b"a", b"eu")
    assert fresh(turns) == (1, 1)
    turns.put(b"a", b"plain")
    turns.delete(b"b")
    turns.commit()
    assert fresh(turns) == (0, 0)
    assert turns.store.ask(lambda reading, entries: reading.stat(entries.tags.table)["entries"]) == 0
    check(turns)


def test_an_invalidation_hides_what_was_before_and_nothing_after(turns: Turns) -> None:
    put(turns, b"a", b"news", b"eu")
    put(turns, b"b", b"news")
    turns.put(b"c")
    invalidate(turns, NEWS)
    assert fresh(turns) == (0, 1)  # `eu` is asked about its own row only
    assert names(turns) == [b"c"]
    put(turns, b"b", b"news")
    assert fresh(turns) == (1, 1)
    assert names(turns) == [b"b", b"c"]
    assert turns.store.entries_count == 3
    turns.commit()
    check(turns)
    turns.reopen()
    assert fresh(turns) == (1, 1)
    assert names(turns) == [b"b", b"c"]


def test_a_late_older_record_is_hidden_and_an_early_newer_one_is_not(turns: Turns) -> None:
    late = put(turns, b"late", b"news", applied=False)
    row = invalidate(turns, NEWS, applied=False)
    put(turns, b"early", b"news")
    turns.turn(Apply((row,), False))
    assert fresh(turns) == (1, 0)
    turns.turn(Apply((late,), False))
    assert fresh(turns) == (1, 0)
    assert names(turns) == [b"early"]
    turns.commit()
    check(turns)


def test_truncation_shows_again_what_an_invalidation_hid(turns: Turns) -> None:
    put(turns, b"a", b"news")
    turns.commit()
    invalidate(turns, NEWS)
    put(turns, b"a", b"news", value=b"newer")
    turns.turn(Truncate(1))
    assert names(turns) == [b"a"]
    assert turns.value(b"a") == pack_tags([b"news"]) + b"value"
    assert fresh(turns) == (1, 0)
    assert not turns.store.ask(lambda reading, entries: has_rows(reading, entries.data))
    check(turns)


def test_a_sweep_removes_what_is_hidden_then_the_row(turns: Turns) -> None:
    for number in range(10):
        put(turns, b"k%d" % number, b"news")
        turns.put(b"p%d" % number)
    invalidate(turns, NEWS)
    put(turns, b"k3", b"news")
    walk = TagSweep()
    assert sweep(turns, walk)[-1][0] != NEWS
    turns.commit()
    assert turns.store.entries_count == 11
    assert NEWS in [key for key, _, _ in sweep(turns, walk)]
    turns.commit()
    assert sweep(turns, walk) == []
    assert not turns.store.ask(lambda reading, entries: has_rows(reading, entries.data))
    assert names(turns) == [b"k3", *(b"p%d" % number for number in range(10))]
    assert fresh(turns) == (1, 0)
    check(turns)


def test_a_row_stays_while_something_older_may_still_be_applied(turns: Turns) -> None:
    put(turns, b"late", b"news", applied=False)
    invalidate(turns, NEWS)
    walk = TagSweep()
    assert sweep(turns, walk) == []
    assert sweep(turns, walk) == []


def test_what_is_over_stays_as_long_as_it_may_be_served(turns: Turns) -> None:
    put(turns, b"a", b"news")
    lsn = turns.last_lsn + 1
    row = TagRow(over_lsn=lsn, over_at_ns=1_000).packed()
    turns.write(LogRecord(lsn, 1, int(RecordKind.PUT), NEWS, row, flags=TAG_ROW))
    turns.commit()
    walk = TagSweep()
    assert names(turns) == []
    assert sweep(turns, walk, over_ns=999) == []
    assert [key for key, _, _ in sweep(turns, walk, over_ns=1_000)] == [SERVICE + b"a"]


def test_a_copy_and_a_compaction_keep_rows_and_counts(turns: Turns) -> None:
    for number in range(300):
        put(turns, b"k%03d" % number, b"news", *([b"eu"] if number % 2 else []))
    invalidate(turns, NEWS)
    for number in range(50):
        put(turns, b"k%03d" % number, b"news")
    turns.commit()
    before = fresh(turns), names(turns), turns.store.entries_count
    assert before[0] == (50, 125)
    store = turns.store
    assert store.compact()
    put(turns, b"k100", b"news")
    invalidate(turns, EU)
    put(turns, b"k101", b"news", b"eu")
    turns.delete(b"k000")
    turns.commit()
    while store.compact():
        pass
    assert fresh(turns) == (51, 1)
    check(turns)
    snapshot = store.open_snapshot()
    parts = []
    while items := snapshot.next_items(1_000):
        parts.append(items)
    assert parts[0][0][0] == EU
    snapshot.close()
    lsn = turns.last_lsn
    turns.turn(ResetStore(), *(LoadItems(items) for items in parts), FinishCopy(lsn, 1, 0))
    assert fresh(turns) == (51, 1)
    check(turns)


def test_an_invalidation_of_100_000_entries_is_one_small_record(turns: Turns) -> None:
    turns.limit_bytes = 64 << 20
    store = turns.reopen()
    value = pack_tags([b"news"]) + b"v"
    for start in range(1, 100_001, 5_000):
        records = tuple(
            LogRecord(lsn, 1, int(RecordKind.PUT), SERVICE + b"%06d" % lsn, value, flags=TAGGED)
            for lsn in range(start, start + 5_000)
        )
        turns.turn(Append(records), Apply(records, False))
        turns.commit()
    assert store.fresh_count(NEWS) == 100_000
    before = store.statistics()
    row = invalidate(turns, NEWS, undoable=False)
    turns.commit()
    after = store.statistics()
    assert store.fresh_count(NEWS) == 0
    assert after.used_bytes - before.used_bytes < 300
    assert len(row.value) == 32
    assert names(turns) == []


@pytest.mark.parametrize("value", [b"x" * 200_000, b"small"])
def test_large_values_with_tags_and_a_long_key(turns: Turns, value: bytes) -> None:
    put(turns, b"a", b"news", value=value)
    assert turns.value(b"a") == pack_tags([b"news"]) + value
    turns.commit()
    check(turns)


def test_verify_says_when_counts_and_entries_differ(turns: Turns) -> None:
    put(turns, b"a", b"news")
    turns.commit()
    generation = turns.store._current
    transaction = generation.begin()
    transaction.put(NEWS, bytes(16), db=generation.entries.tags.table)
    generation.end_turn()
    assert [damage.where for damage in verify(turns.directory).damages] == [f"tag {NEWS.hex()}"]
