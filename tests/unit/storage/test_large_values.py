"""Large values live in files exactly as long as a record means them."""

from __future__ import annotations

import os

import pytest

from daycache_ray.storage.reader import StoreReader, is_record_of
from daycache_ray.words.effects import Append, Apply, Commit, Truncate
from daycache_ray.words.errors import CorruptRecordError
from daycache_ray.words.limits import INLINE_RECORD_BYTES_MAX, LOG_BYTES_KEPT
from daycache_ray.words.records import HEADER_BYTES, Flag, RecordKind
from tests.unit.storage.conftest import LIMIT_BYTES, SERVICE, Turns

BIG = bytes(range(256)) * 400
LOG_KEEPS = min(LOG_BYTES_KEPT, LIMIT_BYTES)


def test_what_fits_a_page_has_no_file(turns: Turns) -> None:
    turns.put(b"k", bytes(INLINE_RECORD_BYTES_MAX - HEADER_BYTES))
    assert turns.large_files() == []
    turns.put(b"k", bytes(INLINE_RECORD_BYTES_MAX - HEADER_BYTES + 1))
    assert turns.large_files() == ["1-2"]


def test_log_and_record_mean_one_file(turns: Turns) -> None:
    turns.put(b"k", BIG)
    assert turns.large_files() == ["1-1"]
    assert turns.header(b"k").flags & Flag.LARGE
    assert turns.value(b"k") == BIG
    assert turns.store.recovered().records[0].value == BIG
    assert not turns.store.recovered().records[0].flags & Flag.LARGE
    assert turns.store.statistics().large_bytes == turns.store.used_bytes // 4096 * 4096


def test_a_superseded_file_stays_until_nothing_can_bring_it_back(turns: Turns) -> None:
    turns.put(b"k", BIG)
    turns.commit()
    turns.put(b"k", b"small")
    turns.reopen()
    turns.turn(Truncate(1))
    assert turns.value(b"k") == BIG
    turns.put(b"k", b"small")
    turns.commit()
    # The log still has it, for members that catch up.
    assert turns.large_files() == ["1-1"]
    assert turns.store.recovered().records[0].value == BIG


def test_the_file_goes_with_its_log_entry(turns: Turns) -> None:
    value = bytes(LOG_KEEPS // 2)
    for _ in range(5):
        turns.put(b"k", value)
        turns.commit()
    assert len(turns.large_files()) <= 3
    assert turns.value(b"k") == value
    turns.delete(b"k")
    turns.put(b"other", bytes(LOG_KEEPS))
    turns.commit()
    turns.put(b"third", bytes(LOG_KEEPS))
    turns.commit()
    assert turns.large_files() == ["1-7", "1-8"]
    assert turns.store.statistics().large_bytes == 2 * LOG_KEEPS


def test_cutting_removes_the_file(turns: Turns) -> None:
    turns.put(b"k", BIG)
    turns.put(b"k", BIG * 2)
    turns.turn(Truncate(1))
    assert turns.large_files() == ["1-1"]
    assert turns.value(b"k") == BIG
    turns.turn(Truncate(0))
    assert turns.large_files() == []
    assert turns.store.statistics().large_bytes == 0


def test_an_aborted_turn_leaves_no_file(turns: Turns) -> None:
    record = turns.record(RecordKind.PUT, b"k", BIG)
    turns.store.begin()
    turns.store.perform(Append((record,)))
    assert turns.large_files() == ["1-1"]
    turns.store.abort()
    assert turns.large_files() == []
    turns.write(record)
    assert turns.value(b"k") == BIG


def test_a_file_without_a_record_is_removed_when_the_store_is_opened(turns: Turns) -> None:
    turns.put(b"k", BIG)
    with open(os.path.join(turns.directory, "large", "9-9"), "wb") as file:
        file.write(b"left from a turn that was never committed")
    turns.reopen()
    assert turns.large_files() == ["1-1"]
    assert turns.value(b"k") == BIG


def test_nobody_outside_names_a_file(turns: Turns) -> None:
    forged = (8).to_bytes(8, "little") + bytes(8) + b"../owner.lock"
    turns.put(b"k", forged, flags=int(Flag.LARGE))
    assert not turns.header(b"k").flags & Flag.LARGE
    assert turns.value(b"k") == forged


def test_a_damaged_file_is_noticed(turns: Turns) -> None:
    turns.put(b"k", BIG)
    with open(os.path.join(turns.directory, "large", "1-1"), "r+b") as file:
        file.write(b"damage")
    with pytest.raises(CorruptRecordError, match="does not hold"):
        turns.value(b"k")


def test_a_long_key_stands_in_the_record_of_a_large_value(turns: Turns) -> None:
    key = b"k" * 1_000
    prefix = len(key).to_bytes(2, "little") + key
    turns.put(b"digest", prefix + BIG, flags=int(Flag.LONG_KEY))
    assert turns.value(b"digest") == prefix + BIG
    record = turns.store.get(SERVICE + b"digest")
    assert record is not None
    assert is_record_of(record, key)
    assert not is_record_of(record, b"another")
    assert turns.store.recovered().records[0].value == prefix + BIG
    reader = StoreReader(turns.directory)
    found = reader.fetch(SERVICE + b"digest")
    assert found is not None
    assert found[1] == BIG
    reader.close()


def test_a_view_outlives_its_record(turns: Turns) -> None:
    turns.put(b"k", BIG)
    reader = StoreReader(turns.directory)
    found = reader.fetch(SERVICE + b"k")
    assert found is not None
    record, view = found
    assert isinstance(view, memoryview)
    assert view.readonly
    turns.turn(Truncate(0))
    assert turns.large_files() == []
    assert view == BIG
    assert reader.payload(record) is None
    assert reader.fetch(SERVICE + b"k") is None
    reader.close()


def test_one_turn_can_write_and_supersede_a_file(turns: Turns) -> None:
    first = turns.record(RecordKind.PUT, b"k", BIG)
    second = turns.record(RecordKind.PUT, b"k", b"small")
    second = type(second)(2, 1, second.kind, second.key, second.value)
    turns.turn(Append((first, second)), Apply((first, second), undoable=True), Commit(2, 1, 0, 2))
    assert turns.value(b"k") == b"small"
    assert turns.store.recovered().records[0].value == BIG
    assert turns.store.statistics().large_bytes == 0


def test_a_snapshot_keeps_the_files_it_shows(turns: Turns) -> None:
    turns.put(b"k", BIG)
    snapshot = turns.store.open_snapshot()
    turns.turn(Truncate(0))
    ((key, record),) = snapshot.next_items(1)
    assert (key, record[HEADER_BYTES:]) == (SERVICE + b"k", BIG)
    assert snapshot.next_items(1) == ()
    snapshot.close()
    assert turns.large_files() == []
