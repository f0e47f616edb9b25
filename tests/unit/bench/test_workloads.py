"""The workloads over a cache in a dict: what is measured, and that a cache which lies is found out."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench import workloads
from bench.peers import Caller, Peers
from bench.run import _figures, _row, parse

EFFORT = replace(workloads.QUICK, rounds=2, duration_s=0.002, entries=(100,))


class DictRegion:
    """Enough of a region for the workloads."""

    def __init__(self, limit_bytes=64_000):
        self.values = {}
        self.flushes = 0
        self.evictions_count = 0
        self.limit_bytes = limit_bytes

    def get(self, key, level=None):
        return self.values.get(key)

    def set(self, key, value, level=None):
        self.values[key] = value

    def set_many(self, values):
        for key, value in values.items():
            while self.used() + len(value) > self.limit_bytes:
                self.values.pop(next(iter(self.values)))
                self.evictions_count += 1
            self.values[key] = value

    def used(self):
        return sum(map(len, self.values.values()))

    def flush(self):
        self.flushes += 1

    def clear(self):
        self.values.clear()

    def statistics(self):
        return SimpleNamespace(
            used_bytes=self.used(),
            limit_bytes=self.limit_bytes,
            entries_count=len(self.values),
            evictions_count=self.evictions_count,
        )


def a_caller():
    values = {}
    return Caller(
        values.get,
        values.__setitem__,
        lambda keys: [values.get(key) for key in keys],
        values.update,
        values.get,
        values.__setitem__,
        lambda: None,
    )


def test_every_key_comes_once_in_turn():
    keys = workloads.keys_in_turn()
    assert len(set(keys)) == len(keys) == workloads.KEYS_COUNT


def test_basic_measures_every_operation_of_every_peer():
    callers = {"daycache": a_caller(), "redis": a_caller()}
    workloads.fill(callers)
    found = workloads.basic(callers, Peers({}, {}, {}), EFFORT)
    assert set(found) == {
        "get 100 B",
        "set 100 B",
        "get_many 100",
        "set_many 100",
        "get 1 MiB array",
        "set 1 MiB array",
    }
    for by_peer in found.values():
        assert {name: len(series.samples) for name, series in by_peer.items()} == {"daycache": 2, "redis": 2}


def test_a_peer_that_gives_back_something_else_is_not_measured():
    liar = replace(a_caller(), get=lambda key: b"other")
    callers = {"daycache": a_caller(), "redis": liar}
    workloads.fill(callers)
    with pytest.raises(RuntimeError, match="redis does not give back"):
        workloads.basic(callers, Peers({}, {}, {}), EFFORT)


def test_levels_flush_weak_writes_and_take_the_actor_along():
    region = DictRegion(limit_bytes=10**9)
    found = workloads.levels(region, EFFORT, (), actor_call=str)
    assert set(found) == {f"{call} {level}" for call in ("get", "set") for level in workloads.LEVELS} | {
        workloads.ACTOR_CALL
    }
    assert region.flushes == EFFORT.rounds + 1


def test_memory_says_bytes_an_entry_and_whether_the_limit_is_kept():
    rows = workloads.memory(DictRegion(), EFFORT, None)
    assert rows[0]["bytes_per_entry"] == 100.0
    assert rows[0]["redis_bytes_per_entry"] is None
    assert rows[1]["keeps_its_limit"]
    assert rows[1]["evictions"] > 0


def test_the_promises_are_judged_by_what_was_measured():
    callers = {name: a_caller() for name in ("daycache", "redis", "actor")}
    workloads.fill(callers)
    series = workloads.basic(callers, Peers({}, {}, {}), EFFORT)
    series["levels"] = workloads.levels(DictRegion(10**9), EFFORT, (), actor_call=str.upper)
    report = {
        "failover": {"kills_count": 2, "gap_p50_ms": 40.0, "gap_p99_ms": 60.0},
        "starts": [{"http": False, "start_s": 5.0}, {"http": True, "start_s": 17.0}],
    }
    figures = _figures(report, series)
    by_name = {(figure.name, figure.target): figure for figure in figures}
    assert len(figures) == len(by_name) == 10
    assert by_name["failover gap", "at most 500 ms"].is_met
    assert by_name["start()", "at most 8 s"].is_met
    assert not by_name["start(http=True)", "at most 16 s"].is_met
    # The same dict on both sides: a ratio about one, so neither 200x nor 20x.
    assert not by_name["get hit 100 B", "at least 200x naive Ray dict actor"].is_met
    assert set(_row(series["get 100 B"]["redis"])) >= {"p50_us", "p99_us", "per_s", "cpu_us"}


def test_without_peers_their_lines_are_left_out():
    callers = {"daycache": a_caller()}
    workloads.fill(callers)
    series = workloads.basic(callers, Peers({}, {}, {}), EFFORT)
    series["levels"] = workloads.levels(DictRegion(10**9), EFFORT, ())
    report = {"failover": {"kills_count": 1, "gap_p50_ms": 1.0, "gap_p99_ms": 1.0}, "starts": []}
    assert {figure.name for figure in _figures(report, series)} == {"get hit 100 B", "failover gap"}


def test_quick_is_an_option():
    assert parse(["--quick"]).quick
    assert not parse([]).quick
