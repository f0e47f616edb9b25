"""The demo as a picture: waits, answers at once over the day, prefetches, and a failover to the millisecond."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bench.failover import FailoverResult
from bench.live_view import PrefetchCounts
from bench.pictures import ACCENT, ALARM, INK, QUIET, STYLE, plt
from bench.replay import PROMPT_US, Replayed
from bench.tables import number

BINS_COUNT = 30
AROUND_S = (0.15, 0.65)
WARM = "#d9480f"


def draw_demo(
    path: Path,
    *,
    title: str,
    duration_s: float,
    plain: Replayed,
    ahead: Replayed,
    prefetches: PrefetchCounts,
    failover: FailoverResult,
) -> None:
    """Draw the four panels into a PNG."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(12.5, 8.4), layout="constrained")
        _draw_waits(axes[0][0], plain, ahead)
        _draw_day(axes[0][1], plain, ahead, duration_s)
        _draw_prefetches(axes[1][0], plain, ahead, prefetches)
        _draw_failover(axes[1][1], failover)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _draw_waits(axes: Axes, plain: Replayed, ahead: Replayed) -> None:
    for replayed, colour, name in ((plain, WARM, "without prefetch"), (ahead, ACCENT, "with prefetch")):
        taken = np.sort(replayed.took_us)
        above = 1 - np.arange(len(taken)) / max(len(taken), 1)
        axes.plot(taken, above * 100, color=colour, linewidth=2, label=f"{name}, mean {replayed.mean_us / 1e3:.2f} ms")
        for share in (0.95, 0.99):
            wait = replayed.percentile_us(share)
            axes.plot(wait, (1 - share) * 100, "o", color=colour, markersize=5)
            axes.annotate(
                f"p{share * 100:.0f} {number(wait / 1e3)} ms",
                (wait, (1 - share) * 100),
                xytext=(6, 4) if colour == WARM else (-6, -10),
                ha="left" if colour == WARM else "right",
                textcoords="offset points",
                fontsize=7.5,
                color=colour,
            )
    axes.axvline(PROMPT_US, color=QUIET, linestyle=":", linewidth=1)
    axes.annotate(
        "origin begins", (PROMPT_US, 0.03), xytext=(3, 0), textcoords="offset points", fontsize=7.5, color=QUIET
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(0.02, 110)
    axes.set_yticks([100, 10, 1, 0.1], ["100 %", "10 %", "1 %", "0.1 %"])
    axes.set_xlabel("microseconds an access takes")
    axes.set_ylabel("accesses that take longer")
    axes.set_title("How long an access waits")
    axes.legend(loc="lower left", fontsize=8)


def _draw_day(axes: Axes, plain: Replayed, ahead: Replayed, duration_s: float) -> None:
    middles = (np.arange(BINS_COUNT) + 0.5) * duration_s / BINS_COUNT
    lines = {}
    for replayed, colour, name in ((plain, WARM, "without prefetch"), (ahead, ACCENT, "with prefetch")):
        ratios = [None if r is None else r * 100 for r in replayed.prompt_by_second(BINS_COUNT, duration_s)]
        lines[name] = np.array([np.nan if r is None else r for r in ratios])
        axes.plot(middles, lines[name], color=colour, linewidth=2, label=f"{name}, {replayed.prompt_ratio:.1%} of all")
    without, with_it = lines.values()
    axes.fill_between(middles, without, with_it, where=with_it >= without, color=ACCENT, alpha=0.12, linewidth=0)
    axes.axvspan(0, 0.08 * duration_s, color=QUIET, alpha=0.12, linewidth=0)
    axes.annotate("opening", (0.005 * duration_s, 2), fontsize=7.5, color=QUIET)
    axes.set_ylim(0, 100)
    axes.set_xlabel("seconds of the replayed day")
    axes.set_ylabel("answered within 1 ms, percent")
    axes.set_title("Answers that did not wait for the origin")
    axes.legend(loc="lower right", fontsize=8)


def _draw_prefetches(axes: Axes, plain: Replayed, ahead: Replayed, counts: PrefetchCounts) -> None:
    rows = [
        ("waited,\nwithout prefetch", int((plain.took_us >= PROMPT_US).sum()), WARM),
        ("waited,\nwith prefetch", int((ahead.took_us >= PROMPT_US).sum()), ACCENT),
        ("prefetched:\nthere when asked", counts.useful, "#2b8a3e"),
        ("prefetched:\nasked while loading", counts.late, "#f08c00"),
        ("prefetched:\nfor nothing", counts.wasted, ALARM),
    ]
    for place, (_, count, colour) in enumerate(rows):
        axes.barh(place, count, 0.6, color=colour)
        axes.annotate(f" {count:,}", (count, place), va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("accesses, loads")
    axes.set_title("What prefetching did")


def _draw_failover(axes: Axes, failover: FailoverResult) -> None:
    if not failover.killed_at_s:
        axes.set_title("No failover was measured")
        return
    place = int(np.argmax(failover.gaps_ms))
    killed_s, gap_ms = failover.killed_at_s[place], failover.gaps_ms[place]
    after_ms = max(AROUND_S[1] * 1e3, gap_ms * 1.5)
    times = (np.asarray(failover.acknowledged_at_s) - killed_s) * 1e3
    times = times[(times > -AROUND_S[0] * 1e3) & (times < after_ms)]
    axes.hist(times, bins=np.arange(-AROUND_S[0] * 1e3, after_ms + 5, 5), color=ACCENT)
    axes.axvspan(0, gap_ms, color=ALARM, alpha=0.12, linewidth=0)
    axes.axvline(0, color=ALARM, linewidth=1.5)
    top = axes.get_ylim()[1]
    axes.annotate(
        "kill -9", (0, top), xytext=(-4, -10), textcoords="offset points", fontsize=8, color=ALARM, ha="right"
    )
    axes.annotate(
        f"{gap_ms:.0f} ms until the new\nprimary acknowledges",
        (gap_ms, top),
        xytext=(5, -22),
        textcoords="offset points",
        fontsize=8,
        color=INK,
    )
    axes.set_xlim(-AROUND_S[0] * 1e3, after_ms)
    axes.set_xlabel("milliseconds since the primary was killed")
    axes.set_ylabel("STRONG writes acknowledged in 5 ms")
    which = "" if len(failover.gaps_ms) == 1 else f", longest of {len(failover.gaps_ms)}"
    axes.set_title(
        f"Failover{which}: {failover.lost_count} of {failover.acknowledged_count:,} acknowledged writes lost"
    )


def figures_of(counts: PrefetchCounts) -> dict[str, Any]:
    """Return the counts for a report."""
    return counts._asdict()
