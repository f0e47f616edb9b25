"""The report of a run as a picture (matplotlib, without a display)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.peers import LABELS

INK, ACCENT, QUIET, ALARM, GRID = "#1f2933", "#0b7285", "#9aa5b1", "#c92a2a", "#e4e7eb"
PEER_COLOURS = {
    "daycache": ACCENT,
    "redis": "#d9480f",
    "redis-kept": "#f08c00",
    "memcached": "#5f3dc4",
    "diskcache": "#2b8a3e",
    "actor": "#868e96",
}
STYLE = {
    "font.size": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
}


def draw_run(report: dict[str, Any], path: Path) -> None:
    """Draw times, throughput, levels and failover of a run into a PNG."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(12, 8.6), layout="constrained")
        _draw_basic(axes[0][0], report["basic"])
        _draw_concurrent(axes[0][1], report["concurrent"])
        _draw_levels(axes[1][0], report["levels"])
        _draw_gaps(axes[1][1], report["failover"])
        machine = report["machine"]
        figure.suptitle(
            f"DayCache beside its peers: {machine['cpu']}, {machine['cores_count']} cores, medians over rounds",
            x=0.01,
            ha="left",
            fontsize=12,
            fontweight="bold",
        )
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _draw_basic(axes: Axes, basic: dict[str, dict[str, Any]]) -> None:
    operations = list(basic)
    peers = list(next(iter(basic.values())))
    height = 0.8 / len(peers)
    for place, peer in enumerate(peers):
        rows = [row - 0.4 + (place + 0.5) * height for row in range(len(operations))]
        p50 = [basic[operation][peer]["p50_us"] for operation in operations]
        p99 = [basic[operation][peer]["p99_us"] for operation in operations]
        axes.barh(rows, p50, height * 0.9, color=PEER_COLOURS[peer], label=LABELS[peer])
        axes.plot(p99, rows, "|", color=PEER_COLOURS[peer], markersize=6, markeredgewidth=1.6)
    axes.set_xscale("log")
    axes.set_xlim(left=0.5)
    axes.set_yticks(range(len(operations)), operations)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("microseconds, logarithmic; bar p50, tick p99")
    axes.set_title("One caller")


def _draw_concurrent(axes: Axes, concurrent: dict[str, dict[str, Any]]) -> None:
    for peer, by_count in concurrent.items():
        counts = [int(count) for count in by_count]
        per_s = [found["per_s"] for found in by_count.values()]
        axes.plot(range(len(counts)), per_s, "o-", color=PEER_COLOURS[peer], linewidth=2, label=LABELS[peer])
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_yscale("log")
    axes.set_xlabel("calling processes")
    axes.set_ylabel("operations a second, all together")
    axes.set_title("Many callers: 90 % get, 10 % set, zipf 0.99")
    axes.axhline(10_000, color=QUIET, linestyle=":", linewidth=1)
    axes.annotate("grade A", (0, 10_000), xytext=(2, 3), textcoords="offset points", fontsize=7.5, color=QUIET)


def _draw_levels(axes: Axes, levels: dict[str, Any]) -> None:
    names = list(levels)
    for place, name in enumerate(names):
        colour = {"get": ACCENT, "set": "#d9480f"}.get(name[:3], QUIET)
        axes.barh(place, levels[name]["p50_us"], 0.6, color=colour)
        axes.plot(levels[name]["p99_us"], place, "|", color=INK, markersize=10, markeredgewidth=1.6)
        axes.annotate(
            f" {levels[name]['p50_us']:.1f}", (levels[name]["p50_us"], place), va="center", fontsize=8, color=INK
        )
    axes.set_xscale("log")
    axes.set_xlim(left=0.5)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("microseconds, logarithmic; bar p50, tick p99")
    axes.set_title("Levels of consistency, two replicas")


def _draw_gaps(axes: Axes, failover: dict[str, Any]) -> None:
    gaps = failover["gaps_ms"]
    axes.bar(range(1, len(gaps) + 1), gaps, 0.6, color=ALARM)
    axes.axhline(500, color=QUIET, linestyle=":", linewidth=1)
    axes.annotate(
        "target of the median", (0.5, 500), xytext=(0, 3), textcoords="offset points", fontsize=7, color=QUIET
    )
    axes.axhline(failover["gap_p50_ms"], color=INK, linewidth=1)
    axes.annotate(
        f"median {failover['gap_p50_ms']:.0f} ms",
        (len(gaps) + 0.5, failover["gap_p50_ms"]),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=8,
        ha="right",
    )
    axes.set_xlim(0.4, max(len(gaps), 1) + 0.6)
    axes.set_xticks(range(1, len(gaps) + 1))
    axes.set_xlabel("kill -9 of the primary, in order")
    axes.set_ylabel("ms until a STRONG write is acknowledged")
    axes.set_title(
        f"Failover: {failover['lost_acknowledged_writes_count']} of "
        f"{failover['acknowledged_writes_count']:,} acknowledged writes lost"
    )
