"""Is predicting worth it? A trace through a plain cache, and through the same with keys loaded ahead.

    python -m bench.prediction --trace FILE.parquet [--json FILE] [--requests N] [--cache-ratio 0.01]
                               [--eviction lru|sieve|gdsf] [--network/--no-network] [--seed N]

One pass: predict, then learn; one predictor per service, one stream per client. The last line of
standard output is one JSON object. `miss_ratio_*` counts requests that had to load by themselves,
`waiting_s_*` is the sum over all requests and includes waiting for what is on its way. Where a trace
has no times, loads take a millisecond and prefetched ones arrive at once: an optimistic bound.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.prediction_accuracy import Accuracy
from bench.prediction_trace import Trace
from bench.prediction_world import EVICTIONS, World
from daycache_ray.structures.prediction.order_two import OrderTwo
from daycache_ray.structures.prediction.predictor import Predictor
from daycache_ray.structures.prediction.threshold import ThresholdController

if TYPE_CHECKING:
    from bench.prediction_network import NetworkTrial

CHAIN_STEPS = 8
CONTEXTS_MAX = 1 << 17


@dataclass
class Run:
    """One pass over a trace and everything it counts."""

    trace: Trace
    capacity: int
    eviction: str
    threshold: ThresholdController = field(default_factory=ThresholdController)
    predictors: dict[int, Predictor] = field(default_factory=dict)
    yardsticks: dict[int, OrderTwo] = field(default_factory=dict)
    accuracy: Accuracy = field(default_factory=Accuracy)
    yardstick_accuracy: Accuracy = field(default_factory=Accuracy)
    cpu_ns: int = 0
    trial: NetworkTrial | None = None

    def __post_init__(self) -> None:
        timed = self.trace.timed
        self.plain = World(capacity=self.capacity, eviction=self.eviction, timed=timed)
        self.ahead = World(capacity=self.capacity, eviction=self.eviction, timed=timed, outcomes=self.threshold)
        self._costs = dict(zip(self.trace.keys, self.trace.cost_us, strict=True))
        self._usual_cost_us = sum(self.trace.cost_us) // len(self.trace.cost_us)

    def step(self, at: int) -> None:
        """Take the request at place `at`: both worlds, accuracy, learning, and what to load ahead."""
        trace = self.trace
        key, now_us, client, service = trace.keys[at], trace.ts_us[at], trace.clients[at], trace.services[at]
        self.plain.request(key, now_us, trace.cost_us[at])
        self.ahead.request(key, now_us, trace.cost_us[at])
        predictor = self.predictors.get(service)
        if predictor is None:
            predictor = Predictor(type_shift=trace.type_shift, contexts_max=CONTEXTS_MAX)
            self.predictors[service] = predictor
            self.yardsticks[service] = OrderTwo(contexts_max=CONTEXTS_MAX)
        yardstick = self.yardsticks[service]
        if 2 * at >= len(trace.keys):
            self.accuracy.count([name for name, _ in predictor.predict(client)], key)
            self.yardstick_accuracy.count(yardstick.predict(client), key)
        yardstick.observe(client, key)
        begun_ns = time.thread_time_ns()
        predictor.observe(client, key)
        chain = predictor.roll(client, CHAIN_STEPS, self.threshold.threshold_ratio)
        self.cpu_ns += time.thread_time_ns() - begun_ns
        if self.trial is not None:
            self.trial.came((service, client), key)
            ranking = predictor.ranking(client) if self.trial.wants(at) else None
            if ranking is not None:
                self.trial.ask((service, client), ranking, counts=2 * at >= len(trace.keys))
        for rolled in chain:
            self.ahead.prefetch(rolled.key, now_us, self._costs.get(rolled.key, self._usual_cost_us))

    def figures(self) -> dict[str, Any]:
        """Return what was counted, for JSON."""
        plain, ahead = self.plain.counts, self.ahead.counts
        top1, top5, top10 = self.accuracy.ratios()
        order2_top1, order2_top5, order2_top10 = self.yardstick_accuracy.ratios()
        network = self.trial.figures() if self.trial is not None else {}
        return {
            "trace": self.trace.name,
            "requests": plain.requests,
            "distinct_keys": self.trace.distinct_count,
            "cache_keys": self.capacity,
            "eviction": self.eviction,
            "timed": self.trace.timed,
            "miss_ratio_plain": round(plain.miss_ratio, 6),
            "miss_ratio_prefetch": round(ahead.miss_ratio, 6),
            "waiting_s_plain": round(plain.waited_us / 1e6, 3),
            "waiting_s_prefetch": round(ahead.waited_us / 1e6, 3),
            "issued_loads": ahead.issued,
            "saved_loads": ahead.saved,
            "wasted_loads": ahead.wasted,
            "late_loads": ahead.late,
            "wasted_per_saved": round(ahead.wasted / max(ahead.saved, 1), 4),
            "threshold_ratio": round(self.threshold.threshold_ratio, 3),
            "top1": round(top1, 4),
            "top5": round(top5, 4),
            "top10": round(top10, 4),
            "order2_top1": round(order2_top1, 4),
            "order2_top5": round(order2_top5, 4),
            "order2_top10": round(order2_top10, 4),
            "cpu_us_per_access": round(self.cpu_ns / 1e3 / max(plain.requests, 1), 2),
            **network,
        }


def show(run: Run, console: Console, seconds: float) -> None:
    """Print the figures as a table."""
    figures = run.figures()
    plain, ahead = run.plain.counts, run.ahead.counts
    table = Table(title=f"{run.trace.name}: {plain.requests:,} requests, {run.capacity:,} keys cached, {run.eviction}")
    for heading in ("", "plain", "prefetch", "ratio"):
        table.add_column(heading, justify="left" if not heading else "right")
    ratio = ahead.misses / max(plain.misses, 1)
    table.add_row("miss ratio", f"{plain.miss_ratio:.4f}", f"{ahead.miss_ratio:.4f}", f"{ratio:.2f}x")
    waits = plain.waited_us / 1e6, ahead.waited_us / 1e6
    table.add_row("waiting, s", f"{waits[0]:,.1f}", f"{waits[1]:,.1f}", f"{waits[1] / max(waits[0], 1e-9):.2f}x")
    loads = plain.misses, ahead.misses + ahead.issued
    table.add_row("loads", f"{loads[0]:,}", f"{loads[1]:,}", f"{loads[1] / max(loads[0], 1):.2f}x")
    console.print(table)
    named = Table(title="next key, second half")
    for heading in ("", "top-1", "top-5", "top-10"):
        named.add_column(heading, justify="left" if not heading else "right")
    named.add_row("order-2 table", *(f"{figures[f'order2_top{count}']:.4f}" for count in (1, 5, 10)))
    named.add_row("tables ranked", *(f"{figures[f'top{count}']:.4f}" for count in (1, 5, 10)))
    console.print(named)
    console.print(
        f"ahead: {ahead.issued:,} issued, {ahead.saved:,} saved ({ahead.late:,} late), {ahead.wasted:,} wasted: "
        f"{figures['wasted_per_saved']:.3f} wasted per saved; threshold {run.threshold.threshold_ratio:.2f}"
    )
    console.print(f"{figures['cpu_us_per_access']:.1f} µs of CPU an access; {seconds:.1f} s in all")
    if run.trial is not None:
        console.print(
            f"network, {figures['network_questions']:,} questions: top-1 tables {figures['top1_tables']:.4f}, network "
            f"{figures['top1_network']:.4f}, mixture {figures['top1_mixture']:.4f}; surprise in nats "
            f"{figures['nll_tables']:.4f}, {figures['nll_network']:.4f}, {figures['nll_mixture']:.4f}; "
            f"{figures['network_cpu_us_per_question']:.0f} µs a question, off the request path"
        )
    if not run.trace.timed:
        console.print("The trace has no times: prefetched loads arrive at once, which is the best case.")


def perform(run: Run, console: Console) -> None:
    """Take every request of the trace in order, with a bar on the console."""
    count = len(run.trace.keys)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(run.trace.name, total=count)
        for at in range(count):
            run.step(at)
            if at % 10_000 == 0:
                progress.update(task, completed=at)


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.prediction", description="What prefetching gains on a trace."
    )
    parser.add_argument(
        "--trace", type=Path, required=True, help="Parquet with `key`, perhaps ts, client, service, cost_us"
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--requests", type=int, help="only the first so many")
    parser.add_argument("--cache-ratio", type=float, default=0.01, help="capacity as a part of the distinct keys")
    parser.add_argument("--eviction", choices=sorted(EVICTIONS), default="lru")
    parser.add_argument("--type-shift", type=int, help="bit of the key at which its type begins; default: worked out")
    parser.add_argument(
        "--network", action=argparse.BooleanOptionalAction, default=True, help="compare a network on a sample too"
    )
    parser.add_argument("--seed", type=int, default=0, help="for the network's first weights")
    given = parser.parse_args(argv)
    if not given.trace.is_file():
        parser.error(f"{given.trace} is no file")
    if not 0.0 < given.cache_ratio <= 1.0:
        parser.error("--cache-ratio is a part: above 0, at most 1")
    return given


def main(argv: list[str] | None = None) -> None:
    """Run the bench; the last line of standard output is JSON."""
    given = arguments(sys.argv[1:] if argv is None else argv)
    trace = Trace.read(given.trace, requests_max=given.requests, type_shift=given.type_shift)
    capacity = max(2, round(trace.distinct_count * given.cache_ratio))
    run = Run(trace, capacity, given.eviction)
    if given.network:
        from bench.prediction_network import NetworkTrial  # torch takes seconds to import

        run.trial = NetworkTrial(seed=given.seed, type_shift=trace.type_shift)
    console = Console()
    begun = time.perf_counter()
    perform(run, console)
    show(run, console, time.perf_counter() - begun)
    line = json.dumps(run.figures())
    if given.json is not None:
        given.json.write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
