"""Judging and showing: grades, targets, tables and the picture, with figures made up here."""

import io
import json

import pytest
from rich.console import Console

from bench.figures import grade, limit_figure, ratio_figure
from bench.measure import Sample, machine
from bench.pictures import draw_run
from bench.tables import number, print_figures, print_report


@pytest.mark.parametrize(
    ("per_s", "mean_ms", "expected"),
    [
        (10_000, 1.0, "A"),
        (9_999, 1.0, "B"),
        (50_000, 1.01, "B"),
        (5_000, 5.0, "B"),
        (50_000, 5.1, "C"),
        (1_000, 20.0, "C"),
        (999, 0.1, "-"),
        (50_000, 20.1, "-"),
    ],
)
def test_grades_need_both_rate_and_time(per_s, mean_ms, expected):
    assert grade(per_s, mean_ms) == expected


def a_ratio_figure(ratio):
    return ratio_figure("get", 2.0, ratio, 20, against="peer", how="by hand", p99_ratio=3.0, p99_us=9.0)


def test_a_ratio_must_reach_its_target():
    assert a_ratio_figure(20.0).is_met
    assert not a_ratio_figure(19.9).is_met


def test_a_time_must_not_exceed_its_target():
    assert limit_figure("gap", 500, "ms", 500, how="by hand").is_met
    assert limit_figure("gap", 500.1, "ms", 500, how="by hand").verdict == "not met"


def test_every_line_shows_value_ratio_target_verdict_and_how():
    out = io.StringIO()
    print_figures(Console(file=out, width=160), [a_ratio_figure(25.0), limit_figure("gap", 0.7, "s", 0.5, how="often")])
    text = out.getvalue()
    assert "25x" in text
    assert "at least 20x peer" in text
    assert "by hand" in text
    assert "not met" in text
    assert "at most 0.5 s" in text


def test_numbers_have_three_digits():
    assert [number(v) for v in (1_234_567.8, 123.4, 12.34, 1.234, 0.01234, None)] == [
        "1,234,568",
        "123",
        "12.3",
        "1.23",
        "0.0123",
        "-",
    ]


@pytest.fixture
def report():
    row = Sample(100, 2.0, 3.0, 4.0, 2.2, 400_000.0, 2.5)._asdict()
    peers = ("daycache", "redis", "actor")
    return {
        "machine": machine(),
        "basic": {op: dict.fromkeys(peers, row) for op in ("get 100 B", "set 100 B")},
        "concurrent": {peer: {"1": row, "4": row} for peer in peers},
        "levels": {"get strong": row, "set strong": row},
        "memory": [
            {
                "entries": 1000,
                "bytes_per_entry": 190.0,
                "redis_bytes_per_entry": None,
                "get_p50_us": 2.0,
                "get_p99_us": 4.0,
            },
            {
                "entries": 9000,
                "value_bytes": 2048,
                "kept_entries": 3000,
                "evictions": 6000,
                "used_bytes": 1 << 20,
                "limit_bytes": 1 << 21,
                "keeps_its_limit": True,
            },
        ],
        "failover": {
            "kills_count": 2,
            "gaps_ms": [40.0, 60.0],
            "gap_p50_ms": 50.0,
            "lost_acknowledged_writes_count": 0,
            "acknowledged_writes_count": 500,
            "unknown_outcomes_count": 0,
        },
        "grades": {"get 100 B": "A", "4": "B"},
        "skipped": {"memcached": "memcached is not installed"},
    }


def test_a_whole_report_becomes_text(report):
    out = io.StringIO()
    print_report(Console(file=out, width=160), report, [a_ratio_figure(25.0)])
    text = out.getvalue()
    assert "memcached is not installed" in text
    assert "0 of 500 acknowledged STRONG writes lost" in text
    assert "grade of 4 processes, mixed: B" in text
    assert "keeps its limit" in text
    json.dumps(report)


def test_a_whole_report_becomes_a_picture(report, tmp_path):
    path = tmp_path / "bench.png"
    draw_run(report, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 20_000
