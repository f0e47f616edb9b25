"""A day replayed against a running cluster, by client processes that each hold some of the day's clients.

Every client of the day is a thread with a cache of its own, connected under its service, as a service
of a trading house would be. It asks by `get_or_load` at the times of the day, later where it had to
wait. Beside that it writes what its service would write (`_write_after`), and reads its own strong
write back at once: an answer that is not what it wrote is counted in `stale_count` and must not be.

The processes are Ray actors, so that a replay runs on one machine and on many.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bench.callers import CallerProcess
from bench.trading_day import Access

PROMPT_US = 1_000.0
"""Below this an access did not wait for the origin, whose cheapest key takes twice as long."""
START_DELAY_S = 0.5
RECENT_COUNT = 4_000


class Progress(NamedTuple):
    """What a process did so far, and the waits of what it did since it was last asked."""

    requests_count: int
    prompt_count: int
    writes_count: int
    errors_count: int
    bytes_count: int
    recent_us: tuple[float, ...]


class Waits(NamedTuple):
    """One row an access: when it was due, how long it took, how far behind the day it came."""

    at_s: Any
    took_us: Any
    behind_s: Any


@dataclass
class Replayed:
    """A whole replay."""

    at_s: Any
    took_us: Any
    behind_s: Any
    wall_s: float
    writes_count: int
    errors: list[str]
    stale_count: int
    verified_count: int
    hits_count: int
    misses_count: int

    @property
    def prompt_ratio(self) -> float:
        """Part of the accesses that were answered without waiting for the origin."""
        return float((self.took_us < PROMPT_US).mean()) if len(self.took_us) else 0.0

    def percentile_us(self, share: float) -> float:
        """Return the wait at `share` (0 ... 1)."""
        return float(np.percentile(self.took_us, share * 100, method="inverted_cdf")) if len(self.took_us) else 0.0

    @property
    def mean_us(self) -> float:
        """Return the mean wait of an access."""
        return float(self.took_us.mean()) if len(self.took_us) else 0.0

    def prompt_by_second(self, bins_count: int, duration_s: float) -> list[float | None]:
        """Return the prompt ratio in each of `bins_count` equal parts of the day."""
        places = np.minimum((self.at_s / duration_s * bins_count).astype(int), bins_count - 1)
        ratios: list[float | None] = []
        for place in range(bins_count):
            chosen = self.took_us[places == place]
            ratios.append(float((chosen < PROMPT_US).mean()) if len(chosen) else None)
        return ratios

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the replay."""
        return {
            "requests_count": len(self.took_us),
            "requests_per_s": round(len(self.took_us) / self.wall_s, 1),
            "answered_within_1_ms_ratio": round(self.prompt_ratio, 4),
            "clients_hits_count": self.hits_count,
            "clients_misses_count": self.misses_count,
            "wait_mean_us": round(self.mean_us, 1),
            "wait_p50_us": round(self.percentile_us(0.5), 1),
            "wait_p95_us": round(self.percentile_us(0.95), 1),
            "wait_p99_us": round(self.percentile_us(0.99), 1),
            "waited_total_s": round(float(self.took_us.sum()) / 1e6, 2),
            "behind_the_day_p50_s": round(float(np.median(self.behind_s)), 3) if len(self.behind_s) else 0.0,
            "wall_s": round(self.wall_s, 2),
            "writes_count": self.writes_count,
            "errors_count": len(self.errors),
            "first_errors": self.errors[:3],
            "own_writes_read_back_count": self.verified_count,
            "own_writes_read_stale_count": self.stale_count,
        }


@dataclass
class _ClientRun:
    """One client of the day, while and after it runs."""

    client: int
    service: str
    accesses: Sequence[Access]
    cache: Any = None
    at_s: list[float] = field(default_factory=list)
    took_us: list[float] = field(default_factory=list)
    behind_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    writes_count: int = 0
    bytes_count: int = 0
    prompt_count: int = 0
    verified_count: int = 0
    stale_count: int = 0


class ReplayProcess(CallerProcess):
    """One process with several clients of the day. Also calls peers, as every caller of the bench does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._runs: list[_ClientRun] = []
        self._recent: deque[float] = deque(maxlen=RECENT_COUNT)

    def connect(self, cluster: str, accesses: Sequence[Access]) -> int:
        """Connect each client of `accesses` under its service; return how many there are.

        Each asks for a key that is nowhere, so that what is done once (imports, connections of the
        cache and of the database) is done before the bell.
        """
        import daycache_ray as daycache

        of_clients: dict[int, list[Access]] = defaultdict(list)
        for access in accesses:
            of_clients[access.client].append(access)
        self._runs = [_ClientRun(client, of[0].service, of) for client, of in of_clients.items()]
        for run in self._runs:
            run.cache = daycache.connect(cluster, service=run.service)
            for name in {access.region for access in run.accesses}:
                run.cache.region(name).get_or_load(f"warm-up:{run.client}")
        return len(self._runs)

    def replay(self, start_at_s: float) -> tuple[Waits, dict[str, Any]]:
        """Run all clients of this process from `start_at_s` (wall clock) on, and return what they met."""
        begin_s = time.perf_counter() + (start_at_s - time.time())
        threads = [threading.Thread(target=self._run, args=(run, begin_s), daemon=True) for run in self._runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        hits, misses = self._hits()
        runs = self._runs
        waits = Waits(
            np.concatenate([np.asarray(run.at_s, dtype=np.float32) for run in runs]),
            np.concatenate([np.asarray(run.took_us, dtype=np.float32) for run in runs]),
            np.concatenate([np.asarray(run.behind_s, dtype=np.float32) for run in runs]),
        )
        return waits, {
            "errors": [error for run in runs for error in run.errors],
            "writes_count": sum(run.writes_count for run in runs),
            "verified_count": sum(run.verified_count for run in runs),
            "stale_count": sum(run.stale_count for run in runs),
            "hits_count": hits,
            "misses_count": misses,
        }

    def progress(self) -> Progress:
        """Return the counts so far; may be called while `replay` runs."""
        recent = []
        while self._recent:
            recent.append(self._recent.popleft())
        runs = self._runs
        return Progress(
            sum(len(run.took_us) for run in runs),
            sum(run.prompt_count for run in runs),
            sum(run.writes_count for run in runs),
            sum(len(run.errors) for run in runs),
            sum(run.bytes_count for run in runs),
            tuple(recent),
        )

    def disconnect(self) -> bool:
        """Close the clients' caches."""
        for run in self._runs:
            run.cache.close()
        self._runs = []
        return True

    def _hits(self) -> tuple[int, int]:
        hits = misses = 0
        for run in self._runs:
            for name in {access.region for access in run.accesses}:
                statistics = run.cache.region(name).statistics()
                hits, misses = hits + statistics.hits_count, misses + statistics.misses_count
        return hits, misses

    def _run(self, run: _ClientRun, begin_s: float) -> None:
        regions = {name: run.cache.region(name) for name in {access.region for access in run.accesses}}
        clock, sleep = time.perf_counter, time.sleep
        for access in run.accesses:
            due_s = begin_s + access.at_s
            left_s = due_s - clock()
            if left_s > 0:
                sleep(left_s)
            before = clock()
            try:
                value = regions[access.region].get_or_load(access.key)
            except Exception as error:
                # One failed answer must not end the day; it is counted and shown.
                run.errors.append(f"{type(error).__name__}: {error}")
                continue
            took_us = (clock() - before) * 1e6
            run.at_s.append(access.at_s)
            run.took_us.append(took_us)
            run.behind_s.append(max(0.0, before - due_s))
            run.prompt_count += took_us < PROMPT_US
            run.bytes_count += len(value) if value is not None else 0
            self._recent.append(took_us)
            try:
                self._write_after(run, access, regions)
            except Exception as error:
                run.errors.append(f"{type(error).__name__}: {error}")

    def _write_after(self, run: _ClientRun, access: Access, regions: Mapping[str, Any]) -> None:
        """Write what the service would write once it has this answer."""
        rest = access.key.partition(":")[2]
        if access.kind == "trades":
            regions[access.region].set(f"tick:{rest}", {"last": 150.25, "at_s": access.at_s}, ttl_s=5)
        elif access.kind == "limit" and run.service == "trading-engine-service":
            order = {"client": run.client, "number": run.writes_count, "quantity": 100}
            regions[access.region].set(f"order:{run.client}", order, level="strong")
            run.verified_count += 1
            run.stale_count += regions[access.region].get(f"order:{run.client}", level="strong") != order
        elif access.kind == "volatility":
            regions[access.region].set(f"summary:{rest}", np.arange(32.0), level="weak", ttl_s=30)
        else:
            return
        run.writes_count += 1


def share_out(accesses: Sequence[Access], processes_count: int) -> list[list[Access]]:
    """Return the accesses of each process: whole clients, the busiest first to the idlest process."""
    counts: dict[int, int] = defaultdict(int)
    for access in accesses:
        counts[access.client] += 1
    loads, owner = [0] * processes_count, {}
    for client in sorted(counts, key=lambda c: (-counts[c], c)):
        owner[client] = loads.index(min(loads))
        loads[owner[client]] += counts[client]
    shares: list[list[Access]] = [[] for _ in range(processes_count)]
    for access in accesses:
        shares[owner[access.client]].append(access)
    return [share for share in shares if share]
