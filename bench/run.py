"""Measure this cache beside its peers, on this machine, in one run.

    python -m bench.run                    all of it, some minutes
    python -m bench.run --quick            a short form, under a minute
    ray job submit --working-dir . -- python -m bench.run --out out/bench

Writes bench.json and bench.png into --out and prints tables. No figure is written down anywhere in
the code: every line of the report was measured in this run, and says how.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import workloads
from bench.callers import CallerPool
from bench.failover import measure_failover
from bench.figures import Figure, grade, limit_figure, ratio_figure
from bench.measure import Series, machine, ratio
from bench.peers import Peer, Peers, open_caller, running_peers
from bench.start_time import measure_start
from bench.tables import print_report, wide_console

MEMORY_REGION = "bench_memory"
VERSIONS = ("daycache-ray", "ray", "redis", "hiredis", "pymemcache", "diskcache", "lmdb", "numpy")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: under a minute")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for bench.json and bench.png")
    parser.add_argument("--no-starts", action="store_true", help="leave out the timing of start() in fresh processes")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run everything and return 0; figures that miss their target are reported, they fail nothing."""
    options = parse(arguments)
    effort = workloads.QUICK if options.quick else workloads.FULL
    options.out.mkdir(parents=True, exist_ok=True)
    console = wide_console()
    begun = time.perf_counter()
    report: dict[str, Any] = {"machine": machine(), "versions": _versions(), "is_quick": options.quick}
    with _told(console, "start() in fresh processes"):
        report["starts"] = [] if options.no_starts or options.quick else _starts(effort)
    series = _measure(report, effort, console)
    figures = _figures(report, series)
    report["figures"] = [figure.as_json() for figure in figures]
    report["duration_s"] = round(time.perf_counter() - begun, 1)
    (options.out / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
    from bench.pictures import draw_run

    draw_run(report, options.out / "bench.png")
    print_report(console, report, figures)
    console.print(f"{report['duration_s']:.0f} s; {options.out / 'bench.json'}, {options.out / 'bench.png'}")
    return 0


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@contextlib.contextmanager
def _told(console: Console, what: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    console.print(f"[dim]{time.perf_counter() - begun:6.1f} s  {what}[/dim]", highlight=False)


def _starts(effort: workloads.Effort) -> list[dict[str, Any]]:
    return [measure_start(http=http) for _ in range(effort.starts_count) for http in (False, True)]


def _measure(report: dict[str, Any], effort: workloads.Effort, console: Console) -> dict[str, dict[str, Series]]:
    """Start a cluster with the built-in regions and the peers, measure, stop; return the basic series."""
    import daycache_ray as daycache
    from daycache_ray.words.config import built_in_regions

    name = f"bench-{os.getpid()}"
    regions = (
        *built_in_regions(),
        daycache.RegionConfig(name=MEMORY_REGION, replicas=1, memory_bytes=32 << 20),
    )
    with contextlib.ExitStack() as stack:
        with _told(console, "start of the measured cluster and the peers"):
            # Looked up first, so that importing Ray does not count, as it does not in a fresh process.
            start, config = daycache.start, daycache.ClusterConfig(name=name, regions=regions)
            begun = time.perf_counter()
            cache = stack.enter_context(start(config))
            if report["is_quick"]:
                report["starts"].append({"http": False, "start_s": round(time.perf_counter() - begun, 3)})
            peers = stack.enter_context(running_peers())
            peers.running["daycache"] = Peer("daycache", f"{name}/market_data/")
            report["skipped"] = peers.skipped
            ordered = {kind: peers.running[kind] for kind in sorted(peers.running, key=lambda k: k != "daycache")}
            callers = {kind: open_caller(peer) for kind, peer in ordered.items()}
            for caller in callers.values():
                stack.callback(caller.close)
            workloads.fill(callers)
        with _told(console, "basic"):
            series = workloads.basic(callers, _with_pids(peers, cache), effort)
        with _told(console, "levels"):
            region = cache.region("trading_positions")
            actor = callers.get("actor")
            found_levels = workloads.levels(region, effort, _pids(region), None if actor is None else actor.get)
        with _told(console, "memory"):
            redis = peers.running.get("redis")
            report["memory"] = workloads.memory(
                cache.region(MEMORY_REGION), effort, redis.address if redis is not None else None
            )
        with _told(console, "concurrent"):
            found_concurrent = _concurrent(ordered, effort)
        with _told(console, "failover"):
            with daycache.connect(name, service="failover") as other:
                failover = measure_failover(
                    cache,
                    other.region("trading_positions"),
                    kills_count=effort.kills_count,
                )
        report["failover"] = failover.as_json()
    report["basic"] = {op: {kind: _row(s) for kind, s in by_peer.items()} for op, by_peer in series.items()}
    report["levels"] = {call: _row(s) for call, s in found_levels.items()}
    report["concurrent"] = {
        kind: {str(count): _row(s) for count, s in by_count.items()} for kind, by_count in found_concurrent.items()
    }
    report["grades"] = _grades(report)
    return {**series, "levels": found_levels}


def _concurrent(peers: dict[str, Peer], effort: workloads.Effort) -> dict[str, dict[int, Series]]:
    chosen = {kind: peer for kind, peer in peers.items() if kind != "redis-kept"}
    pool = CallerPool.start(max(effort.workers))
    try:
        pool.open(list(chosen.values()))
        return workloads.concurrent(pool, chosen, effort)
    finally:
        pool.stop()


def _pids(region: Any) -> tuple[int, ...]:
    return tuple(shard.pid for shard in region.statistics().shards)


def _with_pids(peers: Peers, cache: Any) -> Peers:
    """Return the peers with the primary's pid beside theirs (its processor time is the server's)."""
    shards = cache.region("market_data").statistics().shards
    primary = next(shard.pid for shard in shards if shard.role.lower() == "primary")
    return Peers(peers.running, {**peers.pids, "daycache": primary}, peers.skipped)


def _row(series: Series) -> dict[str, float]:
    return {name: round(value, 3) for name, value in series.median._asdict().items()}


def _grades(report: dict[str, Any]) -> dict[str, str]:
    grades = {}
    for operation in ("get 100 B", "set 100 B"):
        found = report["basic"][operation]["daycache"]
        grades[operation] = grade(found["per_s"], found["mean_us"] / 1e3)
    for count, found in report["concurrent"]["daycache"].items():
        grades[count] = grade(found["per_s"], found["mean_us"] / 1e3)
    return grades


def _figures(report: dict[str, Any], series: dict[str, dict[str, Series]]) -> list[Figure]:
    """Return the promises that could be measured: a peer that is not here has no line."""
    figures: list[Figure] = []

    def against(name: str, operation: str, peer: str, limit: float, label: str) -> None:
        by_peer = series[operation]
        if peer not in by_peer:
            return
        ours, theirs = by_peer["daycache"], by_peer[peer]
        how = f"{operation}, one caller, {len(ours.samples)} interleaved rounds, median of the rounds' ratios of p50"
        figures.append(
            ratio_figure(
                name,
                ours.median.p50_us,
                ratio(theirs, ours),
                limit,
                against=label,
                how=f"{how}; {label}: p50 {theirs.median.p50_us:.1f} us",
                p99_ratio=ratio(theirs, ours, "p99_us"),
                p99_us=ours.median.p99_us,
            )
        )

    get = series["get 100 B"]["daycache"].median
    against("get hit 100 B", "get 100 B", "actor", 200, "naive Ray dict actor")
    against("get hit 100 B", "get 100 B", "redis", 20, "redis-py GET")
    figures.append(
        limit_figure("get hit 100 B", get.p50_us, "us", 3, how="Region.get of a hit, as above", p99=get.p99_us)
    )
    against("set EVENTUAL 100 B", "set 100 B", "actor", 15, "naive Ray dict actor")
    against("set EVENTUAL 100 B", "set 100 B", "redis", 0.7, "redis-py SET")
    figures.extend(_strong_figure(series["levels"]))
    against("get 1 MiB array", "get 1 MiB array", "redis", 10, "redis-py GET and np.frombuffer")
    failover = report["failover"]
    how = (
        f"{failover['kills_count']} kills under STRONG writes, each with both copies in sync and a spare up; from the "
        f"signal to the first write of a newer epoch"
    )
    figures.append(limit_figure("failover gap", failover["gap_p50_ms"], "ms", 500, how=how, p99=failover["gap_p99_ms"]))
    figures.extend(_start_figures(report["starts"]))
    return figures


def _strong_figure(levels: dict[str, Series]) -> list[Figure]:
    call = levels.get(workloads.ACTOR_CALL)
    if call is None:
        return []
    strong = levels["set strong"]
    found = ratio(strong, call)
    how = (
        f"one caller, {len(strong.samples)} interleaved rounds, median of the rounds' ratios of p50; one call of an "
        f"actor (get of the dict actor): p50 {call.median.p50_us:.0f} us"
    )
    target, p99_ratio = "at most 0.5x one Ray actor call", ratio(strong, call, "p99_us")
    name = "set STRONG 100 B, two replicas"
    p50, p99 = strong.median.p50_us, strong.median.p99_us
    return [Figure(name, p50, "us", found, 0.5, True, target, how, found, p99_ratio, p99)]


def _start_figures(starts: list[dict[str, Any]]) -> list[Figure]:
    figures = []
    for http, name, limit in ((False, "start()", 8.0), (True, "start(http=True)", 16.0)):
        taken = [start["start_s"] for start in starts if start["http"] is http]
        if taken:
            how = f"median of {len(taken)} starts by fresh processes, Ray included, imports not; beside it the longest"
            figures.append(limit_figure(name, statistics.median(taken), "s", limit, how=how, p99=max(taken)))
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
