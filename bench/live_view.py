"""What a replay looks like while it runs: a screen that refreshes, or plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.measure import percentile
from bench.replay import Progress

BARS = " ▁▂▃▄▅▆▇█"
HISTORY_COUNT = 48
PLAIN_EVERY_S = 2.0


class PrefetchCounts(NamedTuple):
    """How prefetches ended so far, all regions together; `saved_s` is waiting that they spared."""

    issued: int = 0
    useful: int = 0
    late: int = 0
    wasted: int = 0
    present: int = 0
    failed: int = 0
    held_out: int = 0
    holdout_asked: int = 0
    holdout_missed: int = 0
    asked: int = 0
    missed: int = 0
    saved_s: float = 0.0
    network: str = "off"


class Seen(NamedTuple):
    """Figures of one moment."""

    since_s: float
    requests_count: int
    requests_per_s: float
    prompt_ratio: float
    p50_us: float
    p95_us: float
    p99_us: float


@dataclass
class Window:
    """Turns running totals into rates between two looks."""

    requests_count: int = 0
    prompt_count: int = 0
    since_s: float = 0.0

    def look(self, progress: list[Progress], since_s: float) -> Seen:
        """Return what happened since the last look."""
        requests = sum(p.requests_count for p in progress)
        prompt = sum(p.prompt_count for p in progress)
        fresh, seconds = requests - self.requests_count, max(since_s - self.since_s, 1e-3)
        recent = sorted(wait for p in progress for wait in p.recent_us)
        seen = Seen(
            since_s,
            requests,
            fresh / seconds,
            (prompt - self.prompt_count) / fresh if fresh else 0.0,
            *(percentile(recent, share) for share in (0.5, 0.95, 0.99)),
        )
        self.requests_count, self.prompt_count, self.since_s = requests, prompt, since_s
        return seen


class LiveView:
    """One replay on the screen."""

    def __init__(self, console: Console, title: str, duration_s: float, requests_count: int) -> None:
        self._console = console
        self._title = title
        self._duration_s = duration_s
        self._requests_count = requests_count
        self._window = Window()
        self._ratios: deque[float] = deque(maxlen=HISTORY_COUNT)
        self._rates: deque[float] = deque(maxlen=HISTORY_COUNT)
        self._live: Live | None = None
        self._told_s = 0.0

    @contextlib.contextmanager
    def shown(self) -> Iterator[LiveView]:
        """Take the screen until the block ends."""
        if not self._console.is_terminal:
            self._console.print(f"[bold]{self._title}[/bold]")
            yield self
            return
        with Live(console=self._console, refresh_per_second=4, transient=False) as live:
            self._live = live
            yield self
            self._live = None

    def update(
        self, progress: list[Progress], since_s: float, statistics: Mapping[str, Any], prefetches: PrefetchCounts | None
    ) -> None:
        """Show one moment. `statistics` are the regions' by name, empty where they could not be asked."""
        seen = self._window.look(progress, since_s)
        if seen.requests_per_s:
            self._ratios.append(seen.prompt_ratio)
            self._rates.append(seen.requests_per_s)
        if self._live is not None:
            self._live.update(self._screen(seen, progress, statistics, prefetches))
        elif since_s - self._told_s >= PLAIN_EVERY_S:
            self._told_s = since_s
            self._console.print(self._line(seen, statistics, prefetches), highlight=False)

    def _line(self, seen: Seen, statistics: Mapping[str, Any], prefetches: PrefetchCounts | None) -> str:
        parts = [
            f"{seen.since_s:5.1f} s",
            f"{seen.requests_per_s:6.0f} operations/s",
            f"{seen.prompt_ratio:6.1%} at once",
            f"p50 {seen.p50_us:,.0f} p95 {seen.p95_us:,.0f} p99 {seen.p99_us:,.0f} us",
            f"{sum(s.used_bytes for s in statistics.values()) / 2**20:.1f} MiB",
            f"{sum(s.evictions_count for s in statistics.values()):,} evicted",
            f"{sum(s.loads_count for s in statistics.values()):,} loads",
        ]
        if prefetches is not None:
            parts.append(f"prefetches {prefetches.useful} useful {prefetches.late} late {prefetches.wasted} wasted")
        return "  ".join(parts)

    def _screen(
        self, seen: Seen, progress: list[Progress], statistics: Mapping[str, Any], prefetches: PrefetchCounts | None
    ) -> RenderableType:
        left = Table.grid(padding=(0, 2))
        left.add_column(style="dim")
        left.add_column(justify="right")
        rows = [
            ("operations/s", f"{seen.requests_per_s:,.0f}"),
            ("answered at once", f"{seen.prompt_ratio:.1%}"),
            ("p50 / p95 / p99", f"{seen.p50_us:,.0f} / {seen.p95_us:,.0f} / {seen.p99_us:,.0f} us"),
            ("requests", f"{seen.requests_count:,} of {self._requests_count:,}"),
            ("writes", f"{sum(p.writes_count for p in progress):,}"),
            ("read", f"{sum(p.bytes_count for p in progress) / 2**20:,.1f} MiB"),
            ("errors", f"{sum(p.errors_count for p in progress):,}"),
        ]
        if prefetches is not None:
            rows.append(
                ("prefetches", f"{prefetches.useful:,} useful, {prefetches.late:,} late, {prefetches.wasted:,} wasted")
            )
            rows.append(("network", prefetches.network))
        for row in rows:
            left.add_row(*row)
        return Panel(
            Group(
                Columns([left, _regions(statistics)], padding=(0, 4)),
                Text.assemble(("at once ", "dim"), (sparkline(list(self._ratios), 1.0), "cyan")),
                Text.assemble(("rate    ", "dim"), (sparkline(list(self._rates)), "green")),
                ProgressBar(total=self._duration_s, completed=min(seen.since_s, self._duration_s)),
            ),
            title=f"{self._title}, {seen.since_s:.0f} of {self._duration_s:g} s",
            title_align="left",
        )


def sparkline(values: list[float], top: float | None = None) -> str:
    """Return a line of bars, the highest for `top` (None: the largest value).

    >>> sparkline([0, 0.5, 1.0], 1.0)
    ' ▄█'
    """
    highest = top if top is not None else max(values, default=0.0)
    if not highest:
        return ""
    return "".join(BARS[max(0, min(len(BARS) - 1, round(value / highest * (len(BARS) - 1))))] for value in values)


def _regions(statistics: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for title in ("region", "primary", "epoch", "in sync", "lag", "entries", "MiB", "of", "evicted", "loads"):
        table.add_column(title, justify="left" if title in ("region", "primary") else "right")
    for name, region in statistics.items():
        for shard in region.shards:
            table.add_row(
                f"{name}/{shard.shard}",
                f"seat {shard.seat}, pid {shard.pid}",
                str(shard.epoch),
                str(shard.in_sync_count),
                str(shard.replication_lag_records),
                f"{shard.entries_count:,}",
                f"{shard.used_bytes / 2**20:.2f}",
                f"{shard.limit_bytes / 2**20:.2f}",
                f"{shard.evictions_count:,}",
                f"{shard.loads_count:,}",
            )
    return table
