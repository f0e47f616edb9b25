"""What the demo says at its end: figures, the HTTP exchange, and a paragraph that tells how each was taken."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bench.demo_pictures import figures_of
from bench.tables import number

if TYPE_CHECKING:
    from bench.demo import DemoResult

HTTP_TIMEOUT_S = 10.0
SHOWN_HEADERS = ("content-type", "etag", "age", "cache-control", "cache-status", "location")


def http_exchange(console: Console, url: str | None) -> list[dict[str, Any]]:
    """PUT and GET an entry through the HTTP door, show both as curl would, and return what came back."""
    if url is None:
        return []
    where = f"{url.rstrip('/')}/v1/regions/market_data/entries/AAPL"
    body = json.dumps({"last": 150.25}).encode()
    exchanges = []
    for method, data in (("PUT", body), ("GET", None)):
        request = urllib.request.Request(where, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
            request.add_header("Cache-Control", "max-age=60")
        begun = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:
                status, headers, text = answer.status, dict(answer.headers.items()), answer.read().decode()
        except urllib.error.HTTPError as error:
            status, headers, text = error.code, dict(error.headers.items()), error.read().decode(errors="replace")
        took_ms = (time.perf_counter() - begun) * 1e3
        extra = f" -H 'Content-Type: application/json' -H 'Cache-Control: max-age=60' -d '{body.decode()}'"
        console.print(
            f"$ curl -i -X {method} {where}{extra if data is not None else ''}", highlight=False, soft_wrap=True
        )
        shown = {k: v for k, v in headers.items() if k.lower() in SHOWN_HEADERS}
        console.print(f"  {status}  {shown}  {text[:200]}  ({took_ms:.1f} ms)", highlight=False, soft_wrap=True)
        exchanges.append({"method": method, "status": status, "headers": shown, "body": text[:200], "took_ms": took_ms})
    return exchanges


def report_of(
    result: DemoResult, day: str, origin: str, described: dict[str, Any], duration_s: float
) -> dict[str, Any]:
    """Return the demo as one JSON object."""
    return {
        "machine": described,
        "day": day,
        "origin": origin,
        "duration_s": round(duration_s, 1),
        "cluster_and_http_start_s": round(result.start_s, 2),
        "with_prefetch": result.ahead.as_json(),
        "without_prefetch": result.plain.as_json(),
        "waiting_ratio": round(waiting_ratio(result), 3),
        "prefetches": figures_of(result.prefetches),
        "prefetcher_cpu_us_per_access": round(result.prefetch_cpu_us, 1),
        "evictions_count": result.evictions_count,
        "loads_count": result.loads_count,
        "failover": result.failover.as_json(),
        "grades": {
            str(count): {"grade": letter, "operations_per_s": round(per_s), "mean_ms": round(mean_ms, 4)}
            for count, (letter, per_s, mean_ms) in result.grades.items()
        },
        "http": result.http,
        "closing": closing(result, day, origin, described),
    }


def waiting_ratio(result: DemoResult) -> float:
    """Return the time waited without prefetching per time waited with it, for the same accesses."""
    return float(result.plain.took_us.sum()) / max(float(result.ahead.took_us.sum()), 1e-9)


def print_demo(console: Console, result: DemoResult, day: str, origin: str, described: dict[str, Any]) -> None:
    """Print the comparison, the grades and the closing paragraph."""
    table = Table(title="The same day twice", title_justify="left")
    for title in ("", "without prefetch", "with prefetch"):
        table.add_column(title, justify="left" if not title else "right")
    for name, figure in (
        ("requests", lambda r: f"{len(r.took_us):,}"),
        ("answered within 1 ms", lambda r: f"{r.prompt_ratio:.1%}"),
        ("mean wait", lambda r: f"{number(r.mean_us / 1e3)} ms"),
        ("p50", lambda r: f"{number(r.percentile_us(0.5))} us"),
        ("p95", lambda r: f"{number(r.percentile_us(0.95) / 1e3)} ms"),
        ("p99", lambda r: f"{number(r.percentile_us(0.99) / 1e3)} ms"),
        ("waited in all", lambda r: f"{r.took_us.sum() / 1e6:.1f} s"),
        ("writes", lambda r: f"{r.writes_count:,}"),
        ("errors", lambda r: f"{len(r.errors):,}"),
        ("own writes read back stale", lambda r: f"{r.stale_count} of {r.verified_count:,}"),
    ):
        table.add_row(name, figure(result.plain), figure(result.ahead))
    console.print(table)
    for count, (letter, per_s, mean_ms) in result.grades.items():
        console.print(
            f"grade of a 90/10 mix by {count} process{'es' if count > 1 else ''}: [bold]{letter}[/bold] "
            f"({per_s:,.0f} operations/s, mean {mean_ms:.4f} ms)",
            highlight=False,
        )
    console.print()
    console.print(closing(result, day, origin, described), highlight=False)


def closing(result: DemoResult, day: str, origin: str, described: dict[str, Any]) -> str:
    """Return the paragraph at the end: every figure with how it was taken, and what it does not show."""
    ahead, plain, counts, failover = result.ahead, result.plain, result.prefetches, result.failover
    faster = waiting_ratio(result)
    paid = "" if faster > 1 else ", so in this run it did not pay: it works on the same cores as the clients"
    ended = counts.useful + counts.late + counts.wasted
    held = (
        f" Of the {counts.holdout_asked:,} candidates that were held back on purpose and asked for, "
        f"{counts.holdout_missed / counts.holdout_asked:.0%} missed; of those that were prefetched and asked for, "
        f"{counts.missed / max(counts.asked, 1):.0%}."
        if counts.holdout_asked
        else ""
    )
    gaps = ", ".join(f"{gap:.0f}" for gap in failover.gaps_ms)
    mixed = "; ".join(f"{count} in parallel {per_s:,.0f}/s" for count, (_, per_s, _) in result.grades.items())
    return (
        f"How this was taken. The day: {day} It was replayed twice on this machine ({described['cpu']}, "
        f"{described['cores_count']} cores) by {PROCESSES_TEXT}, each client of the day with a connection of its own, "
        f"against two clusters that differ in prefetching only and both began empty; first with prefetching, which "
        f"learned during the replay and from nothing else. A wait is the time of one get_or_load call in its client, "
        f"by perf_counter. Of {len(ahead.took_us):,} calls {ahead.prompt_ratio:.1%} took less than 1 ms, without "
        f"prefetching {plain.prompt_ratio:.1%} of {len(plain.took_us):,}; all calls together waited "
        f"{ahead.took_us.sum() / 1e6:.1f} s with and {plain.took_us.sum() / 1e6:.1f} s without prefetching: "
        f"{faster:.2f} s without for each second with{paid}. "
        f"The values are rows of {origin}; the latency of the origin is simulated (a sleep by kind of key before the "
        f"query), so the seconds saved say what a slow origin would cost, and the ratio is what carries over. "
        f"The prefetcher's own receipts: {counts.useful:,} of {ended:,} loads were there when asked for, "
        f"{counts.late:,} were asked for while they loaded, {counts.wasted:,} were never asked for in their time "
        f"window or were evicted before.{held} Learning and predicting cost {result.prefetch_cpu_us:.0f} us of "
        f"processor time an access, on the same cores. The network: {counts.network}. "
        f"Budgets were small on purpose: {result.evictions_count:,} "
        f"entries were evicted. Failover: the primary of trading_positions got kill -9 while a client wrote STRONG "
        f"without a pause, each time with both replicas in sync and a spare ready; {gaps} ms "
        f"from the signal to the first acknowledgement by the next primary; all "
        f"{failover.acknowledged_count:,} acknowledged writes were read back afterwards at level STRONG, "
        f"{failover.lost_count} were lost, {failover.unknown_count} answers were unknown and claimed by nobody. "
        f"{ahead.verified_count + plain.verified_count:,} STRONG writes were read back at once by their writer, "
        f"{ahead.stale_count + plain.stale_count} of them stale. Grades are of 90 % get, 10 % set over zipfian keys of "
        f"100 B ({mixed}). One machine, one run: network between nodes, and what other load does, are not in it."
    )


PROCESSES_TEXT = "three client processes"
