"""Rewriting a store gives memory back, and nothing but the memory changes, whatever turns do meanwhile."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from daycache_ray.storage import compaction
from daycache_ray.storage import log as log_file
from daycache_ray.storage.compaction import Compaction
from daycache_ray.storage.reader import StoreReader
from daycache_ray.storage.verify import verify
from daycache_ray.words.effects import Append, Apply, FinishCopy, LoadItems, ResetStore, Truncate
from daycache_ray.words.errors import StoreFullError
from daycache_ray.words.records import RecordKind
from tests.unit.storage.conftest import SERVICE, Turns

BIG = b"large" * 10_000


def compacted(turns: Turns, between: Callable[[int], None] = lambda step: None) -> int:
    """Compact to the end; `between` is called after every step. Returns the number of steps."""
    steps = 1
    while turns.store.compact():
        between(steps)
        steps += 1
        assert steps < 10_000
    return steps


def content(turns: Turns) -> tuple[object, ...]:
    """All that a store shows and knows."""
    snapshot = turns.store.open_snapshot()
    items = snapshot.next_items(1 << 40)
    snapshot.close()
    statistics = turns.store.statistics()._replace(generation=0, mapped_bytes=0, readers_count=0)
    return items, turns.store.recovered(), statistics, turns.large_files(), turns.store.next_expiry_ns()


def filled(turns: Turns, count: int = 2_000) -> None:
    """Many entries, most of which are removed; some expire, some are large, some uncommitted."""
    for number in range(count):
        turns.put(b"k%d" % number, bytes(500), expires_at_ns=number % 2 * 7)
    for number in range(count):
        if number % 10:
            turns.delete(b"k%d" % number)
    turns.put(b"big", BIG)
    turns.commit()
    turns.put(b"big", BIG + b"2")
    turns.put(b"k10", b"uncommitted")
    turns.delete(b"k20")


def test_nothing_changes_but_the_memory(turns: Turns) -> None:
    filled(turns)
    before, number = content(turns), turns.store.statistics().generation
    mapped = turns.store.statistics().mapped_bytes
    reader = StoreReader(turns.directory)
    assert reader.get(SERVICE + b"k30") is not None
    compacted(turns)
    assert content(turns) == before
    found = turns.store.statistics()
    assert found.generation == number + 1
    assert found.mapped_bytes < mapped / 2
    assert verify(turns.directory).damages == []
    assert [name for name in os.listdir(turns.directory) if name.startswith("gen-")] == [f"gen-{number + 1}"]
    # Readers go over by themselves, and the next owner opens the new one.
    assert reader.get(SERVICE + b"k30") is not None
    assert reader.get(SERVICE + b"k31") is None
    assert reader.generation == number + 1
    reader.close()
    turns.reopen()
    assert content(turns) == before
    turns.turn(Truncate(turns.last_lsn - 3))
    assert turns.value(b"big") == BIG
    assert verify(turns.directory).damages == []


def test_turns_go_on_meanwhile(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "STEP_ITEMS", 1)
    monkeypatch.setattr(compaction, "CHANGED_STEP_ITEMS", 4)
    monkeypatch.setattr(compaction, "REST_ITEMS_MAX", 3)
    monkeypatch.setattr(log_file, "LOG_RECORDS_KEPT", 60)
    monkeypatch.setattr(log_file, "_TRIM_RECORDS", 10)
    filled(turns, 300)
    chance = random.Random(1)
    twin: dict[bytes, bytes | None] = {b"k%d" % number: turns.value(b"k%d" % number) for number in range(300)}
    twin[b"big"] = turns.value(b"big")
    undone: dict[bytes, bytes | None] = {}
    cuts = 0

    def between(step: int) -> None:
        nonlocal cuts
        if step > 200:
            return
        name = chance.choice([b"k%d" % chance.randrange(300), b"big"])
        drawn = chance.random()
        if drawn < 0.1:
            turns.commit()
            undone.clear()
        elif drawn < 0.15:
            cuts += 1
            turns.turn(Truncate(turns.store._current.state.commit_lsn))
            twin.update(undone)
            undone.clear()
            turns.epoch += 1
        elif drawn < 0.2:
            turns.store.begin()
            record = turns.record(RecordKind.PUT, name, b"forgotten")
            turns.store.perform(Append((record,)))
            turns.store.perform(Apply((record,), undoable=True))
            turns.store.abort()
        else:
            undone.setdefault(name, twin[name])
            value = chance.choice([b"small", bytes(9_000), None])
            if value is None:
                turns.delete(name)
            else:
                turns.put(name, value, expires_at_ns=chance.choice([0, 5]))
            twin[name] = value

    turns.commit()
    number = turns.store.statistics().generation
    steps = compacted(turns, between)
    assert turns.store.statistics().generation == number + 1
    assert steps > 80
    assert cuts > 1
    assert {name: turns.value(name) for name in twin} == twin
    assert verify(turns.directory).damages == []
    turns.turn(Truncate(turns.store._current.state.commit_lsn))
    twin.update(undone)
    assert {name: turns.value(name) for name in twin} == twin
    assert verify(turns.directory).damages == []


def test_waste_is_what_triggers_it(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "WASTE_PAGES_MIN", 50)
    for number in range(1_000):
        turns.put(b"k%d" % number, bytes(500))
    turns.commit()
    assert not turns.store.is_wasteful()
    for number in range(950):
        turns.delete(b"k%d" % number)
    turns.commit()
    # The log holds what was written; it goes as others come.
    monkeypatch.setattr(log_file, "LOG_RECORDS_KEPT", 10)
    turns.put(b"k")
    turns.commit()
    turns.put(b"k")
    assert turns.store.is_wasteful()
    compacted(turns)
    assert not turns.store.is_wasteful()


def test_a_snapshot_is_waited_for(turns: Turns) -> None:
    filled(turns, 200)
    snapshot = turns.store.open_snapshot()
    number = turns.store.statistics().generation
    for _ in range(100):
        assert turns.store.compact()
        turns.put(b"during")
    assert turns.store.statistics().generation == number
    assert snapshot.next_items(1)
    snapshot.close()
    compacted(turns)
    assert turns.store.statistics().generation == number + 1
    assert turns.value(b"during") == b"value"


def test_a_copy_of_another_replica_ends_it(turns: Turns) -> None:
    filled(turns, 200)
    number = turns.store.statistics().generation
    assert turns.store.compact()
    turns.turn(ResetStore())
    assert not turns.store.compact()
    turns.turn(LoadItems(()))
    turns.turn(FinishCopy(5_000, 9, 0))
    assert turns.store.statistics().generation == number + 1
    assert turns.store.entries_count == 0
    assert turns.large_files() == []
    compacted(turns)
    assert verify(turns.directory).damages == []


def test_closing_in_the_middle_leaves_the_store_as_it_was(turns: Turns) -> None:
    filled(turns, 200)
    before, number = content(turns), turns.store.statistics().generation
    for _ in range(3):
        turns.store.compact()
    turns.reopen()
    assert turns.store.statistics().generation == number
    assert content(turns) == before
    assert [name for name in os.listdir(turns.directory) if name.startswith("gen-")] == [f"gen-{number}"]


@pytest.mark.parametrize("step", [1, 4, 10_000])
def test_no_room_for_both_is_an_error_and_no_harm(turns: Turns, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    filled(turns, 400)
    before, number = content(turns), turns.store.statistics().generation
    for _ in range(step):
        begun = turns.store._rewriting._compaction
        if step == 10_000 and begun is not None and not begun.step():
            break
        turns.store.compact()
    with monkeypatch.context() as patch:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        if step == 10_000:
            patch.setattr(Compaction, "finish", full)
        else:
            patch.setattr(Compaction, "step", full)
        with pytest.raises(StoreFullError):
            turns.store.compact()
    assert content(turns) == before
    assert turns.store.statistics().generation == number
    compacted(turns)
    assert content(turns) == before


def test_a_reader_in_the_middle_of_a_read_is_not_hurt(turns: Turns) -> None:
    filled(turns, 200)
    reader = StoreReader(turns.directory)
    held = reader.begin(reader.data)
    was = held.get(SERVICE + b"k30")
    compacted(turns)
    turns.put(b"k30", b"later")
    assert held.get(SERVICE + b"k30") == was
    found = reader.fetch(SERVICE + b"k30")
    assert found is not None
    assert found[1] == b"later"
    reader.close()


def test_eviction_goes_on_where_it_stood(turns: Turns) -> None:
    for number in range(50):
        turns.put(b"k%d" % number)
    turns.commit()
    first = turns.store.victims(1, 1)
    compacted(turns)
    assert turns.store.victims(1, 1) != first


def test_a_log_that_is_cut_to_nothing_meanwhile(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "REST_ITEMS_MAX", 1)
    assert turns.store.compact()
    turns.put(b"a")
    turns.put(b"b")
    # Two changes brought over, then the log.
    for _ in range(2):
        assert turns.store.compact()
    turns.turn(Truncate(0))
    compacted(turns)
    assert turns.store.entries_count == turns.last_lsn == 0
    assert verify(turns.directory).damages == []
