"""The clockwork of the benches, with calls whose cost is known or does not matter."""

import itertools
import os

import pytest

from bench.measure import Case, Sample, Series, cpu_seconds, interleaved, machine, percentile, ratio, sample, summarise


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (0.999, 100), (1.0, 100), (0.0, 1)])
def test_percentile_is_the_nearest_rank(share, expected):
    assert percentile(range(1, 101), share) == expected


def test_a_summary_of_known_times():
    found = summarise([1_000, 3_000, 2_000, 10_000], wall_s=0.5, cpu_us=7.0)
    assert found == Sample(4, 2.0, 10.0, 10.0, 4.0, 8.0, 7.0)
    assert summarise([], wall_s=1.0).operations_count == 0


def test_a_sample_calls_with_the_arguments_in_turn_and_stops_at_its_limit():
    seen = []
    taken = sample(Case(seen.append, ("a", "b", "c")), duration_s=60.0, operations_max=7)
    assert seen == ["a", "b", "c", "a", "b", "c", "a"]
    assert taken.operations_count == 7
    assert 0 < taken.p50_us <= taken.p99_us


def test_what_a_case_leaves_is_settled_after_each_sample():
    order = []
    sample(Case(order.append, ("call",), settle=lambda: order.append("settled")), duration_s=60.0, operations_max=2)
    assert order == ["call", "call", "settled"]


def test_rounds_are_interleaved_after_a_warm_up():
    order = []
    cases = {name: Case(order.append, (name,)) for name in ("x", "y")}
    found = interleaved(cases, rounds=3, duration_s=0.001, warm_up_s=0.001)
    turns = [name for name, _ in itertools.groupby(order)]
    assert turns == ["x", "y", "x", "y", "x", "y"] or len(turns) >= 6
    assert {name: len(series.samples) for name, series in found.items()} == {"x": 3, "y": 3}


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    def series(*p50s):
        return Series(tuple(Sample(10, p50, p50, p50, p50, 1.0, 1.0) for p50 in p50s))

    # The second round ran on a machine ten times slower: both slowed, the ratio did not.
    assert ratio(series(10, 100, 10), series(1, 10, 1)) == 10
    assert series(1, 50, 2).median.p50_us == 2
    assert series(1, 50, 2).median.operations_count == 30


def test_processor_time_counts_own_work_and_forgives_the_dead():
    before = cpu_seconds()
    sum(range(2_000_000))
    assert cpu_seconds() > before
    assert cpu_seconds((2**22 + 5,)) < cpu_seconds((os.getpid(),)) + 1.0


def test_the_machine_is_described():
    found = machine()
    assert found["cores_count"] >= 1
    assert found["memory_bytes"] > 0
    assert 0 < found["clock_us"] < 50
