"""A trading day on this machine in a minute or two: caching, prefetching, a failover, an HTTP request.

    python -m bench.demo                       under three minutes
    python -m bench.demo --quick               under one
    python -m bench.demo --trace FILE.parquet  a recorded trace in place of the synthetic day
    python -m bench.demo --database postgresql+psycopg://user:password@host/database

Starts Ray where none runs, a cluster on it, and client processes; replays the day with prefetching and
then without; kills a primary while it is written to. Prints every figure with how it was taken, and
leaves demo.json and demo.png in --out and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.day_cluster import PrefetchWatch, ask_statistics, day_config, wait_for_network
from bench.day_origin import DayOrigin, filled_origin, latencies
from bench.demo_report import http_exchange, print_demo, report_of
from bench.failover import FailoverResult, measure_failover
from bench.figures import grade
from bench.live_view import LiveView, PrefetchCounts
from bench.measure import machine
from bench.peers import Peer
from bench.recorded_day import RecordedDay, read_day
from bench.replay import Replayed
from bench.replay_pool import ReplayPool
from bench.tables import wide_console
from bench.trading_day import DayPlan, TradingDay, trading_day

PROCESSES_COUNT = 3
GRADE_KEYS_COUNT = 2_000
GRADE_VALUE = b"v" * 100


@dataclass(frozen=True)
class Pace:
    """How long the demo takes."""

    requests_count: int
    duration_s: float
    symbols_count: int
    references_count: int
    memory_bytes: int
    kills_count: int
    grade_s: float
    network_wait_s: float


FULL = Pace(24_000, 40.0, 120, 1_500, 3 << 20, 3, 1.5, 25.0)
QUICK = Pace(4_000, 6.5, 40, 400, 1 << 20, 1, 0.4, 4.0)


@dataclass
class DemoResult:
    """Everything that was measured."""

    ahead: Replayed
    plain: Replayed
    prefetches: PrefetchCounts
    failover: FailoverResult
    grades: dict[int, tuple[str, float, float]]
    """Processes -> (grade, operations a second, mean ms)."""
    http: list[dict[str, Any]]
    start_s: float
    prefetch_cpu_us: float
    evictions_count: int
    loads_count: dict[str, int]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a shorter day: under one minute in all")
    parser.add_argument("--trace", type=Path, help="Parquet with the column key, perhaps ts, client, service, cost_us")
    parser.add_argument("--database", help="SQLAlchemy URL of a PostgreSQL; by default a SQLite file")
    parser.add_argument("--seed", type=int, default=1, help="of the synthetic day and of the values")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for demo.json and demo.png")
    parser.add_argument("--no-network", action="store_true", help="predict with tables only, without the network")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 when it ran, 130 after Ctrl-C. Cleans up in both cases."""
    options = parse(arguments)
    console = wide_console()
    begun = time.perf_counter()
    try:
        _run(options, QUICK if options.quick else FULL, console, begun)
    except KeyboardInterrupt:
        console.print("stopped; everything was taken down")
        return 130
    return 0


def _run(options: argparse.Namespace, pace: Pace, console: Console, begun: float) -> None:
    described = machine()
    day = _day(options, pace)
    console.print(day.describe(), highlight=False)
    options.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daycache-demo-")))
        regions = {access.kind: access.region for access in day.accesses}
        origin = stack.enter_context(filled_origin(options.database, folder, day.keys, regions, options.seed))
        console.print(
            f"origin: {origin.kind}, {origin.rows_count:,} rows, {origin.bytes_count / 2**20:.1f} MiB in "
            f"{len(origin.tables)} tables; its latency of {_span(day)} is simulated by the loader",
            highlight=False,
        )
        stack.enter_context(_ray())
        pool = ReplayPool.start(PROCESSES_COUNT)
        stack.callback(pool.stop)
        result = _measure(options, pace, console, day, origin, pool)
    duration_s = time.perf_counter() - begun
    report = report_of(result, day.describe(), origin.kind, described, duration_s)
    (options.out / "demo.json").write_text(json.dumps(report, indent=1) + "\n")
    from bench.demo_pictures import draw_demo

    draw_demo(
        options.out / "demo.png",
        title=f"DayCache, {described['cpu']}, {described['cores_count']} cores: {len(day.accesses):,} requests twice",
        duration_s=_duration_s(day),
        plain=result.plain,
        ahead=result.ahead,
        prefetches=result.prefetches,
        failover=result.failover,
    )
    print_demo(console, result, day.describe(), origin.kind, described)
    took_s = time.perf_counter() - begun
    console.print(f"{took_s:.0f} s; {options.out / 'demo.json'}, {options.out / 'demo.png'}", highlight=False)


def _measure(
    options: argparse.Namespace,
    pace: Pace,
    console: Console,
    day: TradingDay | RecordedDay,
    origin: DayOrigin,
    pool: ReplayPool,
) -> DemoResult:
    """Run the two clusters one after the other and everything on them."""
    import daycache_ray as daycache

    latency_us = latencies(day.accesses)
    name = f"demo-{os.getpid()}"
    memory_bytes = pace.memory_bytes
    config = day_config(
        name, origin, latency_us, memory_bytes=memory_bytes, prefetch=True, network=not options.no_network
    )
    begun = time.perf_counter()
    with daycache.start(config, http=True) as cache:
        start_s = time.perf_counter() - begun
        console.print(f"cluster '{name}' and its HTTP door at {cache.http_url}: {start_s:.1f} s", highlight=False)
        if not options.no_network:
            _wait_for_network(console, pace, name)
        watch = PrefetchWatch(name)
        ahead = _replay(console, "with prefetch", day, pool, cache, watch)
        prefetches = watch.ask() or PrefetchCounts()
        statistics = ask_statistics(cache)
        cpu_us = watch.cpu_us_per_access()
        loads = {"with prefetch": sum(s.loads_count for s in statistics.values())}
        evictions = sum(s.evictions_count for s in statistics.values())
        http = http_exchange(console, cache.http_url)
        failover = _failover(console, pace, daycache, cache)
        grades = _grades(pace, pool, name)
    plain_name = f"{name}-plain"
    config = day_config(plain_name, origin, latency_us, memory_bytes=memory_bytes, prefetch=False, network=False)
    with daycache.start(config) as cache:
        plain = _replay(console, "the same day without prefetch", day, pool, cache, None)
        loads["without prefetch"] = sum(s.loads_count for s in ask_statistics(cache).values())
    return DemoResult(ahead, plain, prefetches, failover, grades, http, start_s, cpu_us, evictions, loads)


def _day(options: argparse.Namespace, pace: Pace) -> TradingDay | RecordedDay:
    if options.trace is not None:
        return read_day(options.trace, requests_max=pace.requests_count, duration_s=pace.duration_s)
    plan = DayPlan(
        seed=options.seed,
        requests_count=pace.requests_count,
        duration_s=pace.duration_s,
        symbols_count=pace.symbols_count,
        references_count=pace.references_count,
    )
    return trading_day(plan)


def _duration_s(day: TradingDay | RecordedDay) -> float:
    return day.plan.duration_s if isinstance(day, TradingDay) else day.duration_s


def _span(day: TradingDay | RecordedDay) -> str:
    costs = [access.origin_us for access in day.accesses]
    return f"{min(costs) / 1e3:g} to {max(costs) / 1e3:g} ms by kind of key"


@contextlib.contextmanager
def _ray() -> Iterator[None]:
    """Have a Ray for both clusters: the one that RAY_ADDRESS names, or a new one that ends with the block."""
    import ray

    from daycache_ray.wire.ray_runtime import join_or_start

    # What Ray Serve says of its own start belongs to nobody's day; warnings still come through.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    is_ours = join_or_start()
    try:
        yield
    finally:
        if is_ours:
            ray.shutdown()


def _replay(
    console: Console,
    title: str,
    day: TradingDay | RecordedDay,
    pool: ReplayPool,
    cache: Any,
    watch: PrefetchWatch | None,
) -> Replayed:
    view = LiveView(console, title, _duration_s(day), len(day.accesses))
    with view.shown():
        return pool.replay(
            cache.name,
            day.accesses,
            lambda progress, since_s: view.update(
                progress, since_s, ask_statistics(cache), None if watch is None else watch.ask()
            ),
        )


def _wait_for_network(console: Console, pace: Pace, name: str) -> None:
    """Give the network the time to come up, so that its start does not compete with the opening."""
    begun = time.perf_counter()
    if wait_for_network(name, pace.network_wait_s):
        console.print(f"the network answers on Serve after another {time.perf_counter() - begun:.1f} s")
    else:
        console.print(f"the network is not there after {pace.network_wait_s:g} s: the tables begin without it")


def _failover(console: Console, pace: Pace, daycache: Any, cache: Any) -> FailoverResult:
    console.print("now the primary of trading_positions is killed under STRONG writes; Ray will report a dead worker")
    with daycache.connect(cache.name, service="trading-engine-service") as other:
        return measure_failover(
            cache,
            other.region("trading_positions"),
            kills_count=pace.kills_count,
            on_kill=lambda pid, gap_ms: console.print(
                f"kill -9 {pid}, primary of trading_positions: the next STRONG write was acknowledged by another "
                f"primary after {gap_ms:.0f} ms",
                highlight=False,
            ),
        )


def _grades(pace: Pace, pool: ReplayPool, name: str) -> dict[int, tuple[str, float, float]]:
    peer, callers = Peer("daycache", f"{name}/market_data/"), pool.callers()
    callers.open([peer])
    grades = {}
    for count in (1, PROCESSES_COUNT):
        callers.mixed(peer, count, pace.grade_s / 3, GRADE_KEYS_COUNT, GRADE_VALUE)
        found = callers.mixed(peer, count, pace.grade_s, GRADE_KEYS_COUNT, GRADE_VALUE)
        grades[count] = (grade(found.per_s, found.mean_us / 1e3), found.per_s, found.mean_us / 1e3)
    callers.close()
    return grades


if __name__ == "__main__":
    raise SystemExit(main())
