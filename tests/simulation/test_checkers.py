"""The checkers themselves: histories that are fine, and histories that are not."""

from __future__ import annotations

from itertools import combinations, permutations
from random import Random

import pytest

from daycache_ray.simulation.linearizability import Call, Undecided, _apply, is_linearizable
from daycache_ray.simulation.truth import Place, Truth, Violation
from daycache_ray.words.operations import OperationResult
from daycache_ray.words.records import LogRecord, RecordKind


def _write(start: int, end: int, value: object, *, known: bool = True) -> Call:
    return Call(start, end, "write", value, known=known)


def _read(start: int, end: int, value: object) -> Call:
    return Call(start, end, "read", seen=value)


def _swap(start: int, end: int, expected: object, value: object, done: bool, seen: object = None) -> Call:
    return Call(start, end, "swap", value, expected, done, seen)


def _increment(start: int, end: int, by: int, number: int, *, known: bool = True) -> Call:
    return Call(start, end, "increment", by, seen=number, known=known)


ACCEPTED = {
    "nothing": [],
    "read beside a write sees the old value": [_write(0, 1, "a"), _write(2, 9, "b"), _read(3, 4, "a")],
    "read beside a write sees the new value": [_write(0, 1, "a"), _write(2, 9, "b"), _read(3, 4, "b")],
    "unknown write seen late": [_write(0, 1, "a"), _write(2, 0, "b", known=False), _read(3, 4, "a"), _read(5, 6, "b")],
    "unknown write never seen": [_write(0, 1, "a"), _write(2, 0, "b", known=False), _read(3, 4, "a")],
    "overlapping swaps, one wins": [
        _write(0, 1, "a"), _swap(2, 9, "a", "b", True), _swap(3, 8, "a", "c", False, "b"),
    ],
    "overlapping increments answer 2 and 1": [_increment(0, 9, 1, 2), _increment(1, 8, 1, 1)],
    "add of an absent key": [Call(0, 1, "add", "a"), Call(2, 3, "add", "b", done=False), _read(4, 5, "a")],
    "deleted, then absent": [_write(0, 1, "a"), Call(2, 3, "delete"), _read(4, 5, None)],
}  # fmt: skip
REFUSED = {
    "stale read": [_write(0, 1, "a"), _write(2, 3, "b"), _read(4, 5, "a")],
    "flip: new, then old": [_write(0, 1, "a"), _write(2, 9, "b"), _read(3, 4, "b"), _read(5, 6, "a")],
    "lost write": [_write(0, 1, "a"), _read(2, 3, None)],
    "two swaps win": [_write(0, 1, "a"), _swap(2, 9, "a", "b", True), _swap(3, 8, "a", "c", True)],
    "skipped increment": [_increment(0, 1, 1, 1), _increment(2, 3, 1, 3)],
    "unknown increment applied twice": [
        _increment(0, 1, 1, 1), _increment(2, 0, 1, 0, known=False), _increment(3, 4, 1, 4),
    ],
    "read from the future": [_read(0, 1, "a"), _write(2, 3, "a")],
    "a write applied twice": [_write(0, 1, "a"), _write(2, 3, "b"), _read(4, 5, "b"), _read(6, 7, "a")],
    "deleted key comes back": [_write(0, 1, "a"), Call(2, 3, "delete"), _read(4, 5, "a")],
    "delete of an absent key that was there": [_write(0, 1, "a"), Call(2, 3, "delete", done=False)],
    "swap refused with a value that never was": [_write(0, 1, "a"), _swap(2, 3, "x", "y", False, "z")],
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_legal_history_is_accepted(name: str) -> None:
    assert is_linearizable(ACCEPTED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_an_illegal_history_is_refused(name: str) -> None:
    assert not is_linearizable(REFUSED[name])


def _legal(random: Random, count: int) -> list[Call]:
    """Calls of four clients that overlap, answered by a single copy at a moment between start and end."""
    calls: list[tuple[int, Call]] = []
    free = [0] * 4
    for number in range(count):
        client = random.randrange(4)
        start = free[client] + random.randrange(1, 5)
        moment = start + random.randrange(1, 10)
        free[client] = moment + random.randrange(1, 10)
        kind = random.choice(("read", "write"))
        calls.append((moment * 1000 + number, Call(start, free[client], kind, f"v{number}")))
    state, answered = None, []
    for _, call in sorted(calls, key=lambda one: one[0]):
        if call.kind == "write":
            state = call.argument
            answered.append(call)
        else:
            answered.append(call._replace(argument=None, seen=state))
    return answered


@pytest.mark.parametrize("seed", range(10))
def test_a_copy_with_one_answer_changed_is_refused(seed: int) -> None:
    random = Random(seed)
    calls = _legal(random, 200)
    assert is_linearizable(calls)
    place = next(i for i, call in enumerate(calls) if call.kind == "read" and i > 50)
    calls[place] = calls[place]._replace(seen="never written")
    assert not is_linearizable(calls)


def _fits_one_copy(calls: tuple[Call, ...]) -> bool:
    """The definition: some order of all known calls and some unknown ones, in real time, that a copy would answer."""
    known = [call for call in calls if call.known]
    unknown = [call for call in calls if not call.known]
    for count in range(len(unknown) + 1):
        for chosen in combinations(unknown, count):
            for order in permutations([*known, *chosen]):
                late = any(
                    later.known and later.end_ns < earlier.start_ns
                    for place, earlier in enumerate(order)
                    for later in order[place + 1 :]
                )
                state: object = None
                fits = not late
                for call in order if fits else ():
                    fits, state = _apply(call, state)
                    if not fits:
                        break
                if fits:
                    return True
    return False


def test_the_search_agrees_with_the_definition_on_small_histories() -> None:
    random = Random(3)
    verdicts = {True: 0, False: 0}
    for _ in range(1_500):
        calls = []
        for _ in range(random.randrange(2, 6)):
            start = random.randrange(10)
            kind = random.choice(("read", "read", "write", "write", "delete", "add", "swap"))
            value, expected, seen = (random.choice((None, "a", "b")) for _ in range(3))
            known = kind == "read" or random.random() < 0.8
            done = kind == "write" or random.random() < 0.5
            calls.append(
                Call(start, start + random.randrange(8), kind, value or "c", expected, done, seen, known)
            )  # fmt: skip
        verdict = is_linearizable(calls)
        assert verdict == _fits_one_copy(tuple(calls)), calls
        verdicts[verdict] += 1
    assert min(verdicts.values()) > 100


def test_too_long_a_search_is_no_verdict() -> None:
    calls = [_write(0, 100, number) for number in range(20)] + [_read(101, 102, "none of them")]
    with pytest.raises(Undecided):
        is_linearizable(calls, steps_max=1_000)


def _put(lsn: int, epoch: int = 1, key: bytes = b"k", expires: int = 0, sequence: int = 0) -> LogRecord:
    return LogRecord(lsn, epoch, RecordKind.PUT, key, b"v", expires_at_ns=expires, client=1, sequence=sequence or lsn)


def test_two_records_at_one_place_are_seen() -> None:
    truth = Truth()
    truth.settle(_put(1), "node 0")
    truth.settle(_put(1), "node 1")
    with pytest.raises(Violation, match="settled before"):
        truth.settle(_put(1, epoch=2), "node 1")


def test_a_request_applied_twice_is_seen() -> None:
    truth = Truth()
    truth.settle(_put(1, sequence=5), "node 0")
    with pytest.raises(Violation, match="applied twice"):
        truth.settle(_put(2, sequence=5), "node 0")


def test_a_gap_in_what_is_settled_is_seen() -> None:
    with pytest.raises(Violation, match="the last settled one"):
        Truth().settle(_put(2), "node 0")


def test_a_horizon_that_goes_back_is_seen() -> None:
    truth = Truth()
    truth.settle(LogRecord(1, 1, RecordKind.HORIZON, expires_at_ns=100), "node 0")
    with pytest.raises(Violation, match="went back"):
        truth.settle(LogRecord(2, 1, RecordKind.HORIZON, expires_at_ns=99), "node 0")


def test_an_entry_is_absent_only_after_it_was_removed_or_expired() -> None:
    truth = Truth()
    truth.settle(_put(1, expires=50), "node 0")
    assert truth.absent_since(b"k", Place(1)) is None
    truth.settle(LogRecord(2, 1, RecordKind.HORIZON, expires_at_ns=60), "node 0")
    assert truth.absent_since(b"k", Place(1)) == Place(1, 1)
    truth.settle(_put(3), "node 0")
    assert truth.absent_since(b"k", Place(3)) is None
    truth.settle(LogRecord(4, 1, RecordKind.DELETE, b"k"), "node 0")
    assert truth.absent_since(b"k", Place(3)) == Place(4)
    assert truth.absent_since(b"unknown", Place(0)) == Place(0)


def test_an_eviction_of_another_version_changes_nothing() -> None:
    truth = Truth()
    truth.settle(_put(1), "node 0")
    truth.settle(_put(2), "node 0")
    truth.settle(LogRecord(3, 1, RecordKind.EVICT, b"k", target_epoch=1, target_lsn=1), "node 0")
    shown = truth.shows(b"k", 3)
    assert shown is not None
    assert shown.lsn == 2


def test_checks_refuse_what_clients_must_not_see() -> None:
    from daycache_ray.simulation.checkers import Checks

    checks = Checks([], 1)
    for lsn in (1, 2, 3):
        checks.truth.settle(_put(lsn), "node 0")
    checks.truth.commit_lsn = 2
    checks.read(b"k", Place(0), (1, 2), b"v", "client 1")
    with pytest.raises(Violation, match="older than"):
        checks.read(b"k", checks.floor(b"k"), (1, 1), b"v", "client 2")
    with pytest.raises(Violation, match="not committed"):
        checks.read(b"k", Place(0), (1, 3), b"v", "client 2")
    with pytest.raises(Violation, match="written was"):
        checks.read(b"k", Place(0), (1, 2), b"other", "client 2")
    with pytest.raises(Violation, match="found nothing"):
        checks.read(b"k", Place(2), None, None, "client 2")
    with pytest.raises(Violation, match="behind"):
        checks.written(b"k", Place(2), OperationResult(1, 1, 2), 1, 2)
