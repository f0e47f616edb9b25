"""The report of a run as tables on a terminal (rich). Prints what it is given, judges nothing."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.peers import LABELS

PLAIN_WIDTH = 150


def wide_console() -> Console:
    """Return a console; where there is no terminal its lines are wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with about three significant digits, as a reader wants it.

    >>> number(1234567.8), number(12.345), number(0.0123), number(None)
    ('1,234,568', '12.3', '0.0123', '-')
    """
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def print_figures(console: Console, figures: list[Figure]) -> None:
    """Print each promise with value, ratio, target and verdict, and below how it was measured."""
    table = Table(title="Promises", title_justify="left")
    for title, justify in (
        ("figure", "left"),
        ("p50", "right"),
        ("p99", "right"),
        ("ratio p50", "right"),
        ("ratio p99", "right"),
        ("target", "left"),
        ("", "left"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for figure in figures:
        style = "green" if figure.is_met else "red"
        ratio, p99_ratio = (None if r is None else f"{number(r)}x" for r in (figure.ratio, figure.p99_ratio))
        table.add_row(
            figure.name,
            f"{number(figure.value)} {figure.unit}",
            "-" if figure.p99 is None else f"{number(figure.p99)} {figure.unit}",
            ratio or "-",
            p99_ratio or "-",
            figure.target,
            f"[{style}]{figure.verdict}[/{style}]",
        )
    console.print(table)
    for figure in figures:
        console.print(f"  [dim]{figure.name}: {figure.how}[/dim]", highlight=False)


def print_basic(console: Console, basic: dict[str, dict[str, Any]]) -> None:
    """Print p50 / p99 and processor time of each operation and peer, with the ratio to this cache."""
    table = Table(title="Basic: one caller; p50 / p99 us, (processor us of caller and server)", title_justify="left")
    table.add_column("peer")
    for operation in basic:
        table.add_column(operation, justify="right")
    for name in next(iter(basic.values())):
        cells = []
        for by_peer in basic.values():
            found = by_peer[name]
            cells.append(f"{number(found['p50_us'])} / {number(found['p99_us'])} ({number(found['cpu_us'])})")
        table.add_row(LABELS[name], *cells)
    console.print(table)


def print_concurrent(console: Console, concurrent: dict[str, dict[str, Any]], grades: dict[str, str]) -> None:
    """Print operations a second and times for each number of calling processes."""
    table = Table(
        title="Concurrent: 90 % get, 10 % set, zipf 0.99; operations/s; mean / p50 / p99 us", title_justify="left"
    )
    table.add_column("peer")
    counts = list(next(iter(concurrent.values())))
    for count in counts:
        table.add_column(f"{count} processes", justify="right")
    for name, by_count in concurrent.items():
        cells = []
        for count in counts:
            found = by_count[count]
            letter = f" {grades[count]}" if name == "daycache" and count in grades else ""
            times = " / ".join(number(found[figure]) for figure in ("mean_us", "p50_us", "p99_us"))
            cells.append(f"{number(found['per_s'])}{letter}; {times}")
        table.add_row(LABELS[name], *cells)
    console.print(table)


def print_levels(console: Console, levels: dict[str, Any]) -> None:
    """Print what each level of consistency costs."""
    table = Table(title="Levels: 100 B, two replicas on this machine, one caller", title_justify="left")
    for title in ("call", "p50 us", "p99 us", "operations/s"):
        table.add_column(title, justify="left" if title == "call" else "right")
    for name, found in levels.items():
        table.add_row(name, number(found["p50_us"]), number(found["p99_us"]), number(found["per_s"]))
    console.print(table)


def print_memory(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print how bytes and times grow with the number of entries, and what happens above the budget."""
    table = Table(title="Memory: entries of 100 B on one copy", title_justify="left")
    for title in ("entries", "bytes an entry", "Redis, bytes an entry", "get p50 us", "get p99 us"):
        table.add_column(title, justify="right")
    for row in rows:
        if "bytes_per_entry" in row:
            cells = ("bytes_per_entry", "redis_bytes_per_entry", "get_p50_us", "get_p99_us")
            table.add_row(f"{row['entries']:,}", *(number(row[cell]) for cell in cells))
    console.print(table)
    for row in rows:
        if "evictions" in row:
            word = "keeps" if row["keeps_its_limit"] else "[red]does not keep[/red]"
            console.print(
                f"  {row['entries']:,} entries of {row['value_bytes']:,} B into {row['limit_bytes'] >> 20} MiB: "
                f"{row['kept_entries']:,} kept, {row['evictions']:,} evicted, {row['used_bytes'] / 2**20:.1f} MiB: "
                f"{word} its limit"
            )


def print_report(console: Console, report: dict[str, Any], figures: list[Figure]) -> None:
    """Print everything of a run."""
    machine = report["machine"]
    console.print(
        f"{machine['cpu']}, {machine['cores_count']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, Linux "
        f"{machine['kernel']}, Python {machine['python']}; load before {machine['load_average_at_start']:.2f}",
        highlight=False,
    )
    print_basic(console, report["basic"])
    print_concurrent(console, report["concurrent"], report["grades"])
    print_levels(console, report["levels"])
    print_memory(console, report["memory"])
    failover = report["failover"]
    console.print(
        f"kill -9 of the primary, {failover['kills_count']} times: gap p50 {failover['gap_p50_ms']:.0f} ms, longest "
        f"{max(failover['gaps_ms'], default=0):.0f} ms; {failover['lost_acknowledged_writes_count']} of "
        f"{failover['acknowledged_writes_count']:,} acknowledged STRONG writes lost, "
        f"{failover['unknown_outcomes_count']} of unknown outcome",
        highlight=False,
    )
    for name, reason in report["skipped"].items():
        console.print(f"[yellow]skipped[/yellow] {LABELS.get(name, name)}: {reason}")
    for workload, letter in report["grades"].items():
        where = f"{workload} processes, mixed" if workload.isdigit() else workload
        console.print(f"grade of {where}: [bold]{letter}[/bold]")
    print_figures(console, figures)
