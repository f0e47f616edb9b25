"""Traces as days: columns that are there are used, those that are not are named."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.recorded_day import ORIGIN_US, read_day
from bench.trading_day import DayPlan, trading_day


def test_a_trace_of_keys_alone_is_spread_evenly(tmp_path):
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"key": pa.array([7, 8, 7, 9], pa.uint64())}), path)
    day = read_day(path, requests_max=10, duration_s=3.0)
    assert [access.key for access in day.accesses] == ["trace:7", "trace:8", "trace:7", "trace:9"]
    assert [access.at_s for access in day.accesses] == [0.0, 1.0, 2.0, 3.0]
    assert {access.origin_us for access in day.accesses} == {ORIGIN_US}
    assert "no column ts, client, service, cost_us" in day.describe()
    assert list(day.keys) == ["trace:7", "trace:8", "trace:9"]


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


def test_a_file_without_keys_is_refused(tmp_path):
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"price": [1.0]}), path)
    with pytest.raises(ValueError, match="needs a column 'key'"):
        read_day(path, requests_max=10, duration_s=1.0)
