"""kill -9 of a primary under STRONG writes, again and again: how long no write succeeds, and what is lost.

A client of its own writes without a pause, each write to a new key. The gap of a kill is the time from
the signal to the acknowledgement of the first write that carries a newer epoch, so a late answer of the
dead primary cannot shorten it. In the end every acknowledged write is read back at level STRONG.

Before each kill the cluster is whole: all copies in sync and its spare actors up. With two replicas a
STRONG write needs both, so a gap has in it that a spare takes the dead one's seat; without a spare it
would have the start of a process in it, which is another figure.

    python -m bench.failover --kills 10
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.measure import percentile

SETTLE_DEADLINE_S = 20.0
SPARE_DEADLINE_S = 20.0
GAP_DEADLINE_S = 30.0


@dataclass
class FailoverResult:
    """What the kills brought about; times in milliseconds, acknowledgements in seconds since the begin."""

    gaps_ms: list[float] = field(default_factory=list)
    killed_at_s: list[float] = field(default_factory=list)
    acknowledged_at_s: list[float] = field(default_factory=list)
    acknowledged_count: int = 0
    unknown_count: int = 0
    failed_count: int = 0
    lost_count: int = 0
    restored_ms: list[float] = field(default_factory=list)
    without_spare_count: int = 0

    @property
    def p50_ms(self) -> float:
        """Return the median gap."""
        return statistics.median(self.gaps_ms) if self.gaps_ms else 0.0

    @property
    def p99_ms(self) -> float:
        """Return the 99th percentile of the gaps, which for few kills is the longest."""
        return percentile(sorted(self.gaps_ms), 0.99)

    def as_json(self) -> dict[str, Any]:
        """Return the figures without the single acknowledgements."""
        return {
            "kills_count": len(self.gaps_ms),
            "gaps_ms": [round(gap, 2) for gap in self.gaps_ms],
            "kills_without_spare_count": self.without_spare_count,
            "gap_p50_ms": round(self.p50_ms, 2),
            "gap_p99_ms": round(self.p99_ms, 2),
            "second_replica_back_ms": [round(value, 1) for value in self.restored_ms],
            "acknowledged_writes_count": self.acknowledged_count,
            "unknown_outcomes_count": self.unknown_count,
            "failed_writes_count": self.failed_count,
            "lost_acknowledged_writes_count": self.lost_count,
        }


class Writer:
    """Writes one key after another from a thread of its own until it is told to stop."""

    def __init__(self, region: Any, prefix: str = "failover") -> None:
        self._region = region
        self._prefix = prefix
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="failover-writer", daemon=True)
        self.acknowledged: list[tuple[int, int, int]] = []
        """(perf_counter_ns of the acknowledgement, epoch, number) of each, in order."""
        self.unknown_count = 0
        self.failed_count = 0

    def key(self, number: int) -> str:
        """Return the key of a write."""
        return f"{self._prefix}:{number}"

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End after the write under way."""
        self._stop.set()
        self._thread.join(GAP_DEADLINE_S)

    def _run(self) -> None:
        from daycache_ray import UnknownOutcomeError

        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                version = self._region.set(self.key(number), number, level="strong", deadline_s=GAP_DEADLINE_S)
            except UnknownOutcomeError:
                self.unknown_count += 1
            except Exception:
                # Not acknowledged, so nothing is promised; counted, and tried on with the next key.
                self.failed_count += 1
                time.sleep(0.001)
            else:
                self.acknowledged.append((time.perf_counter_ns(), version.epoch, number))


def primary_of(region: Any, shard: int = 0) -> Any | None:
    """Return the statistics of the shard's primary, or None while there is none."""
    try:
        shards = region.statistics().shards
    except Exception:
        # Asked in the middle of a failover: no answer is an answer here.
        return None
    return next((s for s in shards if s.shard == shard and s.role.lower() == "primary"), None)


def wait_until(condition: Callable[[], Any], deadline_s: float, what: str) -> Any:
    """Return the first true answer of `condition`; TimeoutError with `what` after `deadline_s`."""
    until = time.monotonic() + deadline_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {deadline_s:g} s")
        time.sleep(0.005)


def spares_ready(cache: Any) -> bool:
    """Return whether as many replica actors without a seat answer as the configuration keeps ready."""
    import ray

    from daycache_ray.words.naming import NAMESPACE

    prefix = f"{cache.name}:replica:"
    seated = {member.actor_name for shards in cache.cluster_map.shards.values() for s in shards for member in s.members}
    names = {actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)}
    calls = []
    for name in sorted(name for name in names - seated if name.startswith(prefix)):
        with contextlib.suppress(ValueError):
            calls.append(ray.get_actor(name, namespace=NAMESPACE).ping.remote())
    answered, _ = ray.wait(calls, num_returns=len(calls), timeout=0.5) if calls else ([], [])
    alive = 0
    for call in answered:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(call)
            alive += 1
    return alive >= cache.cluster_map.config.spare_actors


def measure_failover(
    cache: Any,
    writer_region: Any,
    *,
    kills_count: int,
    copies_count: int = 2,
    pause_s: float = 0.3,
    on_kill: Callable[[int, float], None] | None = None,
) -> FailoverResult:
    """Kill the primary of the region's shard 0 `kills_count` times under load and return what happened.

    `writer_region` belongs to a client of its own. Before each kill the shard must have all its copies
    in sync, and the cluster its spares, plus `pause_s`. `on_kill(pid, gap_ms)` is told each one.
    """
    region = cache.region(writer_region.name)
    result = FailoverResult()
    writer = Writer(writer_region)
    begun_ns = time.perf_counter_ns()
    writer.start()
    try:
        for _ in range(kills_count):
            primary = _wait_for_copies(region, copies_count)
            try:
                wait_until(lambda: spares_ready(cache), SPARE_DEADLINE_S, "spare actors")
            except TimeoutError:
                # Killed all the same: that is a figure too, and the report says for how many it holds.
                result.without_spare_count += 1
            time.sleep(pause_s)
            primary = primary_of(region) or primary
            os.kill(primary.pid, signal.SIGKILL)
            killed_ns = time.perf_counter_ns()
            known = len(writer.acknowledged)
            first_ns = wait_until(
                lambda since=known, epoch=primary.epoch: next(
                    (at_ns for at_ns, e, _ in writer.acknowledged[since:] if e > epoch), None
                ),
                GAP_DEADLINE_S,
                "a write acknowledged in a newer epoch",
            )
            result.killed_at_s.append((killed_ns - begun_ns) / 1e9)
            result.gaps_ms.append((first_ns - killed_ns) / 1e6)
            if on_kill is not None:
                on_kill(primary.pid, result.gaps_ms[-1])
            _wait_for_copies(region, copies_count)
            result.restored_ms.append((time.perf_counter_ns() - killed_ns) / 1e6)
        time.sleep(pause_s)
    finally:
        writer.stop()
    result.acknowledged_at_s = [(at_ns - begun_ns) / 1e9 for at_ns, _, _ in writer.acknowledged]
    result.acknowledged_count = len(writer.acknowledged)
    result.unknown_count, result.failed_count = writer.unknown_count, writer.failed_count
    result.lost_count = _count_lost(writer_region, writer)
    return result


def _wait_for_copies(region: Any, copies_count: int) -> Any:
    def whole() -> Any:
        primary = primary_of(region)
        return primary if primary is not None and primary.in_sync_count >= copies_count else None

    return wait_until(whole, SETTLE_DEADLINE_S, f"{copies_count} copies in sync")


def _count_lost(region: Any, writer: Writer) -> int:
    """Return how many acknowledged writes a STRONG read does not find as they were written."""
    lost = 0
    for _, _, number in writer.acknowledged:
        if region.get(writer.key(number), level="strong") != number:
            lost += 1
    return lost


def main() -> None:
    """Measure on an embedded cluster of its own and print one JSON object."""
    import daycache_ray as daycache

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="how many times a primary is killed")
    arguments = parser.parse_args()
    name = f"failover-{os.getpid()}"
    with daycache.start(daycache.ClusterConfig(name=name)) as cache:
        with daycache.connect(name, service="failover") as other:
            result = measure_failover(
                cache,
                other.region("trading_positions"),
                kills_count=arguments.kills,
                on_kill=lambda pid, gap_ms: print(f"killed {pid}: {gap_ms:.1f} ms", flush=True),
            )
        print(json.dumps(result.as_json()))


if __name__ == "__main__":
    main()
