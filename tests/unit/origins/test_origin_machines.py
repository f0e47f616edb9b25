"""The machines that spare an origin: breaker, early refresh, slots; time and chance are arguments."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daycache_ray.structures.circuit_breaker import DOUBLINGS_MAX, CircuitBreaker
from daycache_ray.structures.early_refresh import is_early_expired
from daycache_ray.structures.load_slots import Entrance, LoadSlots


class Whole(random.Random):
    """Chance that always takes the longest pause."""

    def random(self) -> float:
        return 1.0


def opened(open_s: float = 1.0, failures_max: int = 3) -> CircuitBreaker:
    breaker = CircuitBreaker(failures_max, open_s, 30.0, Whole())
    assert [breaker.failed(0.0) for _ in range(failures_max)] == [False] * (failures_max - 1) + [True]
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_does_not() -> None:
    breaker = CircuitBreaker(2, 1.0, 30.0, Whole())
    for _ in range(5):
        assert breaker.failed(0.0) is False
        assert breaker.succeeded() is False
        assert breaker.take(0.0)
    assert breaker.openings_count == 0


def test_one_probe_at_a_time_and_it_closes() -> None:
    breaker = opened()
    assert not breaker.take(0.99)
    assert breaker.take(1.0)
    assert not breaker.take(1.0)
    assert breaker.succeeded() is True
    assert breaker.take(1.0)
    assert breaker.take(1.0)
    assert breaker.wait_s(1.0) == 0


def test_each_probe_that_fails_doubles_the_pause_up_to_a_bound() -> None:
    breaker = opened()
    now_s = 0.0
    pauses = []
    for _ in range(DOUBLINGS_MAX + 3):
        pauses.append(breaker.wait_s(now_s))
        now_s += pauses[-1]
        assert breaker.take(now_s)
        assert breaker.failed(now_s) is False
    assert pauses == [2.0 ** min(n, DOUBLINGS_MAX) for n in range(DOUBLINGS_MAX + 3)]
    assert breaker.openings_count == 1
    breaker.take(now_s + 100)
    breaker.succeeded()
    assert [breaker.failed(0.0) for _ in range(3)][-1]
    assert breaker.wait_s(0.0) == 1.0


def test_late_failures_of_questions_under_way_change_nothing() -> None:
    breaker = opened()
    for _ in range(10):
        breaker.failed(0.5)
    assert breaker.wait_s(0.5) == 0.5


def test_a_lost_probe_is_followed_by_another() -> None:
    breaker = opened()
    assert breaker.take(1.0)
    assert not breaker.take(30.9)
    assert breaker.take(31.0)


def test_a_probe_that_was_given_up_is_followed_by_another_at_once() -> None:
    breaker = opened()
    assert breaker.take(1.0)
    breaker.gave_up()
    assert breaker.take(1.0)
    assert breaker.failed(1.0) is False
    assert breaker.wait_s(1.0) == 2.0


def test_never_where_nobody_said_so() -> None:
    breaker = CircuitBreaker(None, 1.0, 30.0, Whole())
    assert not any(breaker.failed(0.0) for _ in range(1000))
    assert breaker.take(0.0)


def test_the_pause_is_jittered_in_full() -> None:
    waits = []
    for seed in range(400):
        breaker = CircuitBreaker(1, 1.0, 30.0, random.Random(seed))
        breaker.failed(0.0)
        waits.append(breaker.wait_s(0.0))
    assert min(waits) < 0.1
    assert max(waits) > 0.9
    assert 0.4 < sum(waits) / len(waits) < 0.6


@pytest.mark.parametrize(("left_s", "expected"), [(0.1, 0.9048), (1.0, 0.3679), (3.0, 0.0498)])
def test_early_expiry_follows_its_law(left_s: float, expected: float) -> None:
    rng = random.Random(7)
    share = sum(is_early_expired(left_s, 1.0, 1.0, rng) for _ in range(20_000)) / 20_000
    assert share == pytest.approx(expected, abs=0.015)


def test_early_expiry_at_the_ends() -> None:
    rng = random.Random(7)
    assert is_early_expired(0.0, 0.0, 1.0, rng)
    assert not any(is_early_expired(1.0, 0.0, 100.0, rng) for _ in range(1000))
    assert not any(is_early_expired(100.0, 0.01, 1.0, rng) for _ in range(1000))


@given(st.lists(st.sampled_from(["enter", "leave", "give up"])), st.integers(1, 3), st.integers(0, 3))
def test_slots_beside_a_list(steps: list[str], concurrency_max: int, queue_max: int) -> None:
    slots = LoadSlots(concurrency_max, queue_max)
    running: list[int] = []
    waiting: list[int] = []
    for ticket, step in enumerate(steps):
        if step == "enter":
            entrance = slots.enter(ticket)
            if len(running) < concurrency_max:
                assert entrance is Entrance.GO
                running.append(ticket)
            elif len(waiting) < queue_max:
                assert entrance is Entrance.WAIT
                waiting.append(ticket)
            else:
                assert entrance is Entrance.FULL
        elif step == "leave" and running:
            running.pop()
            heir = slots.leave()
            assert heir == (waiting[0] if waiting else None)
            if waiting:
                running.append(waiting.pop(0))
        elif step == "give up" and waiting:
            assert slots.give_up(waiting.pop())
            assert not slots.give_up(-1)
        assert (slots.taken_count, slots.waiting_count) == (len(running), len(waiting))
