"""The cluster that the demo runs: its regions, its budgets, and what can be asked of it while it works."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bench.day_origin import DayOrigin, loader_for
from bench.live_view import PrefetchCounts

REPLICAS = {"market_data": 1, "trading_positions": 2, "analysis_results": 1}
POSITIONS_BYTES = 32 << 20
"""Enough for all: what is evicted of the others can be loaded again, and tests of loss need every key."""
ASK_DEADLINE_S = 1.0


def day_config(
    name: str,
    origin: DayOrigin,
    latency_us: Mapping[str, int],
    *,
    memory_bytes: int,
    prefetch: bool,
    network: bool,
) -> Any:
    """Return the configuration of a cluster for a day; without `prefetch` nothing is learned at all.

    market_data (of `memory_bytes`) and analysis_results (1 MiB) are EVENTUAL and too small for the day,
    so that eviction happens; trading_positions is STRONG, with two replicas and room for everything.
    """
    import daycache_ray as daycache

    budgets = {
        "market_data": memory_bytes,
        "trading_positions": POSITIONS_BYTES,
        "analysis_results": 1 << 20,
    }
    regions = [
        daycache.RegionConfig(
            name=region,
            level="strong" if region == "trading_positions" else "eventual",
            replicas=REPLICAS[region],
            memory_bytes=budget_bytes,
            loader=loader_for(origin, region, latency_us) if region in origin.tables else None,
            prefetch=prefetch and region in origin.tables,
            shared_between_services=True,
        )
        for region, budget_bytes in budgets.items()
    ]
    return daycache.ClusterConfig(
        name=name,
        regions=regions,
        prediction=daycache.PredictionConfig(enabled=prefetch, network=prefetch and network, holdout_ratio=0.02),
    )


def ask_statistics(cache: Any) -> dict[str, Any]:
    """Return the statistics of all regions, without those that do not answer at the moment."""
    found = {}
    for region in cache.cluster_map.config.regions:
        try:
            found[region.name] = cache.region(region.name).statistics(deadline_s=ASK_DEADLINE_S)
        except Exception:
            # A look while a primary changes has no answer; the next one has.
            continue
    return found


class PrefetchWatch:
    """Asks a cluster's prefetcher how its loads ended."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._handle: Any = None

    def ask(self) -> PrefetchCounts | None:
        """Return the counts, or None where no prefetcher answers."""
        import ray

        from daycache_ray.words.naming import NAMESPACE, prefetcher_name

        try:
            if self._handle is None:
                self._handle = ray.get_actor(prefetcher_name(self._cluster), namespace=NAMESPACE)
            return counts_of(ray.get(self._handle.statistics.remote(), timeout=ASK_DEADLINE_S))
        except (ValueError, ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
            self._handle = None
            return None

    def cpu_us_per_access(self) -> float:
        """Return what learning and predicting cost the prefetcher's process, 0.0 where it does not answer."""
        import ray

        if self._handle is None:
            return 0.0
        try:
            return float(ray.get(self._handle.statistics.remote(), timeout=ASK_DEADLINE_S).busy_us_per_access)
        except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
            return 0.0


def counts_of(statistics: Any) -> PrefetchCounts:
    """Return the sums over the regions of a prefetcher's statistics."""
    regions = [region.prefetch for region in statistics.regions if region.prefetch is not None]

    def total(field: str) -> int:
        return sum(getattr(region, field) for region in regions)

    return PrefetchCounts(
        issued=total("issued_count"),
        useful=total("useful_count"),
        late=total("late_count"),
        wasted=total("wasted_count"),
        present=total("present_count"),
        failed=total("failed_count"),
        held_out=total("held_out_count"),
        holdout_asked=total("holdout_asked_count"),
        holdout_missed=total("holdout_missed_count"),
        asked=total("prefetched_asked_count"),
        missed=total("prefetched_missed_count"),
        saved_s=sum(region.saved_s for region in regions),
        network=_network(getattr(statistics, "network", None)),
    )


def _network(statistics: Any) -> str:
    """Return a sentence about the network behind Serve: whether it is asked, and where it leads."""
    if statistics is None:
        return "not configured"
    leads = sum(contest.network_leads for contest in statistics.contests)
    asked = f"{statistics.questions_count:,} questions, {statistics.fresh_count:,} answered before the next access"
    state = "on" if statistics.switch.on else f"switched off ({statistics.last_trouble or 'bad answers'})"
    return f"{state}; {asked}; leads the tables in {leads} of {len(statistics.contests)} streams"


def wait_for_network(cluster: str, deadline_s: float) -> bool:
    """Return whether the cluster's predictor runs on Serve, after at most `deadline_s` seconds."""
    from ray import serve

    from daycache_ray.words.naming import predictor_application_name

    until = time.monotonic() + deadline_s
    while True:
        application = serve.status().applications.get(predictor_application_name(cluster))
        if application is not None and application.status == "RUNNING":
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
