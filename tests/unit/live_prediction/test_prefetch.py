"""What the prefetch machine loads, leaves and counts, in virtual time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from daycache_ray.protocol.prefetch import (
    Candidate,
    Outcome,
    PrefetchMachine,
    PrefetchSettings,
    TokenBucket,
    held_out,
)

OPEN = PrefetchSettings(threshold_ratio=0.2, per_s_max=1_000.0, holdout_ratio=0.0)


def _machine(**changes) -> PrefetchMachine:
    return PrefetchMachine(OPEN._replace(**changes), 0.0)


def _keys(chosen) -> list[int]:
    return [candidate.key for candidate in chosen]


def test_likely_keys_are_loaded_once():
    machine = _machine()
    offered = [Candidate(1, 0.9, 1), Candidate(2, 0.19, 1), Candidate(3, 0.2, 2)]
    assert _keys(machine.offer(offered, 0.0)) == [1, 3]
    assert machine.offer(offered, 0.0) == ()
    machine.loaded(1, 0.1)
    assert machine.offer(offered, 0.2) == (), "it waits to be asked for"


def test_not_a_number_is_not_likely():
    assert _machine().offer([Candidate(1, float("nan"), 1)], 0.0) == ()


def test_the_budget_is_a_rate():
    machine = _machine(per_s_max=10.0, in_flight_max=1_000)
    assert len(machine.offer([Candidate(key, 1.0, 1) for key in range(50)], 0.0)) == 10
    assert machine.offer([Candidate(100, 1.0, 1)], 0.05) == ()
    assert len(machine.offer([Candidate(key, 1.0, 1) for key in range(200, 250)], 0.5)) == 5
    assert machine.statistics().over_budget_count == 86


def test_no_more_than_so_many_in_flight():
    machine = _machine(in_flight_max=3)
    assert _keys(machine.offer([Candidate(key, 1.0, 1) for key in range(5)], 0.0)) == [0, 1, 2]
    machine.failed(0, 0.1)
    assert _keys(machine.offer([Candidate(key, 1.0, 1) for key in range(5)], 0.2)) == [3]


def test_useful_late_wasted():
    machine = _machine(window_s=60.0)
    machine.offer([Candidate(key, 0.5, key) for key in (1, 2, 3, 4)], 10.0)
    for key in (1, 3, 4):
        machine.loaded(key, 10.2)
    assert machine.accessed(1, True, 11.0) is Outcome.USEFUL
    assert machine.accessed(2, False, 10.1) is Outcome.LATE
    machine.loaded(2, 10.4)
    assert machine.accessed(3, False, 12.0) is Outcome.WASTED, "it was evicted before it was asked for"
    machine.tick(70.0)
    assert machine.statistics().wasted_count == 1
    machine.tick(70.3)
    counted = machine.statistics()
    assert (counted.useful_count, counted.late_count, counted.wasted_count) == (1, 1, 2)
    assert counted.saved_s == (10.2 - 10.0) + (10.1 - 10.0)
    assert [receipt.outcome for receipt in machine.receipts()] == [
        Outcome.USEFUL,
        Outcome.LATE,
        Outcome.WASTED,
        Outcome.WASTED,
    ]
    assert machine.receipts()[0].step == 1


def test_an_access_told_late_that_came_before_the_load_is_late_and_not_wasted():
    machine = _machine()
    machine.offer([Candidate(1, 0.5, 1)], 10.0)
    machine.loaded(1, 10.5)
    assert machine.accessed(1, False, 10.3) is Outcome.LATE
    machine.offer([Candidate(2, 0.5, 1)], 20.0)
    machine.loaded(2, 20.5)
    assert machine.accessed(2, False, 19.0) is Outcome.LATE
    assert machine.receipts()[-1].saved_s == 0.0, "asked for before it was issued: nothing was saved"


def test_a_load_that_never_comes_back_is_given_up():
    machine = _machine(in_flight_max=1, load_deadline_s=5.0)
    machine.offer([Candidate(1, 0.5, 1)], 0.0)
    machine.tick(4.9)
    assert machine.offer([Candidate(2, 0.5, 1)], 4.9) == ()
    machine.tick(5.0)
    assert _keys(machine.offer([Candidate(2, 0.5, 1)], 5.0)) == [2]
    machine.loaded(1, 6.0)
    assert machine.statistics().failed_count == 1


def test_what_was_just_there_is_not_loaded():
    machine = _machine()
    machine.accessed(1, True, 0.0)
    machine.offer([Candidate(2, 0.5, 1)], 0.0)
    machine.present(2, 0.1)
    assert machine.offer([Candidate(1, 0.5, 1), Candidate(2, 0.5, 1)], 0.5) == ()
    assert _keys(machine.offer([Candidate(1, 0.5, 1), Candidate(2, 0.5, 1)], 1.2)) == [1, 2]


def test_the_holdout_is_never_loaded_and_says_what_would_have_been():
    machine = _machine(holdout_ratio=0.5, in_flight_max=1_000)
    held = [key for key in range(100) if held_out(key, 0.5)]
    chosen = _keys(machine.offer([Candidate(key, 0.9, 1) for key in range(100)], 0.0))
    assert set(chosen) == set(range(100)) - set(held)
    assert 20 < len(held) < 80
    for key in chosen:
        machine.loaded(key, 0.1)
        machine.accessed(key, True, 1.0)
    for key in held:
        machine.accessed(key, False, 1.0)
        machine.accessed(key, True, 2.0)
    counted = machine.statistics()
    assert counted.prefetched_miss_ratio == 0.0
    assert counted.holdout_miss_ratio == 1.0
    assert counted.holdout_asked_count == len(held), "each candidate counts once"


def test_a_held_out_candidate_is_forgotten_after_the_window():
    machine = _machine(holdout_ratio=0.5, window_s=60.0)
    held = next(key for key in range(100) if held_out(key, 0.5))
    machine.offer([Candidate(held, 0.9, 1)], 0.0)
    machine.tick(60.0)
    machine.accessed(held, False, 61.0)
    assert machine.statistics().holdout_asked_count == 0


def test_a_percent_of_the_keys_is_held_out():
    assert 50 < sum(held_out(key * 0x1234567, 0.01) for key in range(10_000)) < 200
    assert not any(held_out(key, 0.0) for key in range(1_000))


def test_waste_raises_the_threshold_above_the_regions_own():
    machine = _machine(per_s_max=1e6, in_flight_max=10_000)
    for key in range(2_000):
        machine.offer([Candidate(key, 0.99, 1)], 0.0)
        machine.loaded(key, 0.0)
        machine.accessed(key, False, 1.0)
    assert machine.threshold_ratio > 0.2
    for key in range(2_000, 8_000):
        machine.offer([Candidate(key, 0.99, 1)], 0.0)
        machine.loaded(key, 0.0)
        machine.accessed(key, True, 1.0)
    assert machine.threshold_ratio == 0.2, "never below what the region allows"


def test_a_bucket_never_holds_more_than_a_second():
    bucket = TokenBucket(5.0, 0.0)
    assert sum(bucket.take(1_000.0) for _ in range(20)) == 5
    slow = TokenBucket(0.1, 0.0)
    assert slow.take(0.0)
    assert not slow.take(9.0)
    assert slow.take(10.1)


events = st.lists(
    st.tuples(st.sampled_from(["offer", "loaded", "present", "failed", "hit", "miss", "tick"]), st.integers(0, 30)),
    max_size=200,
)


@settings(max_examples=60, deadline=None)
@given(events)
def test_every_load_has_at_most_one_receipt_and_memory_is_bounded(stream):
    machine = _machine(tracked_max=8, in_flight_max=4, receipts_max=10_000, holdout_ratio=0.1, window_s=7.0)
    now_s = 0.0
    for what, key in stream:
        now_s += 0.25
        if what == "offer":
            machine.offer([Candidate(key, 0.9, 1)], now_s)
        elif what in ("hit", "miss"):
            machine.accessed(key, what == "hit", now_s)
        elif what == "tick":
            machine.tick(now_s)
        else:
            getattr(machine, what)(key, now_s)
        counted = machine.statistics()
        assert counted.in_flight_count <= 4
        assert counted.waiting_count <= 8
        assert counted.issued_count == len(machine.receipts()) + counted.in_flight_count + counted.waiting_count
