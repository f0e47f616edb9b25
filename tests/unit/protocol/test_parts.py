"""The small parts: answers, fills, horizon, leases, the set, copies, what waits."""

from __future__ import annotations

from daycache_ray.protocol.catch_up import CopyReceiver, CopySender
from daycache_ray.protocol.deduplication import AnswerTable
from daycache_ray.protocol.fills import FillLeases
from daycache_ray.protocol.horizon import BUCKET_BITS, START_JUMP_NS, HorizonClock
from daycache_ray.protocol.in_sync import InSync
from daycache_ray.protocol.lease import Patience, PrimaryLease
from daycache_ray.protocol.waiting import Waiting
from daycache_ray.words.operations import OperationResult, Outcome
from daycache_ray.words.records import Codec, LogRecord, RecordKind
from daycache_ray.words.types import Instant, Member

P, S, J = Member(0, 1), Member(1, 2), Member(2, 3)
SECOND = 1_000_000_000


def _record(lsn: int, client: int, sequence: int, value: bytes = b"5", codec: int = Codec.INT) -> LogRecord:
    return LogRecord(lsn, 1, RecordKind.PUT, b"k", value, codec, client=client, sequence=sequence)


# ------------------------------------------------------------------ answers


def test_answers_are_the_same_on_every_replica_and_travel_with_a_copy() -> None:
    table = AnswerTable()
    table.note_record(_record(1, 7, 1))
    refused = LogRecord(
        2, 1, RecordKind.HORIZON, codec=Outcome.CONFLICT, target_epoch=1, target_lsn=1, client=7, sequence=2
    )
    table.note_record(refused)
    table.note_record(_record(3, 8, 1))
    copy = AnswerTable()
    copy.load(table.dump(2))
    assert copy.window(7).results == {
        1: (1, OperationResult(Outcome.DONE, 1, 1, 5)),
        2: (2, OperationResult(Outcome.CONFLICT, 1, 1)),
    }
    assert not copy.window(8).results


def test_a_cut_record_was_never_answered() -> None:
    table = AnswerTable()
    table.note_record(_record(1, 7, 1))
    table.note_record(_record(2, 7, 2))
    table.forget_records([_record(2, 7, 2)])
    assert list(table.window(7).results) == [1]


def test_the_table_is_bounded_and_remembers_that_it_forgot() -> None:
    table = AnswerTable(answers_max=3)
    for sequence in range(1, 6):
        table.note_record(_record(sequence, 7, sequence))
    window = table.window(7)
    assert (list(window.results), window.floor) == ([3, 4, 5], 3)
    window.forget_below(5)
    assert (list(window.results), window.floor) == ([5], 5)


# ------------------------------------------------------------------ fills


def test_one_loads_and_the_others_wait() -> None:
    fills = FillLeases(1)
    number = fills.ask(10, 1, b"k", 100, True)
    assert number == 1
    assert fills.ask(11, 2, b"k", 100, True) is None
    assert fills.ask(12, 3, b"k", 100, False) == -1
    ended = fills.end(1)
    assert ended is not None
    assert [waiter.token for waiter in ended.waiters] == [11]
    assert fills.end(1) is None


def test_a_deadline_hands_the_right_on() -> None:
    fills = FillLeases(1)
    fills.ask(10, 1, b"k", 100, True)
    fills.ask(11, 2, b"k", 150, True)
    fills.ask(12, 3, b"k", 90, True)
    heirs = fills.expire(100)
    assert [(waiter.token, number) for waiter, number in heirs] == [(12, 0), (11, 2)]
    assert (fills.next_deadline_ns(), fills.end(1)) == (150, None)


def test_a_write_voids_the_right() -> None:
    fills = FillLeases(5)
    fills.ask(10, 1, b"k", 100, True)
    fills.ask(11, 2, b"k", 100, True)
    assert [waiter.token for waiter in fills.void(b"k")] == [11]
    assert fills.void(b"k") == ()
    assert fills.ask(12, 1, b"k", 100, True) == 6


# ------------------------------------------------------------------ time


def test_the_horizon_never_jumps_and_never_goes_back() -> None:
    clock = HorizonClock()
    clock.start(0, Instant(0, 1_000 * SECOND))
    assert clock.advance(Instant(SECOND, 1_001 * SECOND)) == 1_001 * SECOND
    ahead = clock.advance(Instant(9 * SECOND, 1_009 * SECOND + 3_600 * SECOND))
    assert ahead == 1_010 * SECOND
    behind = clock.advance(Instant(17 * SECOND, 0))
    assert ahead < behind == 1_017 * SECOND


def test_a_new_primary_makes_up_a_failover_but_not_an_hour() -> None:
    clock = HorizonClock()
    clock.start(1_000 * SECOND, Instant(0, 1_002 * SECOND))
    assert clock.horizon_ns == 1_002 * SECOND
    clock.start(1_000 * SECOND, Instant(0, 9_000 * SECOND))
    assert clock.horizon_ns == 1_000 * SECOND + START_JUMP_NS
    clock.start(1_000 * SECOND, Instant(0, 10 * SECOND))
    assert clock.horizon_ns == 1_000 * SECOND


def test_expiries_are_forgotten_when_the_horizon_has_passed_them() -> None:
    clock = HorizonClock()
    assert clock.next_ns() is None
    clock.note(5 << BUCKET_BITS)
    clock.note((5 << BUCKET_BITS) + 1)
    clock.note(9 << BUCKET_BITS)
    clock.passed((5 << BUCKET_BITS) + 7)
    assert clock.next_ns() == 5 << BUCKET_BITS
    clock.passed(6 << BUCKET_BITS)
    assert clock.next_ns() == 9 << BUCKET_BITS


def test_a_lease_only_grows_unless_it_is_capped() -> None:
    lease = PrimaryLease(600)
    assert lease.extend(100)
    assert not lease.extend(50)
    assert lease.until_ns == 700
    lease.cap(20)
    assert lease.until_ns == 620


def test_patience_counts_from_birth_and_refuses_what_it_left() -> None:
    patience = Patience(640, 100)
    assert patience.ends_ns() == 740
    patience.heard(200)
    patience.heard(150)
    assert patience.ends_ns() == 840
    patience.propose(4)
    assert (patience.refuses(4), patience.refuses(5)) == (True, False)


# ------------------------------------------------------------------ the set, copies, waiting


def test_pending_members_hold_and_grant_too() -> None:
    in_sync = InSync(P)
    in_sync.configure((P, S), (P, S, J), 11, 0)
    assert in_sync.held_lsn(10) == 0
    in_sync.followers[S].acknowledged(10)
    in_sync.followers[S].granted_ns = 70
    assert (in_sync.held_lsn(10), in_sync.granted_ns(99)) == (10, 70)
    in_sync.grow((J,))
    in_sync.followers[J].acknowledged(8)
    in_sync.followers[J].granted_ns = 60
    assert (in_sync.held_lsn(10), in_sync.granted_ns(99)) == (8, 60)
    in_sync.grow(())
    in_sync.configure((P,), (P,), 11, 0)
    assert (in_sync.held_lsn(10), in_sync.granted_ns(99), in_sync.followers) == (10, 99, {})


class _Snapshot:
    def __init__(self, *batches: tuple[tuple[bytes, bytes], ...]) -> None:
        self.batches = list(batches)
        self.closed = False

    def next_items(self, bytes_max: int) -> tuple[tuple[bytes, bytes], ...]:
        return self.batches.pop(0) if self.batches else ()

    def close(self) -> None:
        self.closed = True


def test_a_copy_goes_part_by_part_and_ends_only_when_it_may() -> None:
    sender, receiver = CopySender(1, 40, 2, 7, 100), CopyReceiver()
    assert receiver.takes(sender.offer(P, 2))
    sender.acknowledged(0)
    snapshot = _Snapshot(((b"a", b"1"),), ((b"b", b"2"),), ((b"c", b"3"),))
    sender.begin(snapshot, 45)
    parts = sender.next_parts(P, 2, (), False)
    assert [part.part for part in parts] == [1, 2]
    assert sender.next_parts(P, 2, (), False) == []
    assert receiver.takes(parts[1]) == [], "it overtook the first and waits for it"
    assert receiver.takes(parts[0]) == parts
    assert receiver.takes(parts[1]) == []
    sender.acknowledged(2)
    assert [part.part for part in sender.next_parts(P, 2, (), False)] == [3]
    sender.acknowledged(3)
    assert not sender.complete
    (last,) = sender.next_parts(P, 2, ((1, 2, 3, 1, 2, 3, 0),), True)
    assert (last.last, last.visible_lsn, last.base_lsn, snapshot.closed) == (True, 45, 40, True)
    sender.acknowledged(last.part)
    assert sender.complete


def test_a_newer_copy_takes_the_place_of_an_unfinished_one() -> None:
    receiver = CopyReceiver()
    old, new = CopySender(1, 40, 2, 0, 100), CopySender(2, 50, 2, 0, 100)
    assert receiver.takes(old.offer(P, 2))
    assert receiver.takes(new.offer(P, 2))
    assert not receiver.takes(old.offer(P, 2))
    assert receiver.takes(CopySender(1, 60, 3, 0, 100).offer(S, 3))


def test_what_waits_comes_out_by_lsn() -> None:
    waiting = Waiting()
    waiting.park_write(9, 1, (OperationResult(Outcome.DONE),))
    waiting.park_read(4, 2, (b"k",))
    waiting.park_read(9, 3, (b"k",))
    assert [parked[2] for parked in waiting.ready(8)] == [2]
    assert [parked[2] for parked in waiting.ready(9)] == [1, 3]
    waiting.park_read(5, 4, ())
    assert [parked[2] for parked in waiting.take_all()] == [4]
