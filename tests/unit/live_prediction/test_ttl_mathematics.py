"""The closed formula beside a search for the minimum of the same costs."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from daycache_ray.structures.ttl_mathematics import (
    EntryCosts,
    TtlBounds,
    cost_per_s,
    optimal_ttl_s,
    rate_for_probability,
)

WIDE = TtlBounds(1e-6, 1e9)
rates = st.floats(1e-4, 1e3)
probabilities = st.floats(0.0, 1.0)


@given(rates, st.floats(0.01, 1.0), st.floats(1e-5, 10.0), st.floats(1e-4, 10.0), st.floats(1e-4, 10.0))
def test_no_other_ttl_costs_less(rate, probability, change, reload_s, stale_s):
    costs = EntryCosts(reload_s, stale_s, 0.0)
    best_s = optimal_ttl_s(rate, probability, change, costs, WIDE)
    assume(WIDE.least_s < best_s < WIDE.most_s)
    least = cost_per_s(best_s, rate, probability, change, costs)
    for factor in (0.2, 0.7, 0.97, 1.03, 1.5, 5.0):
        assert least <= cost_per_s(best_s * factor, rate, probability, change, costs) * (1 + 1e-9)


@given(rates, st.floats(1e-5, 10.0), st.floats(1e-4, 1.0))
def test_the_holding_price_is_part_of_the_minimum(rate, change, hold):
    costs = EntryCosts(2.0, 0.5, hold)
    best_s = optimal_ttl_s(rate, 1.0, change, costs, WIDE)
    assume(WIDE.least_s < best_s < WIDE.most_s)
    least = cost_per_s(best_s, rate, 1.0, change, costs)
    for factor in (0.5, 0.95, 1.05, 2.0):
        assert least <= cost_per_s(best_s * factor, rate, 1.0, change, costs) * (1 + 1e-9)


@given(rates, probabilities, probabilities, st.floats(0.0, 10.0))
def test_a_likelier_key_never_lives_shorter(rate, one, other, change):
    costs = EntryCosts(0.1, 0.05, 1e-5)
    bounds = TtlBounds(0.1, 3_600.0)
    low, high = sorted((one, other))
    short_s = optimal_ttl_s(rate, low, change, costs, bounds)
    assert bounds.least_s <= short_s <= optimal_ttl_s(rate, high, change, costs, bounds) <= bounds.most_s


def test_dear_values_live_longer_and_changing_ones_shorter():
    bounds = TtlBounds(0.01, 1e6)
    cheap = optimal_ttl_s(1.0, 0.8, 0.1, EntryCosts(0.01, 0.05, 0.0), bounds)
    dear = optimal_ttl_s(1.0, 0.8, 0.1, EntryCosts(1.0, 0.05, 0.0), bounds)
    changing = optimal_ttl_s(1.0, 0.8, 5.0, EntryCosts(1.0, 0.05, 0.0), bounds)
    assert cheap < dear
    assert changing < dear


def test_what_never_changes_lives_as_long_as_it_may():
    assert optimal_ttl_s(1.0, 0.5, 0.0, EntryCosts(0.1, 0.1, 0.0), TtlBounds(1.0, 60.0)) == 60.0


def test_what_nobody_asks_for_is_not_worth_holding():
    costs = EntryCosts(0.1, 0.1, 0.01)
    assert optimal_ttl_s(1e-4, 0.5, 0.1, costs, TtlBounds(1.0, 60.0)) == 1.0
    assert optimal_ttl_s(0.0, 0.0, 0.1, costs, TtlBounds(1.0, 60.0)) == 1.0


def test_a_rate_for_a_probability():
    assert rate_for_probability(0.0, 10.0) == 0.0
    assert rate_for_probability(1.0, 10.0) < 10.0
    with pytest.raises(AssertionError):
        rate_for_probability(1.5, 10.0)
