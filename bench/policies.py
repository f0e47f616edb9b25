"""Judge eviction policies on recorded traces, beside the figures of others and the clairvoyant bound.

    python -m bench.policies                 every trace, some minutes on one core
    python -m bench.policies --quick         the short traces, under a minute
    python -m bench.policies --traces DIR    Parquet files with a column `key`, and their README.md

A cache of 0.1, 1 and 10 % of the distinct keys, entries of one size, at least ten of them; of a longer trace the first
million requests. `as fed` is a policy with what a store knows: readers set one byte for a bucket of keys, and two
percent of the entries go at once. The yardstick of a trace and size is the best of LRU, SIEVE, S3-FIFO, ARC and
W-TinyLFU as measured here, and of these and LHD as the README of the traces has them. Where no traces are, a synthetic
one stands in. Writes policies.json and policies.png into --out; no figure is written down in the code.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.measure import machine
from bench.policies_report import draw_policies, print_policies, progress_of
from bench.policy_replay import CONTENDERS, WEIGHED, belady_misses, hashes_of, misses_of, next_uses, weighed_misses_of
from bench.policy_traces import (
    REQUESTS_MAX,
    AccessTrace,
    figures_of_others,
    read_trace,
    requests_count,
    synthetic_trace,
)
from bench.tables import wide_console

RATIOS = (0.001, 0.01, 0.1)
ENTRIES_LEAST = 10
RIVALS = ("LRU", "SIEVE", "S3FIFO", "ARC", "WTinyLFU")
RIVALS_OF_OTHERS = (*RIVALS, "LHD")
ROUNDING = 0.0005
"""The figures of others have three digits."""
TOLERATED = 1.02
QUICK_REQUESTS_MAX = 100_000
TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"


def judge(report: dict[str, Any]) -> dict[str, Any]:
    """Return for each policy on how many (trace, size) pairs it is at or below the yardstick, and the worst case."""
    verdicts = {}
    for name in report["pairs"][0]["miss_ratios"]:
        excess = [pair["miss_ratios"][name] / pair["yardstick"] for pair in report["pairs"]]
        worst = max(range(len(excess)), key=excess.__getitem__)
        verdicts[name] = {
            "at_or_below_ratio": sum(part <= 1.0 for part in excess) / len(excess),
            "within_2_percent_ratio": sum(part <= TOLERATED for part in excess) / len(excess),
            "worst_excess_ratio": max(0.0, excess[worst] - 1.0),
            "worst_pair": [report["pairs"][worst]["trace"], report["pairs"][worst]["cache_ratio"]],
            "mean_ratio": sum(excess) / len(excess),
        }
    return verdicts


def yardstick(measured: dict[str, float], others: dict[str, float]) -> float:
    """Return the best miss ratio of the rivals.

    >>> yardstick({"LRU": 0.5, "two hands": 0.1}, {"LHD": 0.4, "Belady": 0.2})
    0.4005
    """
    ours = [measured[name] for name in RIVALS if name in measured]
    theirs = [
        ratio + ROUNDING for name, ratio in others.items() if name.upper() in {n.upper() for n in RIVALS_OF_OTHERS}
    ]
    return min(ours + theirs)


def measure_trace(
    trace: AccessTrace, others: dict[tuple[str, float], dict[str, float]]
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield what is being done, and each finished pair."""
    uses, hashes = next_uses(trace.keys), hashes_of(trace.distinct_count)
    for ratio in RATIOS:
        entries_count = max(ENTRIES_LEAST, int(trace.distinct_count * ratio))
        measured = {}
        for contender in CONTENDERS:
            yield f"{trace.name} {ratio:.1%} {contender.name}", None
            measured[contender.name] = misses_of(contender, trace.keys, hashes, entries_count) / len(trace.keys)
        yield f"{trace.name} {ratio:.1%} Belady", None
        found = others.get((trace.name, ratio), {})
        yield (
            "",
            {
                "trace": trace.name,
                "cache_ratio": ratio,
                "entries_count": entries_count,
                "miss_ratios": measured,
                "belady": belady_misses(trace.keys, uses, entries_count) / len(trace.keys),
                "of_others": found,
                "yardstick": yardstick(measured, found),
            },
        )


def measure_weighed(trace: AccessTrace) -> list[dict[str, Any]]:
    """Return what each policy misses in bytes and in the origin's time, where a trace has sizes or costs."""
    rows: list[dict[str, Any]] = []
    if trace.sizes_bytes is None and trace.costs_us is None:
        return rows
    ones, hashes = [1] * trace.distinct_count, hashes_of(trace.distinct_count)
    # Without sizes an entry is a thousand bytes, so that a small cache is no smaller than an entry.
    sizes = trace.sizes_bytes or [1_000] * trace.distinct_count
    for ratio in RATIOS:
        limit_bytes = int(sum(sizes) * ratio)
        for contender in (*CONTENDERS, *WEIGHED):
            weighed = weighed_misses_of(contender, trace.keys, hashes, sizes, trace.costs_us or ones, limit_bytes)
            rows.append(
                {
                    "trace": trace.name,
                    "cache_ratio": ratio,
                    "policy": contender.name,
                    "requests_ratio": weighed.requests_ratio,
                    "bytes_ratio": weighed.bytes_ratio if trace.sizes_bytes else None,
                    "cost_ratio": weighed.cost_ratio if trace.costs_us else None,
                }
            )
    return rows


def gather(folder: Path, is_quick: bool) -> tuple[list[AccessTrace], str]:
    """Return the traces to run and a word about them."""
    paths = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    if not paths:
        said = f"no traces in {folder}: a synthetic one stands in, and nothing of others is beside it"
        return [synthetic_trace(30_000 if is_quick else 400_000)], said
    traces = [read_trace(path) for path in paths if not is_quick or requests_count(path) <= QUICK_REQUESTS_MAX]
    cut = sorted(trace.name for trace in traces if trace.full_count > len(trace.keys))
    return traces, f"the first {REQUESTS_MAX:,} requests of {', '.join(cut)}" if cut else ""


def main(arguments: list[str] | None = None) -> int:
    """Run the bench and return 0; policies that miss the target are reported, they fail nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder of Parquet files with a column `key`")
    parser.add_argument("--quick", action="store_true", help="only short traces: under a minute")
    parser.add_argument("--out", type=Path, default=Path("out/policies"), help="folder for policies.json and .png")
    options = parser.parse_args(arguments)
    console = wide_console()
    begun = time.perf_counter()
    traces, said = gather(options.traces, options.quick)
    others = figures_of_others(options.traces / "README.md")
    report: dict[str, Any] = {"machine": machine(), "note": said, "pairs": [], "weighed": []}
    with progress_of(console) as say:
        for trace in traces:
            for doing, pair in measure_trace(trace, others):
                say(doing)
                if pair is not None:
                    report["pairs"].append(pair)
            say(f"{trace.name} by bytes and cost")
            report["weighed"] += measure_weighed(trace)
    report["verdicts"] = judge(report)
    report["took_s"] = round(time.perf_counter() - begun, 1)
    print_policies(console, report)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "policies.json").write_text(json.dumps(report, indent=1) + "\n")
    draw_policies(report, options.out / "policies.png")
    console.print(f"written to {options.out} after {report['took_s']} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
