"""Sharing a day out, and what is computed of a replay; the replay itself needs a cluster."""

import io
from types import SimpleNamespace

import numpy as np
from rich.console import Console

from bench.demo_pictures import draw_demo
from bench.demo_report import closing, print_demo, report_of
from bench.failover import FailoverResult
from bench.live_view import LiveView, PrefetchCounts, Window, sparkline
from bench.measure import machine
from bench.replay import Progress, Replayed, share_out
from bench.trading_day import DayPlan, trading_day


def replayed(waits):
    count = len(waits)
    return Replayed(
        at_s=np.linspace(0, 9.9, count),
        took_us=np.asarray(waits, dtype=float),
        behind_s=np.zeros(count),
        wall_s=10.0,
        writes_count=4,
        errors=[],
        stale_count=0,
        verified_count=2,
        hits_count=3,
        misses_count=1,
    )


def test_whole_clients_are_shared_out_evenly_and_nothing_is_lost():
    day = trading_day(DayPlan(seed=1, requests_count=2_000, duration_s=6.0))
    shares = share_out(day.accesses, 4)
    assert sum(map(len, shares)) == len(day.accesses)
    owners = [{access.client for access in share} for share in shares]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert max(map(len, shares)) < 1.3 * min(map(len, shares))
    assert all(share == sorted(share, key=lambda a: a.at_s) for share in shares)


def test_more_processes_than_clients_leave_some_idle():
    day = trading_day(DayPlan(seed=1, requests_count=500, duration_s=2.0))
    one = [access for access in day.accesses if access.client == 3]
    assert share_out(one, 4) == [one]


def test_a_replay_in_figures():
    found = replayed([2.0, 900.0, 1_000.0, 50_000.0])
    assert found.prompt_ratio == 0.5
    assert found.percentile_us(0.5) == 900.0
    assert found.percentile_us(0.99) == 50_000.0
    assert found.prompt_by_second(2, 10.0) == [1.0, 0.0]
    assert found.prompt_by_second(40, 10.0)[1] is None
    assert found.as_json()["waited_total_s"] == 0.05


def test_a_window_turns_totals_into_rates():
    window = Window()
    window.look([Progress(10, 5, 0, 0, 0, (1.0,))], 1.0)
    seen = window.look([Progress(20, 14, 0, 0, 0, (5.0, 9.0)), Progress(10, 6, 0, 0, 0, (7.0,))], 3.0)
    assert seen.requests_per_s == 10.0
    assert seen.prompt_ratio == 0.75
    assert seen.p50_us == 7.0


def test_bars():
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == ""
    assert sparkline([1, 8]) == "▁█"


def test_the_view_tells_in_plain_lines_where_there_is_no_terminal():
    out = io.StringIO()
    shard = SimpleNamespace(used_bytes=1 << 20, evictions_count=7, loads_count=3)
    view = LiveView(Console(file=out, width=200), "a day", 10.0, 100)
    with view.shown():
        view.update([Progress(100, 80, 5, 0, 10, (1.0, 2.0))], 2.5, {"r": shard}, PrefetchCounts(useful=4))
    assert "7 evicted" in out.getvalue()
    assert "4 useful" in out.getvalue()
    assert "80.0% at once" in out.getvalue()


def a_result():
    return SimpleNamespace(
        ahead=replayed([2.0, 3.0, 4.0, 20_000.0]),
        plain=replayed([2.0, 9_000.0, 9_000.0, 20_000.0]),
        prefetches=PrefetchCounts(
            issued=9, useful=6, late=2, wasted=1, holdout_asked=4, holdout_missed=3, asked=8, missed=1
        ),
        failover=FailoverResult(
            [55.0, 80.0], [1.0, 2.0], [0.9, 0.95, 1.055, 1.9, 2.08, 2.2], acknowledged_count=6, restored_ms=[400.0]
        ),
        grades={1: ("A", 90_000.0, 0.01)},
        http=[],
        start_s=3.0,
        prefetch_cpu_us=300.0,
        evictions_count=12,
        loads_count={},
    )


def test_the_closing_paragraph_has_the_figures_and_how_they_were_taken():
    result, described = a_result(), machine()
    text = closing(result, "a day.", "SQLite", described)
    for part in (
        "75.0% took less than 1 ms",
        "1.90 s without for each second with",
        "simulated",
        "6 of 9 loads",
        "55, 80 ms",
        "0 were lost",
    ):
        assert part in text, part
    report = report_of(result, "a day.", "SQLite", described, 12.0)
    assert abs(report["waiting_ratio"] - 1.9) < 0.01
    assert report["failover"]["lost_acknowledged_writes_count"] == 0
    out = io.StringIO()
    print_demo(Console(file=out, width=160), result, "a day.", "SQLite", described)
    assert "answered within 1 ms" in out.getvalue()


def test_the_demo_becomes_a_picture(tmp_path):
    result = a_result()
    path = tmp_path / "demo.png"
    draw_demo(
        path,
        title="a day",
        duration_s=10.0,
        plain=result.plain,
        ahead=result.ahead,
        prefetches=result.prefetches,
        failover=result.failover,
    )
    assert path.stat().st_size > 20_000
