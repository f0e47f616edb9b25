"""What the store effects mean: log, visible records, undo, commit, and that a turn is all or nothing."""

from __future__ import annotations

import pytest

from daycache_ray.storage import log as log_file
from daycache_ray.words.effects import Append, Apply, Commit, Truncate
from daycache_ray.words.records import Codec, Flag, LogRecord, RecordKind
from tests.unit.storage.conftest import SERVICE, Turns


def test_a_record_is_stored_with_its_header(turns: Turns) -> None:
    turns.put(b"k", b"42", codec=int(Codec.INT), flags=int(Flag.PREFETCHED), expires_at_ns=7_000, cost_us=12)
    header = turns.header(b"k")
    assert (header.epoch, header.lsn, header.expires_at_ns, header.cost_us) == (1, 1, 7_000, 12)
    assert (header.codec, header.flags) == (Codec.INT, Flag.PREFETCHED)
    assert turns.value(b"k") == b"42"
    assert turns.store.entries_count == 1


def test_a_turn_is_seen_inside_at_once_and_outside_after_its_commit(turns: Turns) -> None:
    record = turns.record(RecordKind.PUT, b"k", b"new")
    turns.store.begin()
    turns.store.perform(Append((record,)))
    turns.store.perform(Apply((record,), undoable=False))
    assert turns.value(b"k") == b"new"
    turns.store.abort()
    assert turns.value(b"k") is None
    assert turns.store.entries_count == turns.store.used_bytes == turns.last_lsn == 0
    turns.write(record)
    assert turns.value(b"k") == b"new"


def test_an_appended_record_is_not_visible_before_it_is_applied(turns: Turns) -> None:
    record = turns.put(b"k", applied=False)
    assert turns.value(b"k") is None
    turns.turn(Apply((record,), undoable=False), Commit(1, 1, 0, 1))
    assert turns.value(b"k") == b"value"


def test_the_log_refuses_a_gap(turns: Turns) -> None:
    with pytest.raises(AssertionError, match="does not follow"):
        turns.turn(Append((LogRecord(2, 1, int(RecordKind.PUT), SERVICE + b"k"),)))
    turns.put(b"k")
    assert turns.value(b"k") == b"value"


def test_the_highest_lsn_of_a_key_wins(turns: Turns) -> None:
    strong = turns.put(b"k", b"strong", applied=False)
    turns.put(b"k", b"eventual")
    turns.turn(Apply((strong,), undoable=False), Commit(2, 1, 0, 2))
    assert turns.value(b"k") == b"eventual"


@pytest.mark.parametrize("commit_first", [True, False])
def test_a_later_delete_wins_too(turns: Turns, commit_first: bool) -> None:
    turns.put(b"k", b"old")
    turns.commit()
    strong = turns.put(b"k", b"strong", applied=False)
    turns.delete(b"k")
    effects = [Apply((strong,), undoable=False), Commit(3, 1, 0, 3)]
    turns.turn(*(reversed(effects) if commit_first else effects))
    assert turns.value(b"k") is None
    assert turns.store.entries_count == turns.store.used_bytes == 0


def test_cutting_the_log_undoes_what_was_applied_newest_first(turns: Turns) -> None:
    turns.put(b"kept", b"old")
    turns.put(b"gone", b"was here")
    turns.commit()
    before = turns.store.used_bytes
    turns.put(b"kept", b"new")
    turns.put(b"kept", b"newer", expires_at_ns=99)
    turns.delete(b"gone")
    turns.put(b"brand new")
    turns.turn(Truncate(2))
    assert turns.value(b"kept") == b"old"
    assert turns.value(b"gone") == b"was here"
    assert turns.value(b"brand new") is None
    assert (turns.store.entries_count, turns.store.used_bytes, turns.last_lsn) == (2, before, 2)
    assert turns.store.next_expiry_ns() == 0
    assert turns.store.recovered().applied_lsn == 2


def test_cutting_keeps_uncommitted_records_below_the_cut(turns: Turns) -> None:
    turns.put(b"k", b"first")
    turns.put(b"k", b"second")
    turns.turn(Truncate(1))
    assert turns.value(b"k") == b"first"
    turns.turn(Truncate(0))
    assert turns.value(b"k") is None


def test_undo_survives_the_owner(turns: Turns) -> None:
    turns.put(b"k", b"committed")
    turns.commit()
    turns.put(b"k", b"uncommitted")
    turns.reopen()
    assert turns.value(b"k") == b"uncommitted"
    assert turns.store.recovered().applied_lsn == 2
    turns.turn(Truncate(1))
    assert turns.value(b"k") == b"committed"
    assert turns.store.recovered().applied_lsn == 1


def test_what_is_committed_cannot_be_cut(turns: Turns) -> None:
    turns.put(b"k")
    turns.commit()
    with pytest.raises(AssertionError, match="is committed"):
        turns.turn(Truncate(0))


def test_a_committed_record_under_an_uncommitted_one_is_what_undo_restores(turns: Turns) -> None:
    strong = turns.put(b"k", b"strong", applied=False)
    turns.put(b"k", b"eventual")
    turns.turn(Apply((strong,), undoable=False), Commit(1, 1, 0, 1))
    assert turns.value(b"k") == b"eventual"
    turns.turn(Truncate(1))
    assert turns.value(b"k") == b"strong"


def test_an_eviction_names_a_version(turns: Turns) -> None:
    old = turns.put(b"k", b"old")
    turns.put(b"k", b"new")
    turns.evict(old.key, old.epoch, old.lsn)
    assert turns.value(b"k") == b"new"
    turns.evict(old.key, 1, 2)
    assert turns.value(b"k") is None
    turns.turn(Truncate(3))
    assert turns.value(b"k") == b"new"


def test_an_eviction_misses_when_its_target_was_replaced_below_it(turns: Turns) -> None:
    old = turns.put(b"k", b"old")
    turns.commit()
    strong = turns.put(b"k", b"strong", applied=False)
    turns.evict(old.key, old.epoch, old.lsn)
    assert turns.value(b"k") is None
    turns.turn(Apply((strong,), undoable=False), Commit(3, 1, 0, 3))
    # As on a secondary, which applies 1, 2, 3 in order.
    assert turns.value(b"k") == b"strong"


def test_an_overwrite_keeps_its_place_and_moves_its_expiry(turns: Turns) -> None:
    turns.put(b"k", expires_at_ns=500)
    order = turns.header(b"k").order
    turns.put(b"k", expires_at_ns=900)
    assert turns.header(b"k").order == order
    assert turns.store.next_expiry_ns() == 900
    turns.put(b"k")
    assert turns.store.next_expiry_ns() == 0


def test_recovered_says_what_was_written(turns: Turns) -> None:
    assert turns.store.recovered().records == ()
    turns.epoch = 4
    first = turns.put(b"a", b"1", strong=True)
    turns.turn(Append((LogRecord(2, 4, int(RecordKind.HORIZON), expires_at_ns=77),)))
    turns.commit(1, horizon_ns=77)
    store_id = turns.store.store_id
    recovered = turns.reopen().recovered()
    assert (recovered.store_id, recovered.epoch, recovered.commit_lsn) == (store_id, 4, 1)
    assert (recovered.base_lsn, recovered.base_epoch, recovered.horizon_ns) == (0, 0, 77)
    assert recovered.records[0] == first
    assert [record.lsn for record in recovered.records] == [1, 2]


def test_the_log_is_trimmed_but_keeps_what_a_member_needs(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "LOG_RECORDS_KEPT", 10)
    monkeypatch.setattr(log_file, "_TRIM_RECORDS", 2)
    for number in range(30):
        turns.put(b"k%d" % number)
    turns.commit(keep_lsn=5)
    assert turns.store.recovered().base_lsn == 5
    turns.commit()
    recovered = turns.store.recovered()
    assert (recovered.base_lsn, recovered.base_epoch, len(recovered.records)) == (20, 1, 10)
    turns.reopen()
    assert turns.store.recovered().base_lsn == 20
    assert turns.value(b"k0") == b"value"


def test_uncommitted_records_are_never_trimmed(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "LOG_RECORDS_KEPT", 3)
    monkeypatch.setattr(log_file, "_TRIM_RECORDS", 1)
    for _ in range(20):
        turns.put(b"k")
    turns.commit(2, keep_lsn=20)
    assert turns.store.recovered().base_lsn == 2


def test_bytes_of_the_log_are_bounded_by_the_budget(directory: str) -> None:
    turns = Turns(directory, limit_bytes=1 << 20)
    for number in range(400):
        turns.put(b"k", bytes([number % 251]) * 4_000)
        turns.commit()
    assert turns.store.statistics().log_bytes <= (1 << 20) * 9 // 8 + 8_192
    turns.store.close()


def test_used_bytes_are_those_of_the_visible_records(turns: Turns) -> None:
    turns.put(b"a", bytes(100))
    one = turns.store.used_bytes
    turns.put(b"b", bytes(100))
    assert turns.store.used_bytes == 2 * one
    turns.put(b"a", bytes(3_000))
    assert turns.store.used_bytes > 4096 + one
    turns.delete(b"a")
    assert turns.store.used_bytes == one
    used = turns.store.used_bytes
    assert turns.reopen().used_bytes == used
    assert "1 entries" in repr(turns.store)
