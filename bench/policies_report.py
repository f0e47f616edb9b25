"""The judgement of eviction policies as tables on a terminal and as a picture. Judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.pictures import ACCENT, ALARM, INK, QUIET, STYLE

OURS = "two hands"
LEFT_OF_PICTURE, RIGHT_OF_PICTURE = 0.9, 1.6


@contextmanager
def progress_of(console: Console) -> Iterator[Callable[[str], None]]:
    """Show a line that says what is being done; what it yields changes the line."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading traces", total=None)

        def say(doing: str) -> None:
            if doing:
                progress.update(task, description=doing)

        yield say


def print_policies(console: Console, report: dict[str, Any]) -> None:
    """Print miss ratios, verdicts, and what sizes and costs change."""
    if report["note"]:
        console.print(f"[yellow]{report['note']}[/yellow]")
    names = list(report["pairs"][0]["miss_ratios"])
    table = Table(title="Miss ratios; bold: at or below the yardstick; red: more than 2 % above", title_justify="left")
    for title in ("trace", "cache", "entries", *names, "LHD *", "yardstick", "Belady"):
        table.add_column(title, justify="left" if title == "trace" else "right", no_wrap=title == "trace")
    for pair in report["pairs"]:
        lhd = pair["of_others"].get("LHD")
        table.add_row(
            pair["trace"],
            f"{pair['cache_ratio']:.1%}",
            f"{pair['entries_count']:,}",
            *(_cell(pair["miss_ratios"][name], pair["yardstick"]) for name in names),
            "-" if lhd is None else f"{lhd:.3f}",
            f"{pair['yardstick']:.3f}",
            f"{pair['belady']:.3f}",
        )
    console.print(table)
    console.print("  [dim]* from the README of the traces; the yardstick is the best rival there or here[/dim]")
    _print_verdicts(console, report)
    if report["weighed"]:
        _print_weighed(console, report["weighed"])


def _cell(ratio: float, best: float) -> str:
    text = f"{ratio:.3f}"
    if ratio <= best:
        return f"[bold]{text}[/bold]"
    return f"[red]{text}[/red]" if ratio > 1.02 * best else text


def _print_verdicts(console: Console, report: dict[str, Any]) -> None:
    count = len(report["pairs"])
    table = Table(title=f"Beside the yardstick, {count} pairs of trace and size", title_justify="left")
    for title in ("policy", "at or below", "within 2 %", "mean", "worst", "where"):
        table.add_column(title, justify="left" if title in ("policy", "where") else "right")
    for name, verdict in report["verdicts"].items():
        trace, ratio = verdict["worst_pair"]
        table.add_row(
            name,
            f"{verdict['at_or_below_ratio']:.0%}",
            f"{verdict['within_2_percent_ratio']:.0%}",
            f"{verdict['mean_ratio'] - 1:+.1%}",
            f"{verdict['worst_excess_ratio']:+.1%}",
            f"{trace} {ratio:.1%}",
        )
    console.print(table)


def _print_weighed(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title="Where entries differ: what was missing", title_justify="left")
    for title in ("trace", "cache", "policy", "of requests", "of bytes", "of the origin's time"):
        table.add_column(title, justify="left" if title in ("trace", "policy") else "right")
    for row in rows:
        figures = (row["requests_ratio"], row["bytes_ratio"], row["cost_ratio"])
        cells = ("-" if figure is None else f"{figure:.3f}" for figure in figures)
        table.add_row(row["trace"], f"{row['cache_ratio']:.1%}", row["policy"], *cells)
    console.print(table)


def draw_policies(report: dict[str, Any], path: Path) -> None:
    """Draw each policy's miss ratios beside the yardstick, and how often it reaches it, into a PNG."""
    names = sorted(report["verdicts"], key=lambda name: report["verdicts"][name]["at_or_below_ratio"])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained", width_ratios=(2, 1), sharey=True)
        _draw_pairs(axes[0], report, names)
        _draw_verdicts(axes[1], report, names)
        traces = len({pair["trace"] for pair in report["pairs"]})
        figure.suptitle(
            f"Eviction on {traces} traces, caches of 0.1, 1 and 10 % of the keys: {len(report['pairs'])} pairs",
            x=0.01,
            ha="left",
            fontsize=12,
            fontweight="bold",
        )
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _draw_pairs(axes: Axes, report: dict[str, Any], names: list[str]) -> None:
    for row, name in enumerate(names):
        parts = [pair["miss_ratios"][name] / pair["yardstick"] for pair in report["pairs"]]
        shown = [min(RIGHT_OF_PICTURE, part) for part in parts]
        colour = ACCENT if name.startswith(OURS) else QUIET
        axes.plot(shown, [row] * len(shown), "o", color=colour, alpha=0.5, markersize=5, markeredgewidth=0)
        axes.plot(median(parts), row, "|", color=INK, markersize=16, markeredgewidth=2)
    axes.axvline(1.0, color=INK, linewidth=1)
    axes.axvline(1.02, color=ALARM, linewidth=1, linestyle=":")
    axes.set_xlim(LEFT_OF_PICTURE, RIGHT_OF_PICTURE + 0.02)
    axes.set_yticks(range(len(names)), names)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("misses beside the best of LRU, SIEVE, S3-FIFO, ARC, W-TinyLFU, LHD; bar: median; left is better")
    axes.set_title("Each dot one trace and size (dotted: 2 % worse)")


def _draw_verdicts(axes: Axes, report: dict[str, Any], names: list[str]) -> None:
    for row, name in enumerate(names):
        verdict = report["verdicts"][name]
        colour = ACCENT if name.startswith(OURS) else QUIET
        axes.barh(row, verdict["within_2_percent_ratio"], 0.6, color=colour, alpha=0.4)
        axes.barh(row, verdict["at_or_below_ratio"], 0.6, color=colour)
        axes.annotate(f" {verdict['at_or_below_ratio']:.0%}", (0, row), va="center", fontsize=8, color="white")
    axes.axvline(0.8, color=INK, linestyle=":", linewidth=1)
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("part of the pairs: at or below it (full), within 2 % (pale)")
    axes.set_title("How often it is as good as the best")
