"""The machine of write-behind: what is tried when, what is halved, what is given up."""

from __future__ import annotations

import random

from daycache_ray.protocol.write_behind import MS, Item, WriteBehind, WriteBehindSettings

SECOND = 1000 * MS


def machine(delay_s: float = 0.0, **settings: int) -> WriteBehind:
    return WriteBehind(WriteBehindSettings(int(delay_s * SECOND), **settings), random.Random(3))


def items(*lsns: int) -> list[Item]:
    return [Item(b"key %d" % lsn, 1, lsn) for lsn in lsns]


def test_nothing_goes_before_its_delay_is_over_unless_a_batch_is_full() -> None:
    behind = machine(1.0, batch_max=3)
    behind.note(2, 0)
    assert behind.take(items(1, 2), SECOND - 1) == ()
    assert behind.take(items(1, 2), SECOND) == tuple(items(1, 2))
    behind.succeeded()
    behind.note(5, SECOND)
    assert behind.take(items(3, 4, 5), SECOND) == tuple(items(3, 4, 5))


def test_one_batch_is_under_way_at_a_time() -> None:
    behind = machine()
    behind.note(2, 0)
    assert behind.take(items(1, 2), 0)
    assert behind.wanted_count(0) == 0
    behind.succeeded()
    assert behind.wanted_count(0) > 0


def test_a_drain_does_not_wait_for_the_delay() -> None:
    behind = machine(3600.0)
    behind.note(1, 0)
    assert behind.take(items(1), 0) == ()
    behind.draining = True
    assert behind.take(items(1), 0) == tuple(items(1))


def play(behind: WriteBehind, waiting: list[Item], until_ns: int, refuses: set[bytes], down_until_ns: int = 0) -> int:
    """Call an origin that refuses some keys, and all while it is down; return when nothing more can be written."""
    now_ns = 0
    while now_ns < until_ns:
        behind.note(max((item.lsn for item in waiting), default=0), now_ns)
        batch = behind.take(waiting, now_ns) if behind.wanted_count(now_ns) else ()
        if batch and now_ns >= down_until_ns and not refuses & {item.key for item in batch}:
            for item in behind.succeeded():
                waiting.remove(item)
        elif batch:
            behind.failed("refused", now_ns, is_permanent=False)
        if len(waiting) == len(behind.dead):
            return now_ns
        now_ns += 10 * MS
    raise AssertionError(f"{len(waiting)} wait, {len(behind.dead)} dead")


def test_a_poisoned_item_is_isolated_by_halving_and_the_others_go_on() -> None:
    behind = machine(batch_max=64, attempts_max=3)
    waiting = items(*range(1, 101))
    # Something more keeps coming, which shows that the origin is up.
    taken_ns = 0
    refused = 0
    lsn = 100
    while taken_ns < 10 * SECOND:
        lsn += 1
        waiting.append(Item(b"key %d" % lsn, 1, lsn))
        behind.note(lsn, taken_ns)
        batch = behind.take(waiting, taken_ns) if behind.wanted_count(taken_ns) else ()
        if any(item.key == b"key 37" for item in batch):
            refused += 1
            behind.failed("no", taken_ns, is_permanent=False)
        elif batch:
            for item in behind.succeeded():
                waiting.remove(item)
        taken_ns += 20 * MS
    assert [dead.item.lsn for dead in behind.dead.values()] == [37]
    assert refused <= 2 * 7 + 3, "some halving of 64 on the way, then three alone"
    assert all(item.lsn > 590 for item in waiting if item.lsn != 37)


def test_an_outage_makes_no_dead_letters_and_is_recovered_from() -> None:
    behind = machine(attempts_max=3, batch_max=16)
    waiting = items(*range(1, 51))
    ended_ns = play(behind, waiting, 400 * SECOND, set(), down_until_ns=120 * SECOND)
    assert not waiting
    assert not behind.dead
    assert ended_ns < 120 * SECOND + 15 * SECOND
    assert behind.failures_count < 100, "it backs off"


def test_a_permanent_failure_is_dead_at_once_and_halves_without_pause() -> None:
    behind = machine(batch_max=8)
    waiting = items(1, 2)
    behind.note(2, 0)
    assert len(behind.take(waiting, 0)) == 2
    behind.failed("never", 0, is_permanent=True)
    assert behind.take(waiting, 0) == (waiting[0],)
    behind.failed("never", 0, is_permanent=True)
    assert list(behind.dead) == [b"key 1"]
    assert behind.take(waiting, 0) == (waiting[1],)
    behind.succeeded()
    assert behind.take(waiting[:1], 0) == ()
    assert behind.retry([b"key 1"]) == 1
    assert behind.take(waiting[:1], 0) == (waiting[0],)


def test_a_newer_version_of_a_dead_letter_is_tried() -> None:
    behind = machine()
    behind.note(9, 0)
    behind.take(items(1), 0)
    behind.failed("never", 0, is_permanent=True)
    newer = Item(b"key 1", 1, 9)
    assert behind.take([newer], 0) == (newer,)
    assert not behind.dead


def test_with_too_many_dead_letters_the_queue_stands_still() -> None:
    behind = machine(batch_max=1, dead_letters_max=1)
    behind.note(2, 0)
    behind.take(items(1, 2), 0)
    behind.failed("never", 0, is_permanent=True)
    assert behind.wanted_count(0) == 0
    assert behind.drop([b"key 1", b"other"]) == tuple(items(1))
    assert behind.wanted_count(0) > 0


def test_ages_count_from_when_a_version_was_seen() -> None:
    behind = machine()
    for lsn in range(1, 5_000):
        behind.note(lsn, lsn * MS)
    assert behind.age_ns(1, 5_000 * MS) == 4_999 * MS
    assert 0 <= behind.age_ns(4_000, 5_000 * MS) <= 1_000 * MS
    assert behind.age_ns(9_000, 5_000 * MS) == 0
