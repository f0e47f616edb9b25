"""The synthetic day: the same for the same seed, its dice counted rightly, its chains as documented."""

from collections import defaultdict
from itertools import pairwise

import pyarrow.parquet as pq
import pytest

from bench.trading_day import CHAINS, CLIENT_COUNTS, KEY_TYPES, DayPlan, trading_day

PLAN = DayPlan(seed=5, requests_count=9_000, duration_s=20.0)


@pytest.fixture(scope="module")
def day():
    return trading_day(PLAN)


def of_clients(day):
    streams = defaultdict(list)
    for access in day.accesses:
        streams[access.client].append(access)
    return streams


def chains_of(stream):
    """Cut a client's accesses into its chains, noise taken out."""
    chains = []
    for access in (a for a in stream if a.kind != "reference"):
        if access.is_random or not chains:
            chains.append([])
        chains[-1].append(access)
    return chains


def test_the_same_seed_gives_the_same_day_and_another_seed_another(day):
    assert trading_day(PLAN).accesses == day.accesses
    assert trading_day(DayPlan(seed=6, requests_count=9_000, duration_s=20.0)).accesses != day.accesses


def test_the_day_is_in_order_and_about_as_large_as_planned(day):
    times = [access.at_s for access in day.accesses]
    assert times == sorted(times)
    assert abs(len(times) / PLAN.requests_count - 1) < 0.07
    assert {access.client for access in day.accesses} == set(range(sum(CLIENT_COUNTS.values())))


def test_chains_follow_their_service(day):
    for stream in of_clients(day).values():
        service = stream[0].service
        if service == "risk-service":
            continue
        kinds = tuple(step.removeprefix("pair ") for step in CHAINS[service])
        chains = chains_of(stream)
        for chain in chains:
            assert tuple(access.kind for access in chain) == kinds[: len(chain)]
        # Clients end with a whole chain: what is cut short would make later steps look like dice.
        assert all(len(chain) == len(kinds) for chain in chains)


def test_chains_stay_with_their_symbol_and_windows_are_sequential(day):
    for stream in of_clients(day).values():
        for chain in chains_of(stream):
            if stream[0].service == "analysis-service":
                parts = [access.key.split(":") for access in chain if access.kind == "candle"]
                assert len({symbol for _, symbol, _ in parts}) == 1
                numbers = [int(number) for _, _, number in parts]
                assert numbers == list(range(numbers[0], numbers[0] + 6))
            if stream[0].service == "market-data-service":
                assert len({access.key.split(":")[1] for access in chain}) == 1


def test_what_is_not_called_random_follows_from_the_past(day):
    """Every step that is not dice is the same function of (client, head, quarter): nothing hidden."""
    followers = {}
    for client, stream in of_clients(day).items():
        if stream[0].service in ("risk-service", "analysis-service"):
            continue
        for chain in chains_of(stream):
            quarter = min(int(4 * chain[0].at_s / PLAN.duration_s), 3)
            steps = tuple(access.key for access in chain[1:])
            assert followers.setdefault((client, chain[0].key, quarter), steps) == steps


def test_the_risk_service_goes_by_the_clock(day):
    (stream,) = [s for s in of_clients(day).values() if s[0].service == "risk-service"]
    steps = [access for access in stream if access.kind != "reference"]
    assert not any(access.is_random for access in steps)
    risks = [access for access in steps if access.kind == "risk"]
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(risks)]
    assert all(abs(gap - PLAN.refresh_s) < 0.3 for gap in gaps)
    desks = [access.key for access in risks]
    assert desks[: PLAN.desks_count] == [f"risk:{desk}" for desk in range(PLAN.desks_count)]


def test_the_random_share_is_what_is_printed(day):
    heads = noise = 0
    for stream in of_clients(day).values():
        noise += sum(access.kind == "reference" for access in stream)
        if stream[0].service != "risk-service":
            heads += len(chains_of(stream))
    assert day.random_ratio == (heads + noise) / len(day.accesses)
    assert f"{day.random_ratio:.1%} of the accesses are random" in day.describe()
    steps_count = len(day.accesses) - noise
    assert abs(noise / steps_count - PLAN.noise_ratio / (1 - PLAN.noise_ratio)) < 0.01


def test_pbest_is_the_rate_at_which_an_all_knowing_predictor_is_right():
    """Count the hits of a predictor that is told the chain: it names the next step, or the top symbol."""
    plan = DayPlan(seed=9, requests_count=30_000, duration_s=60.0, noise_ratio=0.2)
    day = trading_day(plan)
    sure = [access for access in day.accesses if access.pbest == 1 - plan.noise_ratio]
    right = sum(access.kind != "reference" for access in sure)
    assert abs(right / len(sure) - 0.8) < 0.01
    heads = [access for access in day.accesses if access.pbest < 1 - plan.noise_ratio]
    assert all(access.is_random for access in heads)
    assert 0.5 < day.best_ratio < 0.8


def test_without_noise_only_heads_are_random():
    day = trading_day(DayPlan(seed=2, requests_count=2_000, duration_s=5.0, noise_ratio=0.0))
    assert not any(access.kind == "reference" for access in day.accesses)


def test_the_opening_is_busier_than_noon(day):
    def rate(first, last):
        return sum(first <= a.at_s / PLAN.duration_s < last for a in day.accesses) / (last - first)

    assert rate(0.0, 0.08) > 1.5 * rate(0.4, 0.6)


def test_partners_drift(day):
    pairs = [defaultdict(set) for _ in range(4)]
    for stream in of_clients(day).values():
        if stream[0].service != "hft-service":
            continue
        for chain in chains_of(stream):
            pairs[min(int(4 * chain[0].at_s / PLAN.duration_s), 3)][chain[0].key].add(chain[2].key)
    both = [symbol for symbol in pairs[0] if symbol in pairs[3]]
    changed = sum(pairs[0][symbol] != pairs[3][symbol] for symbol in both)
    assert 0.2 < changed / len(both) < 0.9


def test_a_day_becomes_a_trace(day, tmp_path):
    path = tmp_path / "day.parquet"
    day.write_parquet(path)
    table = pq.read_table(path)
    assert table.column_names == ["ts", "key", "name", "client", "service", "type", "cost_us", "pbest"]
    assert table.num_rows == len(day.accesses)
    assert table["name"].to_pylist()[:100] == [access.key for access in day.accesses[:100]]
    assert len(set(table["key"].to_pylist())) == len(day.keys)
    assert set(table["cost_us"].to_pylist()) <= {kind.origin_us for kind in KEY_TYPES.values()}


@pytest.mark.parametrize("wrong", [{"noise_ratio": 1.0}, {"requests_count": 0}, {"duration_s": 0}])
def test_an_impossible_plan_is_refused(wrong):
    with pytest.raises(ValueError):
        DayPlan(**wrong)
