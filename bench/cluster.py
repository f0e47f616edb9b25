"""Many callers against a cluster of many nodes, as a Ray job or from any process of the Ray cluster.

    ray job submit --working-dir . -- python -m bench.cluster --workers 1 4 20 --json out/cluster.json
    python -m bench.cluster --name shop --region orders

Without --name it starts a cluster of its own, with two replicas of one region, and stops it afterwards;
callers spread over the nodes either way. The last line of standard output is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from bench.callers import CallerPool
from bench.figures import grade
from bench.measure import Series, machine
from bench.peers import Peer

KEYS_COUNT = 10_000
VALUE = b"v" * 100
FILL_BATCH_COUNT = 1_000
SERVICE = "bench"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", help="a running cluster; by default one is started for this run")
    parser.add_argument(
        "--region", default="market_data", help="its region to call; entries 'key:...' are written there"
    )
    parser.add_argument("--shards", type=int, default=1, help="of the region that is started, without --name")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 20], help="numbers of calling processes")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3, help="of each number of processes; the median counts")
    parser.add_argument("--levels", nargs="+", default=["eventual", "strong"], help="of the writes")
    parser.add_argument("--json", type=Path, help="also write the JSON object to this file")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 0 when it ran."""
    options = parse(arguments)
    with contextlib.ExitStack() as stack:
        cache = _cache(options, stack)
        region = cache.region(options.region)
        for first in range(0, KEYS_COUNT, FILL_BATCH_COUNT):
            region.set_many({f"key:{number:06d}": VALUE for number in range(first, first + FILL_BATCH_COUNT)})
        pool = CallerPool.start(max(options.workers))
        stack.callback(pool.stop)
        rows = [
            _row(pool, Peer("daycache", f"{cache.name}/{options.region}/{level}"), level, count, options)
            for level in options.levels
            for count in options.workers
        ]
        report = {"machine": machine(), "nodes": _nodes(), "region": options.region, "rows": rows}
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))
    return 0


def _cache(options: argparse.Namespace, stack: contextlib.ExitStack) -> Any:
    import daycache_ray as daycache

    if options.name is not None:
        cache = daycache.connect(options.name, service=SERVICE)
        stack.callback(cache.close)
        return cache
    region = daycache.RegionConfig(name=options.region, shards=options.shards, replicas=2)
    config = daycache.ClusterConfig(name=f"bench-cluster-{os.getpid()}", regions=[region])
    return stack.enter_context(daycache.start(config, service=SERVICE))


def _row(pool: CallerPool, peer: Peer, level: str, count: int, options: argparse.Namespace) -> dict[str, Any]:
    pool.open([peer])
    samples = [pool.mixed(peer, count, options.seconds, KEYS_COUNT, VALUE) for _ in range(options.rounds)]
    found = Series(tuple(samples)).median
    row = {name: round(value, 3) for name, value in found._asdict().items() if name != "cpu_us"}
    letter = grade(found.per_s, found.mean_us / 1e3)
    print(
        f"{count:4d} processes, writes {level:8s}: {found.per_s:10,.0f} operations/s, mean {found.mean_us:8.1f} us, "
        f"p50 {found.p50_us:8.1f}, p99 {found.p99_us:8.1f} us, grade {letter}",
        flush=True,
    )
    return {"workers": count, "write_level": level, "grade": letter, **row}


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [
        {"address": node["NodeManagerAddress"], "cpus": node["Resources"].get("CPU", 0)}
        for node in ray.nodes()
        if node["Alive"]
    ]


if __name__ == "__main__":
    raise SystemExit(main())
