"""A copy is loaded beside the present generation and takes over whole, or not at all."""

from __future__ import annotations

import os

import pytest

from daycache_ray.storage.reader import StoreReader
from daycache_ray.words.effects import Append, Apply, FinishCopy, LoadItems, ResetStore, Truncate
from daycache_ray.words.errors import RetryableError
from daycache_ray.words.records import HEADER_BYTES, LogRecord, RecordKind
from tests.unit.storage.conftest import SERVICE, Turns

BIG = b"large" * 10_000


def copied(turns: Turns, tmp_path: object) -> list[tuple[bytes, bytes]]:
    """Return the items of another store with a small and a large value."""
    other = Turns(f"{tmp_path}/other")
    other.epoch = 6
    other.put(b"a", b"copied", expires_at_ns=123)
    other.put(b"b", BIG)
    snapshot = other.store.open_snapshot()
    items = [*snapshot.next_items(1), *snapshot.next_items(1)]
    assert snapshot.next_items(1) == ()
    snapshot.close()
    other.store.close()
    return items


def generation_folders(turns: Turns) -> list[str]:
    return sorted(name for name in os.listdir(turns.directory) if name.startswith("gen-"))


def test_a_copy_takes_over_when_it_is_finished(turns: Turns, tmp_path: object) -> None:
    turns.put(b"a", b"mine")
    turns.put(b"old", BIG)
    turns.commit()
    before = turns.store.statistics().generation
    reader = StoreReader(turns.directory)
    assert reader.get(SERVICE + b"old") is not None
    turns.turn(ResetStore())
    for item in copied(turns, tmp_path):
        turns.turn(LoadItems((item,)))
        assert turns.value(b"a") == b"mine"
        assert turns.store.get(SERVICE + b"b") is None
    turns.turn(FinishCopy(base_lsn=40, base_epoch=6, horizon_ns=9))
    assert turns.value(b"a") == b"copied"
    assert turns.value(b"b") == BIG
    assert turns.value(b"old") is None
    assert turns.store.fence.read().generation == before + 1
    assert generation_folders(turns) == [f"gen-{before + 1}"]
    assert turns.large_files() == ["6-2"]
    assert reader.get(SERVICE + b"old") is None
    found = reader.fetch(SERVICE + b"b")
    assert found is not None
    assert found[1] == BIG
    assert reader.generation == before + 1
    reader.close()
    recovered = turns.reopen().recovered()
    assert (recovered.base_lsn, recovered.base_epoch, recovered.horizon_ns, recovered.records) == (40, 6, 9, ())
    assert (recovered.commit_lsn, recovered.epoch, turns.store.next_expiry_ns()) == (40, 6, 123)


def test_the_turn_that_finishes_goes_on_in_the_copy(turns: Turns, tmp_path: object) -> None:
    turns.put(b"mine")
    items = copied(turns, tmp_path)
    record = LogRecord(41, 6, int(RecordKind.PUT), SERVICE + b"after", b"1")
    turns.turn(
        ResetStore(), LoadItems(tuple(items)), FinishCopy(40, 6, 0), Append((record,)), Apply((record,), undoable=True)
    )
    assert turns.value(b"mine") is None
    assert turns.value(b"after") == b"1"
    assert turns.store.entries_count == 3
    turns.turn(Truncate(40))
    assert turns.value(b"after") is None


def test_a_record_of_the_old_generation_in_the_copy_keeps_its_file(turns: Turns) -> None:
    turns.put(b"k", BIG)
    turns.commit()
    snapshot = turns.store.open_snapshot()
    items = snapshot.next_items(1 << 30)
    snapshot.close()
    turns.turn(ResetStore(), LoadItems(items), FinishCopy(1, 1, 0))
    assert turns.large_files() == ["1-1.1"]
    assert turns.value(b"k") == BIG


def test_an_unfinished_copy_is_gone_after_reopening(turns: Turns, tmp_path: object) -> None:
    turns.put(b"a", b"mine")
    number = turns.store.statistics().generation
    turns.turn(ResetStore(), LoadItems(tuple(copied(turns, tmp_path))))
    assert len(generation_folders(turns)) == 2
    # As a crash leaves it: the copy is there, nobody finished it.
    turns.store._copy = None
    turns.store._lock.release()
    turns.store = turns._open()
    assert generation_folders(turns) == [f"gen-{number}"]
    assert turns.large_files() == []
    assert turns.value(b"a") == b"mine"


def test_a_second_copy_replaces_the_first(turns: Turns, tmp_path: object) -> None:
    items = copied(turns, tmp_path)
    turns.turn(ResetStore(), LoadItems(tuple(items)))
    turns.turn(ResetStore())
    assert turns.large_files() == []
    turns.turn(FinishCopy(7, 2, 0))
    assert turns.store.entries_count == 0
    assert turns.store.recovered().base_lsn == 7


def test_an_aborted_finish_leaves_the_old_generation(turns: Turns, tmp_path: object) -> None:
    turns.put(b"a", b"mine")
    turns.turn(ResetStore())
    turns.store.begin()
    turns.store.perform(LoadItems(tuple(copied(turns, tmp_path))))
    turns.store.perform(FinishCopy(40, 6, 0))
    assert turns.value(b"a") == b"copied"
    turns.store.abort()
    assert turns.value(b"a") == b"mine"
    turns.put(b"more")
    assert turns.last_lsn == 2


def test_a_snapshot_stays_as_it_was(turns: Turns) -> None:
    turns.put(b"a", b"1")
    snapshot = turns.store.open_snapshot()
    turns.put(b"a", b"2")
    turns.put(b"b", b"3")
    ((key, record),) = snapshot.next_items(1 << 20)
    assert (key, record[HEADER_BYTES:]) == (SERVICE + b"a", b"1")
    snapshot.close()
    snapshot.close()
    with pytest.raises(RetryableError, match="closed"):
        snapshot.next_items(1)


def test_a_snapshot_inside_a_turn_shows_what_the_turn_did(turns: Turns) -> None:
    record = turns.record(RecordKind.PUT, b"a", b"1")
    turns.store.begin()
    turns.store.perform(Append((record,)))
    turns.store.perform(Apply((record,), undoable=True))
    snapshot = turns.store.open_snapshot()
    turns.store.perform(Truncate(0))
    turns.store.commit()
    assert len(snapshot.next_items(1)) == 1
    snapshot.close()


def test_a_snapshot_ends_with_its_generation(turns: Turns) -> None:
    turns.put(b"a")
    snapshot = turns.store.open_snapshot()
    turns.turn(ResetStore(), FinishCopy(3, 1, 0))
    with pytest.raises(RetryableError):
        snapshot.next_items(1)
