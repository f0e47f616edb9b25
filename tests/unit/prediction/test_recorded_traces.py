"""The bench's promises on recorded traces, where they lie beside the repository; skipped where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.prediction import Run
from bench.prediction_trace import Trace

TRACES = Path(__file__).resolve().parents[4] / "shared" / "traces"


def run(name: str, requests: int) -> Run:
    """Run the bench without a network over the head of a trace."""
    path = TRACES / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"{name} is not here: recorded traces are not part of the repository")
    trace = Trace.read(path, requests_max=requests)
    done = Run(trace, max(2, round(trace.distinct_count * 0.01)), "lru")
    for at in range(len(trace.keys)):
        done.step(at)
    return done


@pytest.mark.parametrize(("name", "ratio_max"), [("orm_busy", 0.5), ("trading_day", 0.6)])
def test_loading_ahead_pays_and_beats_order_two(name: str, ratio_max: float) -> None:
    done = run(name, 30_000)  # the head of a trace is mostly cold start: over a million requests it pays better
    assert done.ahead.counts.misses <= ratio_max * done.plain.counts.misses
    for ours, yardstick in zip(done.accuracy.ratios(), done.yardstick_accuracy.ratios(), strict=True):
        assert ours >= yardstick


@pytest.mark.parametrize("name", ["arc_OLTP", "web12", "lirs_sprite"])
def test_loading_ahead_does_no_harm(name: str) -> None:
    done = run(name, 20_000)
    assert done.ahead.counts.misses <= 1.02 * done.plain.counts.misses
