"""What kind of demand a key has, on made-up streams whose kind is known."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daycache_ray.structures.access_patterns import AccessPatterns, PatternSettings, variation_ratio
from daycache_ray.words.types import AccessPattern

KEY = 7


def test_a_key_nobody_asked_for_has_no_pattern():
    assert AccessPatterns().classify(KEY, 0.0) is None
    assert AccessPatterns().rate_per_s(KEY, 0.0) == 0.0


def test_one_access_is_cold():
    assert AccessPatterns().observe(KEY, 1, 100.0) is AccessPattern.COLD


def test_steady_demand_of_many_is_hot():
    patterns = AccessPatterns()
    rng = random.Random(1)
    now_s = 0.0
    for _ in range(300):
        now_s += rng.expovariate(1.0)
        verdict = patterns.observe(KEY, rng.randrange(20), now_s)
    assert verdict is AccessPattern.HOT
    assert patterns.rate_per_s(KEY, now_s) == pytest.approx(1.0, rel=0.3)


def test_a_sudden_crowd_on_a_quiet_key_is_a_burst_and_then_hot_or_cold():
    patterns = AccessPatterns()
    for minute in range(40):
        patterns.observe(KEY, minute % 3, minute * 61.0 + minute % 7)
    start_s = 2_500.0
    for access in range(20):
        verdict = patterns.observe(KEY, access, start_s + access * 0.2)
    assert verdict is AccessPattern.BURST
    assert patterns.classify(KEY, start_s + 2_000.0) is AccessPattern.COLD


def test_a_dashboard_is_periodic_although_others_look_too():
    patterns = AccessPatterns()
    for round_number in range(12):
        for client in (1, 2):
            patterns.observe(KEY, client, round_number * 30.0 + client * 11.0)
        if round_number % 5 == 4:
            patterns.observe(KEY, 9, round_number * 30.0 + 17.3)
    now_s = 11 * 30.0 + 22.0
    assert patterns.classify(KEY, now_s) is AccessPattern.PERIODIC
    assert patterns.period_s(KEY) == pytest.approx(30.0)
    assert patterns.visitor_period_s(1, KEY) == pytest.approx(30.0)
    assert patterns.visitor_period_s(9, KEY) == 0.0


def test_three_dashboards_out_of_step_are_periodic_where_their_mixture_is_not():
    mixed, apart = AccessPatterns(), AccessPatterns()
    dashboards = enumerate(((0, 30), (4, 47), (9, 61)))
    times = sorted((phase + visit * period, client) for client, (phase, period) in dashboards for visit in range(14))
    for now_s, client in times:
        together = mixed.observe(KEY, 0, float(now_s))
        alone = apart.observe(KEY, client, float(now_s))
    assert alone is AccessPattern.PERIODIC
    assert together is not AccessPattern.PERIODIC


def test_a_periodic_key_that_misses_three_visits_is_periodic_no_more():
    patterns = AccessPatterns()
    for visit in range(12):
        patterns.observe(KEY, 1, visit * 20.0)
    assert patterns.classify(KEY, 11 * 20.0 + 50.0) is AccessPattern.PERIODIC
    assert patterns.classify(KEY, 11 * 20.0 + 61.0) is not AccessPattern.PERIODIC


def test_retries_within_half_a_second_are_one_visit():
    patterns = AccessPatterns()
    for visit in range(12):
        for retry in range(3):
            patterns.observe(KEY, 1, visit * 20.0 + retry * 0.1)
    assert patterns.visitor_period_s(1, KEY) == pytest.approx(20.0, rel=0.05)


def test_a_verdict_changes_only_after_three_in_a_row():
    patterns = AccessPatterns(PatternSettings(verdicts_needed=3))
    verdicts = [patterns.observe(KEY, client, client * 1.0) for client in range(5)]
    assert verdicts[:4] == [AccessPattern.COLD] * 4
    assert verdicts[4] is AccessPattern.HOT
    assert patterns.statistics().switches_count == 1


def test_a_clock_that_runs_back_is_harmless():
    patterns = AccessPatterns()
    patterns.observe(KEY, 1, 100.0)
    patterns.observe(KEY, 1, 50.0)
    assert patterns.rate_per_s(KEY, 100.0) > 0.0


def test_variation_ignores_one_holiday():
    assert variation_ratio([30.0, 30.0, 30.0, 900.0]) == 0.0
    assert variation_ratio([1.0, 30.0, 90.0, 900.0]) > 0.15


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 50), st.floats(0, 1e6)), max_size=300))
def test_memory_is_bounded_and_rates_are_numbers(stream):
    patterns = AccessPatterns(PatternSettings(keys_max=16, visitors_max=24))
    for key, client, now_s in stream:
        assert isinstance(patterns.observe(key, client, now_s), AccessPattern)
        assert 0.0 <= patterns.rate_per_s(key, now_s) < float("inf")
    counts = patterns.statistics()
    assert counts.keys_count <= 16
    assert counts.visitors_count <= 24
