"""Traces as days: columns that are there are used, those that are not are named."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.recorded_day import COST_RATIO, KINDS, ORIGIN_US, read_day
from bench.trading_day import DayPlan, trading_day


def test_a_trace_of_keys_alone_is_spread_evenly(tmp_path):
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"key": pa.array([7, 8, 7, 9], pa.uint64())}), path)
    day = read_day(path, requests_max=10, duration_s=3.0)
    assert [access.key for access in day.accesses] == ["tracea:7", "tracea:8", "tracea:7", "tracea:9"]
    assert [access.at_s for access in day.accesses] == [0.0, 1.0, 2.0, 3.0]
    assert {access.origin_us for access in day.accesses} == {ORIGIN_US * COST_RATIO}
    assert "no column ts, client, service, cost_us" in day.describe()
    assert list(day.keys) == ["tracea:7", "tracea:8", "tracea:9"]


def test_a_written_day_is_read_back_in_its_order(tmp_path):
    drawn = trading_day(DayPlan(seed=3, requests_count=1_500, duration_s=4.0))
    path = tmp_path / "day.parquet"
    drawn.write_parquet(path)
    day = read_day(path, requests_max=1_000, duration_s=2.0)
    assert len(day.accesses) == 1_000
    assert [a.client for a in day.accesses] == [a.client for a in drawn.accesses[:1_000]]
    times = [access.at_s for access in day.accesses]
    assert times == sorted(times)
    assert times[0] == 0.0
    assert times[-1] == 2.0
    assert day.accesses[0].origin_us == drawn.accesses[0].origin_us * 0.2
    assert "no column" not in day.describe()


def test_keys_of_one_cost_are_of_one_kind_and_many_costs_are_rounded(tmp_path):
    path = tmp_path / "costs.parquet"
    keys, costs = list(range(200)), [1_000 + 400 * number for number in range(200)]
    pq.write_table(pa.table({"key": pa.array(keys, pa.uint64()), "cost_us": pa.array(costs, pa.uint32())}), path)
    day = read_day(path, requests_max=200, duration_s=1.0)
    of_kinds = {}
    for access in day.accesses:
        assert of_kinds.setdefault(access.kind, access.origin_us) == access.origin_us
        assert access.key.startswith(f"{access.kind}:")
    assert 1 < len(of_kinds) <= len(KINDS)
    assert all(0.9 < a.origin_us / (cost * COST_RATIO) <= 2.1 for a, cost in zip(day.accesses, costs, strict=True))


def test_a_file_without_keys_is_refused(tmp_path):
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"price": [1.0]}), path)
    with pytest.raises(ValueError, match="needs a column 'key'"):
        read_day(path, requests_max=10, duration_s=1.0)
