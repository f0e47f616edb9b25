"""The offline bench end to end on a small seeded day: loading ahead must cut misses, and say so as JSON."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import prediction
from bench.prediction_accuracy import Accuracy
from bench.prediction_trace import Trace, guess_type_shift
from bench.prediction_world import World


def chains(count: int, *, seed: int) -> list[int]:
    """Chains of four keys of one symbol among three hundred, with a stray key now and then."""
    chance = random.Random(seed)
    keys: list[int] = []
    while len(keys) < count:
        symbol = chance.randrange(300)
        keys += [kind << 40 | symbol << 20 for kind in (1, 2, 3, 4)]
        if chance.random() < 0.2:
            keys.append(9 << 40 | chance.randrange(1000) << 20)
    return keys[:count]


def written(path: Path, keys: list[int], **columns: np.ndarray) -> Path:
    table = {"key": np.array(keys, np.uint64)} | columns
    pq.write_table(pa.table({name: pa.array(column) for name, column in table.items()}), path)
    return path


def figures(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, float]:
    prediction.main(list(words))
    last: dict[str, float] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    return last


@pytest.mark.parametrize("eviction", ["lru", "sieve", "gdsf"])
def test_loading_ahead_cuts_misses_on_chains(tmp_path: Path, capsys: pytest.CaptureFixture[str], eviction: str) -> None:
    keys = chains(6000, seed=1)
    trace = written(tmp_path / "day.parquet", keys)
    said = figures(capsys, "--trace", str(trace), "--no-network", "--eviction", eviction, "--cache-ratio", "0.05")
    assert said["requests"] == len(keys)
    assert said["miss_ratio_prefetch"] < 0.6 * said["miss_ratio_plain"]
    assert said["waiting_s_prefetch"] < said["waiting_s_plain"]
    assert said["wasted_per_saved"] < 0.6
    assert said["saved_loads"] + said["wasted_loads"] == said["issued_loads"]
    assert said["top1"] >= said["order2_top1"] - 0.01
    assert said["top1"] <= said["top5"] <= said["top10"] <= 1.0
    assert said["cpu_us_per_access"] > 0


def test_noise_gains_nothing_and_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(2)
    trace = written(tmp_path / "noise.parquet", [chance.randrange(2000) * 977 for _ in range(4000)])
    said = figures(capsys, "--trace", str(trace), "--no-network")
    assert said["miss_ratio_prefetch"] <= 1.02 * said["miss_ratio_plain"]


def test_the_network_is_compared_with_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures.json"
    trace = written(tmp_path / "day.parquet", chains(5000, seed=3))
    said = figures(capsys, "--trace", str(trace), "--json", str(target), "--requests", "4000", "--seed", "1")
    assert said == json.loads(target.read_text())
    assert said["requests"] == 4000
    assert said["network_questions"] > 300
    assert abs(said["nll_mixture"] - min(said["nll_tables"], said["nll_network"])) < 0.1


def test_times_and_costs_are_used_where_the_trace_has_them(tmp_path: Path) -> None:
    keys = chains(100, seed=4)
    count = len(keys)
    ts, costs = np.arange(count) * 5000, np.full(count, 7000)
    timed = Trace.read(written(tmp_path / "timed.parquet", keys, ts=ts, cost_us=costs))
    assert timed.timed
    assert timed.cost_us[0] == 7000
    untimed = Trace.read(written(tmp_path / "untimed.parquet", keys, ts=np.arange(count)))
    assert not untimed.timed
    with pytest.raises(SystemExit, match="no column `key`"):
        table = pa.table({"id": pa.array([1, 2])})
        pq.write_table(table, tmp_path / "wrong.parquet")
        Trace.read(tmp_path / "wrong.parquet")


def test_the_type_is_found_where_the_trace_names_it() -> None:
    kinds = np.repeat(np.arange(5, dtype=np.uint64), 40)
    keys = kinds << np.uint64(40) | (np.arange(200, dtype=np.uint64) % np.uint64(37)) << np.uint64(20)
    shift = guess_type_shift(keys, kinds)
    assert len(set((keys >> np.uint64(shift)).tolist())) == 5
    assert guess_type_shift(np.arange(1000, dtype=np.uint64), None) == 24


def test_a_late_prefetch_is_no_miss_but_its_wait_counts() -> None:
    world = World(capacity=10, eviction="lru", timed=True)
    world.prefetch(1, now_us=0, cost_us=100)
    world.request(1, now_us=60, cost_us=100)
    world.request(1, now_us=90, cost_us=100)
    world.request(1, now_us=200, cost_us=100)
    counts = world.counts
    assert (counts.misses, counts.waited_us, counts.saved, counts.late) == (0, 40 + 10, 1, 1)


def test_two_who_want_one_key_load_it_once() -> None:
    world = World(capacity=10, eviction="lru", timed=True)
    world.request(1, now_us=0, cost_us=100)
    world.request(1, now_us=30, cost_us=100)
    assert (world.counts.misses, world.counts.waited_us) == (1, 100 + 70)


def test_what_was_loaded_ahead_counts_against_the_same_memory() -> None:
    world = World(capacity=20, eviction="lru", timed=False)
    for key in range(40):
        world.request(key, now_us=key, cost_us=1)
        world.prefetch(1000 + key, now_us=key, cost_us=1)
    assert len(world._main) + len(world._probation) <= 20
    assert len(world._probation) == 5
    assert world.counts.wasted == 40


def test_a_key_that_was_not_named_is_no_hit() -> None:
    accuracy = Accuracy()
    accuracy.count([5, 6], 7)
    accuracy.count([5, 6], 6)
    accuracy.count([], 6)
    assert accuracy.ratios() == (0.0, 1 / 3, 1 / 3)
