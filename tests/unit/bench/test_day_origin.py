"""Tables are filled with the day's keys and gone afterwards; the loader waits and then asks."""

import pytest
import sqlalchemy as sql

from bench.day_origin import SlowLoader, filled_origin, latencies
from bench.trading_day import KEY_TYPES, DayPlan, trading_day

REGIONS = {kind.name: kind.region for kind in KEY_TYPES.values()}


def test_tables_hold_every_key_and_are_dropped(tmp_path):
    day = trading_day(DayPlan(seed=1, requests_count=800, duration_s=3.0))
    with filled_origin(None, tmp_path, day.keys, REGIONS, seed=1) as origin:
        assert origin.kind == "SQLite"
        assert origin.rows_count == len(day.keys)
        engine = sql.create_engine(origin.url)
        with engine.connect() as connection:
            rows = [
                row
                for table in origin.tables.values()
                for row in connection.execute(sql.text(f"SELECT key, payload FROM {table}")).all()
            ]
        engine.dispose()
        assert {key for key, _ in rows} == set(day.keys)
        assert all(len(payload) == KEY_TYPES[key.partition(":")[0]].value_bytes for key, payload in rows)
    engine = sql.create_engine(origin.url)
    assert sql.inspect(engine).get_table_names() == []
    engine.dispose()


class Table:
    def __init__(self):
        self.asked = []

    def load_many(self, keys):
        self.asked.append(list(keys))
        return {key: key.upper() for key in keys}


def test_the_loader_waits_for_the_dearest_kind_and_then_asks():
    table, waited = Table(), []
    loader = SlowLoader(table, {"cheap": 100, "dear": 20_000}, waited.append)
    assert loader.load_many(["cheap:1", "dear:1"]) == {"cheap:1": "CHEAP:1", "dear:1": "DEAR:1"}
    assert waited == [0.02]
    assert table.asked == [["cheap:1", "dear:1"]]


@pytest.mark.parametrize("kind", ["quote", "risk"])
def test_latencies_are_those_of_the_kinds(kind):
    day = trading_day(DayPlan(seed=1, requests_count=800, duration_s=3.0))
    assert latencies(day.accesses)[kind] == KEY_TYPES[kind].origin_us
