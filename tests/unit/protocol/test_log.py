"""The log: what fits on it, what is cut, what is trimmed."""

from __future__ import annotations

from daycache_ray.protocol.log import Log
from daycache_ray.words.records import LogRecord, RecordKind


def _records(*epochs: int, first: int = 1) -> tuple[LogRecord, ...]:
    return tuple(LogRecord(first + place, epoch, RecordKind.PUT, b"k", b"v") for place, epoch in enumerate(epochs))


def test_records_that_follow_are_fresh() -> None:
    log = Log(0, 0, _records(1, 1))
    verdict = log.judge(2, 1, _records(1, first=3), 0)
    assert (verdict.matched, verdict.lsn, verdict.cut_lsn, len(verdict.fresh)) == (True, 3, -1, 1)


def test_a_gap_says_where_to_go_on() -> None:
    verdict = Log(0, 0, _records(1, 1)).judge(5, 1, _records(1, first=6), 0)
    assert (verdict.matched, verdict.lsn, verdict.needs_copy) == (False, 2, False)


def test_a_shorter_message_of_the_same_epoch_cuts_nothing() -> None:
    log = Log(0, 0, _records(1, 1, 1, 1))
    verdict = log.judge(0, 0, _records(1, 1), 0)
    assert verdict == (True, 2, -1, (), False)


def test_a_record_of_another_epoch_in_its_place_is_cut() -> None:
    log = Log(0, 0, _records(1, 1, 1))
    verdict = log.judge(1, 1, _records(2, first=2), 1)
    assert (verdict.matched, verdict.lsn, verdict.cut_lsn) == (True, 2, 1)
    assert [record.epoch for record in verdict.fresh] == [2]


def test_another_previous_record_goes_back_to_what_is_settled() -> None:
    verdict = Log(0, 0, _records(1, 1, 1)).judge(3, 2, _records(2, first=4), 1)
    assert (verdict.matched, verdict.lsn, verdict.needs_copy) == (False, 1, False)


def test_what_is_settled_is_never_cut() -> None:
    assert Log(0, 0, _records(1, 1, 1)).judge(1, 1, _records(2, first=2), 3).needs_copy
    assert Log(0, 0, _records(1, 1, 1)).judge(3, 2, (), 3).needs_copy


def test_records_from_before_the_base_are_skipped() -> None:
    log = Log(5, 1, _records(1, first=6))
    verdict = log.judge(3, 1, _records(1, 1, 1, 1, first=4), 5)
    assert (verdict.matched, verdict.lsn, [record.lsn for record in verdict.fresh]) == (True, 7, [7])
    assert log.judge(2, 1, _records(1, first=3), 5).matched
    assert log.judge(3, 1, _records(2, 2, first=4), 5).needs_copy


def test_epochs_are_known_after_trimming() -> None:
    log = Log(0, 0, _records(*[1] * 50, *[3] * 50))
    log.trim(90, 5, 1 << 30)
    assert log.base_lsn == 90
    assert (log.epoch_at(10), log.epoch_of(10), log.epoch_of(51), log.epoch_of(101)) == (None, 1, 3, None)
    assert log.epoch_at(90) == log.base_epoch == 3


def test_trimming_stops_at_what_is_asked_and_by_bytes() -> None:
    log = Log(0, 0, _records(*[1] * 100))
    log.trim(20, 5, 1 << 30)
    assert log.base_lsn == 20
    big = Log(0, 0, [LogRecord(lsn, 1, RecordKind.PUT, b"k", b"x" * 1000) for lsn in range(1, 101)])
    big.trim(100, 1000, 10_000)
    assert 88 <= big.base_lsn <= 92
    assert big.kept_bytes <= 12_000


def test_cutting_brings_the_epoch_back() -> None:
    log = Log(0, 0, _records(1, 2, 3))
    assert [record.lsn for record in log.truncate(1)] == [2, 3]
    assert (log.last_lsn, log.last_epoch, log.epoch_of(1), log.epoch_of(2)) == (1, 1, 1, None)
    log.append(LogRecord(2, 5, RecordKind.EPOCH))
    assert log.epoch_of(2) == 5


def test_a_batch_holds_both_limits_and_at_least_one() -> None:
    log = Log(0, 0, _records(*[1] * 10))
    assert [record.lsn for record in log.batch(3, 2, 1 << 20)] == [4, 5]
    assert len(log.batch(0, 10, 1)) == 1
    assert log.batch(10, 5, 100) == ()
